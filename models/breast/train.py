"""Trains a small multi-layer perceptron on the Wisconsin breast-cancer features that scikit-learn bundles.

Writes, beside this file: breast.onnx, heldout.json, calibration.bin, training.json (the numbers quoted in MODEL_CARD.md).
Run once by hand (versions in MODEL_CARD.md): python models/breast/train.py
Neither the tests nor the program run Python.
"""

import base64
import json
import platform
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import skl2onnx
import sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SEED = 20260101
HERE = Path(__file__).parent


def strip(target: Path) -> onnx.ModelProto:
    """Removes the exporter's notes; the graph stays as it is."""
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
    data = load_breast_cancer()
    train_x, test_x, train_y, test_y = train_test_split(
        data.data, data.target, test_size=0.2, stratify=data.target, random_state=SEED
    )

    # Width and penalty by 5-fold cross-validation inside the training split, the scaler refitted in each fold.
    search = GridSearchCV(
        make_pipeline(
            StandardScaler(), MLPClassifier(activation="relu", solver="adam", max_iter=200, random_state=SEED)
        ),
        {
            "mlpclassifier__hidden_layer_sizes": [(16,), (16, 8)],
            "mlpclassifier__alpha": [1e-2, 1.0],
        },
        cv=5,
        scoring="neg_log_loss",
    ).fit(train_x, train_y)
    scaler, model = search.best_estimator_[0], search.best_estimator_[1]
    x = scaler.transform(train_x).astype("<f4")
    held_x = scaler.transform(test_x).astype("<f4")

    target = HERE / "breast.onnx"
    whole = skl2onnx.convert_sklearn(
        model,
        "breast",
        initial_types=[("features", FloatTensorType([None, held_x.shape[1]]))],
        options={id(model): {"zipmap": False}},
        target_opset=18,
    )
    # After the logistic function the exporter adds the other class, a label and ai.onnx.ml ops: cut there.
    end = next(node.output[0] for node in whole.graph.node if node.op_type == "Sigmoid")
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "whole.onnx")
        onnx.save(whole, path)
        onnx.utils.extract_model(path, str(target), ["features"], [end])
    graph = strip(target).graph
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    probability = session.run(None, {"features": held_x})[0]

    (HERE / "heldout.json").write_text(
        json.dumps(
            {
                "count": len(test_y),
                "inputs": [{"name": "features", "shape": [held_x.shape[1]], "type": "float32"}],
                "labels": [int(label) for label in test_y],
                "encoding": "float32",
                "data": base64.b64encode(held_x.tobytes()).decode(),
            },
            separators=(",", ":"),
        )
        + "\n"
    )
    chosen = np.random.RandomState(SEED).choice(len(x), 128, replace=False)
    (HERE / "calibration.bin").write_bytes(x[chosen].tobytes())

    held_correct = int(((probability[:, 0] > 0.5) == test_y).sum())
    numbers = {
        "seed": SEED,
        "hidden": list(model.hidden_layer_sizes),
        "alpha": model.alpha,
        "parameters": int(sum(w.size for w in (*model.coefs_, *model.intercepts_))),
        "train_samples": len(train_y),
        "train_correct": int((model.predict(x) == train_y).sum()),
        "heldout_samples": len(test_y),
        "heldout_correct": held_correct,
        "heldout_correct_sklearn": int((model.predict(held_x) == test_y).sum()),
        "heldout_accuracy": round(held_correct / len(test_y), 4),
        "heldout_class_1": int(test_y.sum()),
        "export_max_difference": float(np.abs(probability[:, 0] - model.predict_proba(held_x)[:, 1]).max()),
        "ops": dict(sorted(Counter(node.op_type for node in graph.node).items())),
        "feature_mean": scaler.mean_.tolist(),
        "feature_scale": scaler.scale_.tolist(),
        "python": platform.python_version(),
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "skl2onnx": skl2onnx.__version__,
        "scikit_learn": sklearn.__version__,
        "numpy": np.__version__,
    }
    (HERE / "training.json").write_text(json.dumps(numbers, indent=2) + "\n")
    print(json.dumps({k: v for k, v in numbers.items() if not k.startswith("feature_")}, indent=2))


if __name__ == "__main__":
    main()
