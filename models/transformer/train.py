"""Trains a one-layer transformer encoder over integer ids on the handwritten digits that scikit-learn bundles.

Writes, beside this file: transformer.onnx, heldout.json, calibration.bin, training.json (the numbers quoted in MODEL_CARD.md).
Run once by hand (versions in MODEL_CARD.md): python models/transformer/train.py
Neither the tests nor the program run Python.
"""

import base64
import json
import platform
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import sklearn
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

SEED = 20260101
EPOCHS = 60
WIDTH = 32
HEADS = 2
TOKENS = 16
# Augmentation and the scale of the first weights were chosen by 3-fold cross-validation inside the training split.
SHIFT = 0.3
JITTER = 0.5
SCALE = 0.05
HERE = Path(__file__).parent


class Attention(nn.Module):
    """Two-head self-attention written out: products, a softmax, and nothing fused."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key = nn.Linear(WIDTH, WIDTH)
        self.value = nn.Linear(WIDTH, WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        def heads(part: torch.Tensor) -> torch.Tensor:
            return part.view(-1, TOKENS, HEADS, WIDTH // HEADS).transpose(1, 2)

        q, k, v = heads(self.query(x)), heads(self.key(x)), heads(self.value(x))
        weights = torch.softmax(torch.matmul(q, k.transpose(2, 3)) / (WIDTH // HEADS) ** 0.5, dim=-1)
        return self.out(torch.matmul(weights, v).transpose(1, 2).reshape(-1, TOKENS, WIDTH))


class Transformer(nn.Module):
    """ids [N, 16] in 0..16 -> [N, 10] logits. One pre-norm encoder layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(17, WIDTH)
        nn.init.normal_(self.embedding.weight, std=SCALE)
        self.position = nn.Parameter(torch.randn(1, TOKENS, WIDTH) * SCALE)
        self.norm1 = nn.LayerNorm(WIDTH)
        self.attention = Attention()
        self.norm2 = nn.LayerNorm(WIDTH)
        self.up = nn.Linear(WIDTH, 2 * WIDTH)
        self.down = nn.Linear(2 * WIDTH, WIDTH)
        self.norm3 = nn.LayerNorm(WIDTH)
        self.linear = nn.Linear(WIDTH, 10)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embedding(ids) + self.position
        x = x + self.attention(self.norm1(x))
        x = x + self.down(nn.functional.gelu(self.up(self.norm2(x))))
        return self.linear(self.norm3(x).mean(1))


def tokens(pixels: np.ndarray) -> np.ndarray:
    """8x8 images of 0..16 -> the 16 averages of 2x2 pixels, row by row, rounded half up to 0..16."""
    sums = pixels.astype(np.int64).reshape(-1, 4, 2, 4, 2).sum((2, 4))
    return ((sums + 2) // 4).reshape(-1, TOKENS)


def views(pixels: np.ndarray) -> torch.Tensor:
    """The tokens of each image moved by at most one pixel in each direction, [9, N, 16]; the fifth is the image unmoved."""
    padded = np.pad(pixels, ((0, 0), (1, 1), (1, 1)))
    return torch.from_numpy(
        np.stack([tokens(padded[:, dy : dy + 8, dx : dx + 8]) for dy in range(3) for dx in range(3)])
    )


def augmented(moved: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Of the chosen images a share SHIFT moved; of their ids a share JITTER changed by -1, 0 or 1."""
    count = len(chosen)
    view = torch.where(torch.rand(count) < SHIFT, torch.randint(0, 9, (count,)), torch.full((count,), 4))
    ids = moved[view, chosen]
    change = torch.randint(-1, 2, ids.shape) * (torch.rand(ids.shape) < JITTER)
    return (ids + change).clamp(0, 16)


def strip(target: Path) -> onnx.ModelProto:
    """Removes the exporter's notes (stack traces with local paths); the graph stays as the exporter wrote it."""
    model = onnx.load(str(target))
    del model.metadata_props[:]
    model.ClearField("doc_string")
    graph = model.graph
    del graph.metadata_props[:]
    graph.ClearField("doc_string")
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
        part.ClearField("doc_string")
    target.write_bytes(model.SerializeToString(deterministic=True))
    onnx.checker.check_model(str(target), full_check=True)
    return model


def main() -> None:
    np.random.seed(SEED)
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    data = load_digits()
    pixels = data.images.astype(np.uint8)  # 0..16
    train_x, test_x, train_y, test_y = train_test_split(
        pixels, data.target, test_size=0.2, stratify=data.target, random_state=SEED
    )
    moved = views(train_x)
    train_x, test_x = tokens(train_x), tokens(test_x)
    x = torch.from_numpy(train_x)
    y = torch.from_numpy(train_y)
    held_x = torch.from_numpy(test_x)

    model = Transformer()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    batches = (len(x) + 31) // 32
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=EPOCHS * batches)
    for _ in range(EPOCHS):
        model.train()
        order = torch.randperm(len(x))
        for start in range(0, len(x), 32):
            chosen = order[start : start + 32]
            loss = nn.functional.cross_entropy(model(augmented(moved, chosen)), y[chosen], label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()

    model.eval()
    with torch.no_grad():
        logits = model(held_x).numpy()
        train_correct = int((model(x).argmax(1) == y).sum())

    target = HERE / "transformer.onnx"
    torch.onnx.export(
        model,
        (torch.zeros(1, TOKENS, dtype=torch.int64),),
        str(target),
        input_names=["ids"],
        output_names=["logits"],
        opset_version=17,
        dynamo=False,
    )
    graph = strip(target).graph
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    exported = np.concatenate([session.run(None, {"ids": one[None]})[0] for one in test_x])

    (HERE / "heldout.json").write_text(
        json.dumps(
            {
                "count": len(test_y),
                "inputs": [{"name": "ids", "shape": [TOKENS], "type": "int64"}],
                "labels": [int(label) for label in test_y],
                "encoding": "int32",
                "data": base64.b64encode(test_x.astype("<i4").tobytes()).decode(),
            },
            separators=(",", ":"),
        )
        + "\n"
    )
    chosen = np.random.RandomState(SEED).choice(len(train_x), 128, replace=False)
    (HERE / "calibration.bin").write_bytes(train_x[chosen].astype("<f4").tobytes())

    held_correct = int((exported.argmax(1) == test_y).sum())
    numbers = {
        "seed": SEED,
        "epochs": EPOCHS,
        "parameters": sum(p.numel() for p in model.parameters()),
        "train_samples": len(train_y),
        "train_correct": train_correct,
        "heldout_samples": len(test_y),
        "heldout_correct": held_correct,
        "heldout_correct_torch": int((logits.argmax(1) == test_y).sum()),
        "heldout_accuracy": round(held_correct / len(test_y), 4),
        "export_max_difference": float(np.abs(exported - logits).max()),
        "ops": dict(sorted(Counter(node.op_type for node in graph.node).items())),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "scikit_learn": sklearn.__version__,
        "numpy": np.__version__,
    }
    (HERE / "training.json").write_text(json.dumps(numbers, indent=2) + "\n")
    print(json.dumps(numbers, indent=2))


if __name__ == "__main__":
    main()
