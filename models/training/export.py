"""Exports a training step (forward, backward, update) for a small network on the handwritten digits that scikit-learn bundles.

Writes, beside this file: step.onnx, data.json, calibration.bin, training.json (the numbers quoted in MODEL_CARD.md).
Run once by hand (versions in MODEL_CARD.md): python models/training/export.py
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
from torch.fx.experimental.proxy_tensor import make_fx

SEED = 20260101
HIDDEN = 32
BATCH = 16
# Steps of gradient descent that one call of the graph makes: the state travels once for all of them.
STEPS = 4
RATE = 0.25
MOMENTUM = 0.8
CALLS = 64
HERE = Path(__file__).parent
STATE = ["w1", "b1", "w2", "b2"]
NAMES = STATE + ["v_" + name for name in STATE]


def loss_of(w1, b1, w2, b2, pixels, labels):
    """Mean cross-entropy of a network with one hidden layer, and the mean squared error of its probabilities.

    What is descended is the cross-entropy; what is told is the squared error, because a logarithm has no value on all of a
    fixed-point range.
    """
    hidden = torch.tanh(pixels @ w1 + b1)
    logits = hidden @ w2 + b2
    # Log-softmax written out: the largest is subtracted as a constant, and the gradient is exp / sum - label.
    shifted = logits - logits.amax(1, keepdim=True).detach()
    odds = torch.exp(shifted)
    total = odds.sum(1, keepdim=True)
    entropy = (torch.log(total) - (labels * shifted).sum(1, keepdim=True)).mean()
    return entropy, ((odds / total - labels) ** 2).sum(1).mean().detach()


def step(state, velocity, pixels, labels):
    """One step of gradient descent with momentum; the gradient is autograd's."""
    gradient = torch.func.grad(loss_of, argnums=(0, 1, 2, 3), has_aux=True)
    gradients, error = gradient(*state, pixels, labels)
    velocity = [MOMENTUM * v + g for v, g in zip(velocity, gradients)]
    return [w - RATE * v for w, v in zip(state, velocity)], velocity, error


def call(w1, b1, w2, b2, v1, c1, v2, c2, pixels, labels):
    """STEPS steps, each on its own part of the batch. Every tensor has the axis of 1 in front that a job's tensors have."""
    state, velocity = [w1[0], b1[0], w2[0], b2[0]], [v1[0], c1[0], v2[0], c2[0]]
    errors = []
    for i in range(STEPS):
        part = slice(BATCH * i, BATCH * (i + 1))
        state, velocity, error = step(state, velocity, pixels[0, part], labels[0, part])
        errors.append(error)
    return tuple(each.unsqueeze(0) for each in (*state, *velocity)) + (torch.stack(errors).unsqueeze(0),)


def first_state(seed: int) -> list[np.ndarray]:
    random = np.random.RandomState(seed)
    shapes = [(64, HIDDEN), (1, HIDDEN), (HIDDEN, 10), (1, 10)]
    scales = [0.25, 0, 0.25, 0]
    state = [(s * random.randn(*shape)).astype(np.float32)[None] for s, shape in zip(scales, shapes)]
    return state + [np.zeros_like(each) for each in state]


def accuracy(state, pixels, labels) -> int:
    w1, b1, w2, b2 = (each[0] for each in state[:4])
    return int(((np.tanh(pixels @ w1 + b1) @ w2 + b2).argmax(1) == labels).sum())


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
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    data = load_digits()
    train_x, test_x, train_y, test_y = train_test_split(
        data.images.reshape(-1, 64).astype(np.uint8), data.target, test_size=0.2, stratify=data.target, random_state=SEED
    )
    x = train_x.astype(np.float32) / 16
    hot = np.eye(10, dtype=np.float32)[train_y]
    held = test_x.astype(np.float32) / 16

    rows = STEPS * BATCH
    example = [torch.from_numpy(each) for each in first_state(0)]
    example += [torch.zeros(1, rows, 64), torch.zeros(1, rows, 10)]
    # Autograd is traced, so that the exporter sees forward, backward and update as one graph of plain operators.
    traced = make_fx(call, decomposition_table=torch._decomp.core_aten_decompositions(), tracing_mode="real")(*example)
    traced.graph.eliminate_dead_code()
    traced.recompile()
    target = HERE / "step.onnx"
    torch.onnx.export(
        traced,
        tuple(example),
        str(target),
        input_names=[*NAMES, "pixels", "labels"],
        output_names=[name + "_out" for name in NAMES] + ["error"],
        opset_version=18,
        dynamo=True,
        external_data=False,
    )
    graph = strip(target).graph

    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    random = np.random.RandomState(SEED)
    state = first_state(SEED)
    calibration, errors, curve = [], [], []
    for index in range(CALLS):
        chosen = random.choice(len(x), rows, replace=False)
        feeds = [*state, x[chosen][None], hot[chosen][None]]
        if index in (0, 1, 2, 4, 7, 12, 20, 30, 44, 63):
            calibration.append(np.concatenate([each.ravel() for each in feeds]).astype("<f4"))
        *state, error = session.run(None, dict(zip([*NAMES, "pixels", "labels"], feeds)))
        errors.append(float(error.mean()))
        curve.append(accuracy(state, held, test_y))
        print(index, errors[-1], curve[-1], [float(np.abs(each).max()) for each in state])
    np.concatenate(calibration).tofile(HERE / "calibration.bin")
    (HERE / "data.json").write_text(
        json.dumps(
            {
                "count": len(train_y),
                "scale": 16,
                "labels": "".join(map(str, train_y)),
                "pixels": base64.b64encode(train_x.tobytes()).decode(),
            },
            indent=2,
        )
        + "\n"
    )
    numbers = {
        "seed": SEED,
        "parameters": sum(each.size for each in first_state(0)[:4]),
        "calls": CALLS,
        "steps": CALLS * STEPS,
        "batch": BATCH,
        "rate": RATE,
        "momentum": MOMENTUM,
        "train_samples": len(train_y),
        "heldout_samples": len(test_y),
        "heldout_correct_float": curve[-1],
        "first_error": errors[0],
        "last_error": errors[-1],
        "calibration_samples": len(calibration),
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
