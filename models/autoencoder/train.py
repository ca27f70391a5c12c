"""Trains a small autoencoder on the handwritten digits that scikit-learn bundles.

Writes, beside this file: autoencoder.onnx, heldout.json, calibration.bin, training.json (the numbers quoted in MODEL_CARD.md).
Run once by hand (versions in MODEL_CARD.md): python models/autoencoder/train.py
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
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from torch import nn

SEED = 20260101
EPOCHS = 60
CODE = 24
HERE = Path(__file__).parent


class Autoencoder(nn.Module):
    """[N, 64] in [0, 1] -> [N, 64] in (0, 1), through a code of 24 values in (-1, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(64, CODE)
        self.decode = nn.Linear(CODE, 64)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.decode(torch.tanh(self.encode(pixels))))


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
    pixels = data.images.astype(np.uint8).reshape(-1, 64)  # 0..16
    train_x, test_x = train_test_split(pixels, test_size=0.2, stratify=data.target, random_state=SEED)
    x = torch.from_numpy(train_x.astype(np.float32) / 16)
    held_x = torch.from_numpy(test_x.astype(np.float32) / 16)

    model = Autoencoder()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-4)
    batches = (len(x) + 31) // 32
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=EPOCHS * batches)
    for _ in range(EPOCHS):
        order = torch.randperm(len(x))
        for start in range(0, len(x), 32):
            chosen = x[order[start : start + 32]]
            loss = nn.functional.mse_loss(model(chosen), chosen)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()

    model.eval()
    with torch.no_grad():
        restored = model(held_x).numpy()
        train_error = float(nn.functional.mse_loss(model(x), x))

    target = HERE / "autoencoder.onnx"
    torch.onnx.export(
        model,
        (torch.zeros(2, 64),),
        str(target),
        input_names=["pixels"],
        output_names=["restored"],
        dynamic_shapes={"pixels": {0: torch.export.Dim("batch")}},
        opset_version=21,
        dynamo=True,
        external_data=False,
    )
    graph = strip(target).graph
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    exported = session.run(None, {"pixels": held_x.numpy()})[0]

    (HERE / "heldout.json").write_text(
        json.dumps(
            {
                "count": len(test_x),
                "inputs": [{"name": "pixels", "shape": [64], "type": "float32"}],
                "labels": None,
                "encoding": "uint8",
                "scale": 16,
                "data": base64.b64encode(test_x.tobytes()).decode(),
            },
            separators=(",", ":"),
        )
        + "\n"
    )
    chosen = np.random.RandomState(SEED).choice(len(train_x), 128, replace=False)
    (HERE / "calibration.bin").write_bytes((train_x[chosen].astype("<f4") / 16).astype("<f4").tobytes())

    # To compare with: the training mean, and the linear code of the same size that fits the training images best.
    held = held_x.numpy()
    linear = PCA(CODE).fit(x.numpy())
    numbers = {
        "seed": SEED,
        "epochs": EPOCHS,
        "parameters": sum(p.numel() for p in model.parameters()),
        "train_samples": len(train_x),
        "train_mean_squared_error": round(train_error, 6),
        "heldout_samples": len(test_x),
        "heldout_mean_squared_error": round(float(np.mean((exported - held) ** 2)), 6),
        "heldout_mean_squared_error_of_mean": round(float(np.mean((x.numpy().mean(0) - held) ** 2)), 6),
        "heldout_mean_squared_error_of_pca": round(
            float(np.mean((linear.inverse_transform(linear.transform(held)) - held) ** 2)), 6
        ),
        "export_max_difference": float(np.abs(exported - restored).max()),
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
