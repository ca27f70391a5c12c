"""Trains a small tanh perceptron that predicts a number, on the diabetes data that scikit-learn bundles.

Writes, beside this file: regressor.onnx, heldout.json, calibration.bin, training.json (the numbers quoted in MODEL_CARD.md).
Run once by hand (versions in MODEL_CARD.md): python models/regressor/train.py
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
import skl2onnx
import sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_diabetes
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPRegressor
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
    data = load_diabetes()
    train_x, test_x, train_t, test_t = train_test_split(data.data, data.target, test_size=0.2, random_state=SEED)
    # The network predicts the target in standard deviations of the training targets, from their mean.
    mean, deviation = float(train_t.mean()), float(train_t.std())
    train_y, test_y = (train_t - mean) / deviation, ((test_t - mean) / deviation).astype("<f4")

    # Width and penalty by 5-fold cross-validation inside the training split, the scaler refitted in each fold.
    search = GridSearchCV(
        make_pipeline(
            StandardScaler(), MLPRegressor(activation="tanh", solver="adam", max_iter=400, random_state=SEED)
        ),
        {
            "mlpregressor__hidden_layer_sizes": [(8,), (16,), (16, 8)],
            "mlpregressor__alpha": [0.1, 1.0, 10.0],
        },
        cv=5,
        scoring="r2",
    ).fit(train_x, train_y)
    scaler, model = search.best_estimator_[0], search.best_estimator_[1]
    x = scaler.transform(train_x).astype("<f4")
    held_x = scaler.transform(test_x).astype("<f4")

    target = HERE / "regressor.onnx"
    whole = skl2onnx.convert_sklearn(
        model,
        "regressor",
        initial_types=[("features", FloatTensorType([None, held_x.shape[1]]))],
        target_opset=18,
    )
    onnx.save(whole, str(target))
    graph = strip(target).graph
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    predicted = session.run(None, {"features": held_x})[0]

    (HERE / "heldout.json").write_text(
        json.dumps(
            {
                "count": len(test_y),
                "inputs": [{"name": "features", "shape": [held_x.shape[1]], "type": "float32"}],
                "labels": [float(label) for label in test_y],
                "encoding": "float32",
                "data": base64.b64encode(held_x.tobytes()).decode(),
            },
            separators=(",", ":"),
        )
        + "\n"
    )
    chosen = np.random.RandomState(SEED).choice(len(x), 128, replace=False)
    (HERE / "calibration.bin").write_bytes(x[chosen].tobytes())

    numbers = {
        "seed": SEED,
        "hidden": list(model.hidden_layer_sizes),
        "alpha": model.alpha,
        "parameters": int(sum(w.size for w in (*model.coefs_, *model.intercepts_))),
        "train_samples": len(train_y),
        "train_r2": round(r2_score(train_y, model.predict(x)), 4),
        "crossvalidation_r2": round(float(search.best_score_), 4),
        "heldout_samples": len(test_y),
        "heldout_r2": round(r2_score(test_y, predicted[:, 0]), 4),
        "heldout_mean_absolute_error": round(float(np.abs(test_y - predicted[:, 0]).mean()), 4),
        "export_max_difference": float(np.abs(predicted[:, 0] - model.predict(held_x)).max()),
        "target_mean": mean,
        "target_deviation": deviation,
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
