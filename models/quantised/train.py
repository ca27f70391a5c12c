"""Trains a small CNN, and quantises it to int8 after training, on the handwritten digits that scikit-learn bundles.

Writes, beside this file: quantised.onnx, heldout.json, calibration.bin, training.json (the numbers quoted in MODEL_CARD.md).
Run once by hand (versions in MODEL_CARD.md): python models/quantised/train.py
Neither the tests nor the program run Python.
"""

import base64
import json
import platform
import random
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import sklearn
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

SEED = 20260101
EPOCHS = 40
HERE = Path(__file__).parent


class Quantised(nn.Module):
    """[N, 1, 8, 8] in [0, 1] -> [N, 10] logits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(12, 16, 3, padding=1)
        self.linear = nn.Linear(256, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.pool(torch.relu(self.conv1(image)))
        x = torch.relu(self.conv2(x))
        return self.linear(torch.flatten(x, 1))


class Reader(CalibrationDataReader):
    """Gives the quantiser the calibration images one at a time."""

    def __init__(self, images: np.ndarray) -> None:
        self.rest = iter(images)

    def get_next(self) -> dict | None:
        image = next(self.rest, None)
        return None if image is None else {"image": image[None]}


def shifted(images: torch.Tensor) -> torch.Tensor:
    """Three images in ten moved by at most one pixel in each direction, zeros moving in."""
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    out = images.clone()
    for i in range(len(images)):
        if random.random() >= 0.3:
            continue
        dy, dx = random.randint(0, 2), random.randint(0, 2)
        out[i] = padded[i, :, dy : dy + 8, dx : dx + 8]
    return out


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
    random.seed(SEED)
    np.random.seed(SEED)
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    data = load_digits()
    pixels = data.images.astype(np.uint8)  # 0..16
    train_x, test_x, train_y, test_y = train_test_split(
        pixels, data.target, test_size=0.2, stratify=data.target, random_state=SEED
    )
    x = torch.from_numpy(train_x.astype(np.float32) / 16).unsqueeze(1)
    y = torch.from_numpy(train_y)
    held_x = torch.from_numpy(test_x.astype(np.float32) / 16).unsqueeze(1)

    model = Quantised()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-3)
    batches = (len(x) + 31) // 32
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, total_steps=EPOCHS * batches)
    for _ in range(EPOCHS):
        model.train()
        order = torch.randperm(len(x))
        for start in range(0, len(x), 32):
            chosen = order[start : start + 32]
            loss = nn.functional.cross_entropy(model(shifted(x[chosen])), y[chosen], label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()

    model.eval()
    with torch.no_grad():
        logits = model(held_x).numpy()
        train_correct = int((model(x).argmax(1) == y).sum())

    chosen = np.random.RandomState(SEED).choice(len(train_x), 128, replace=False)
    calibration = x[torch.from_numpy(chosen)].numpy()
    target = HERE / "quantised.onnx"
    with tempfile.TemporaryDirectory() as folder:
        plain, prepared = str(Path(folder) / "float.onnx"), str(Path(folder) / "prepared.onnx")
        torch.onnx.export(
            model,
            (torch.zeros(2, 1, 8, 8),),
            plain,
            input_names=["image"],
            output_names=["logits"],
            dynamic_shapes={"image": {0: torch.export.Dim("batch")}},
            opset_version=18,
            dynamo=True,
            external_data=False,
        )
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            str(target),
            Reader(calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
        )
    graph = strip(target).graph
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    exported = session.run(None, {"image": held_x.numpy()})[0]

    (HERE / "heldout.json").write_text(
        json.dumps(
            {
                "count": len(test_y),
                "inputs": [{"name": "image", "shape": [1, 8, 8], "type": "float32"}],
                "labels": [int(label) for label in test_y],
                "encoding": "uint8",
                "scale": 16,
                "data": base64.b64encode(test_x.tobytes()).decode(),
            },
            separators=(",", ":"),
        )
        + "\n"
    )
    (HERE / "calibration.bin").write_bytes(calibration.astype("<f4").tobytes())

    unclipped = (logits >= exported.min()) & (logits <= exported.max())
    held_correct = int((exported.argmax(1) == test_y).sum())
    numbers = {
        "seed": SEED,
        "epochs": EPOCHS,
        "parameters": sum(p.numel() for p in model.parameters()),
        "train_samples": len(train_y),
        "train_correct": train_correct,
        "heldout_samples": len(test_y),
        "heldout_correct": held_correct,
        "heldout_correct_float": int((logits.argmax(1) == test_y).sum()),
        "heldout_accuracy": round(held_correct / len(test_y), 4),
        "same_decision_as_float": int((exported.argmax(1) == logits.argmax(1)).sum()),
        "quantisation_max_difference": float(np.abs(exported - logits).max()),
        "quantisation_max_difference_unclipped": float(np.abs(exported - logits)[unclipped].max()),
        "clipped_logits": int((~unclipped).sum()),
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
