"""Writes small ONNX files as real exporters write them, at several operator sets: random weights, no training.

Writes, beside this file: one .onnx file a case, and exported.json, which lists them:
  file, opset, exporter, inputs (name, type, shape with a batch of 1, range of random values, both ends included),
  outputs (name, type, shape), operators (how often each stands in the graph).
Run once by hand: python test/models/exported/generate.py && npx biome check --config-path=.config --write test/models/exported
Versions in exported.json; running it again with these versions gives the same bytes.
Each file is run with ONNX Runtime and held against PyTorch here. Neither the tests nor the program run Python.
"""

import json
import logging
import platform
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import onnxscript
import torch
from modules import (
    Activations,
    Arithmetic,
    BareConv,
    Classifier,
    Convolutions,
    FusedAttention,
    Gelus,
    MaskedAttention,
    Moves,
    Normalised,
    Pools,
    Reductions,
    Small,
)
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import nn

SEED = 20260101
HERE = Path(__file__).parent
TORCHSCRIPT, DYNAMO = "torchscript", "dynamo"


@dataclass
class Case:
    """`shape` is of one sample; `batch` is fixed to 1 in the file where `dynamic` is false."""

    name: str
    module: type[nn.Module]
    opset: int
    exporter: str
    shape: tuple[int, ...]
    range: tuple[float, float] = (-2, 2)
    integer: bool = False
    dynamic: bool = True
    fold: bool = True
    quantise: dict | None = None


INT8 = {"per_channel": True, "activation_type": QuantType.QInt8, "weight_type": QuantType.QInt8}
UINT8 = {"per_channel": False, "activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
IMAGE = (4, 8, 8)
CASES = [
    Case("convolutions-13", Convolutions, 13, TORCHSCRIPT, IMAGE),
    Case("convolutions-18", Convolutions, 18, DYNAMO, IMAGE),
    # Without constant folding the TorchScript exporter leaves in what it usually computes itself.
    Case("normalised-15", Normalised, 15, TORCHSCRIPT, IMAGE, fold=False),
    Case("normalised-21", Normalised, 21, DYNAMO, IMAGE),
    Case("pools-13", Pools, 13, TORCHSCRIPT, IMAGE),
    Case("pools-20", Pools, 20, DYNAMO, IMAGE),
    Case("moves-17", Moves, 17, TORCHSCRIPT, IMAGE, dynamic=False),
    Case("moves-18", Moves, 18, DYNAMO, IMAGE),
    Case("activations-15", Activations, 15, TORCHSCRIPT, (24,), (-5, 5)),
    Case("activations-20", Activations, 20, DYNAMO, (24,), (-5, 5)),
    Case("gelus-13", Gelus, 13, TORCHSCRIPT, (6, 16)),
    Case("gelus-20", Gelus, 20, DYNAMO, (6, 16)),
    Case("attention-17", MaskedAttention, 17, TORCHSCRIPT, (6, 16)),
    Case("attention-18", FusedAttention, 18, DYNAMO, (6, 16)),
    Case("classifier-17", Classifier, 17, TORCHSCRIPT, (8,), (0, 10), integer=True),
    Case("classifier-21", Classifier, 21, DYNAMO, (8,), (0, 10), integer=True, dynamic=False),
    Case("arithmetic-15", Arithmetic, 15, TORCHSCRIPT, (4, 6), (0.5, 2)),
    Case("reductions-18", Reductions, 18, DYNAMO, IMAGE),
    Case("quantised-13", Small, 13, TORCHSCRIPT, IMAGE, quantise=UINT8),
    Case("quantised-21", BareConv, 21, DYNAMO, IMAGE, quantise=INT8),
]


def samples(case: Case, count: int) -> torch.Tensor:
    low, high = case.range
    if case.integer:
        return torch.randint(int(low), int(high) + 1, (count, *case.shape))
    return torch.rand(count, *case.shape) * (high - low) + low


def export(case: Case, model: nn.Module, target: str) -> None:
    name = "ids" if case.integer else "x"
    # Two samples: exporters read a 1 as a constant.
    given = samples(case, 2 if case.dynamic else 1)
    common = {"input_names": [name], "output_names": ["y"], "opset_version": case.opset}
    if case.exporter == TORCHSCRIPT:
        axes = {name: {0: "batch"}, "y": {0: "batch"}} if case.dynamic else {}
        torch.onnx.export(
            model, (given,), target, dynamo=False, dynamic_axes=axes, do_constant_folding=case.fold, **common
        )
    else:
        shapes = ({0: torch.export.Dim("batch")},) if case.dynamic else None
        torch.onnx.export(
            model, (given,), target, dynamo=True, dynamic_shapes=shapes, external_data=False, verbose=False, **common
        )


class Reader(CalibrationDataReader):
    """Gives the quantiser the samples one at a time."""

    def __init__(self, given: torch.Tensor) -> None:
        self.rest: Iterator = iter(given.numpy())

    def get_next(self) -> dict | None:
        sample = next(self.rest, None)
        return None if sample is None else {"x": sample[None]}


def quantise(case: Case, source: str, target: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        prepared = str(Path(folder) / "prepared.onnx")
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(prepared, target, Reader(samples(case, 64)), quant_format=QuantFormat.QDQ, **case.quantise)


def strip(target: Path) -> onnx.ModelProto:
    """Removes the exporter's notes (stack traces with local paths); the graph stays as the exporter wrote it."""
    model = onnx.load(str(target))
    del model.metadata_props[:]
    model.ClearField("doc_string")
    for function in model.functions:
        raise ValueError(f"{target.name} has the function {function.name}")
    graph = model.graph
    del graph.metadata_props[:]
    graph.ClearField("doc_string")
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
        part.ClearField("doc_string")
    target.write_bytes(model.SerializeToString(deterministic=True))
    onnx.checker.check_model(str(target), full_check=True)
    return model


def compare(case: Case, model: nn.Module, session: onnxruntime.InferenceSession) -> tuple[float, np.ndarray]:
    """The largest difference between the file and PyTorch over 16 samples, and one output."""
    worst, served = 0.0, np.empty(0)
    for sample in samples(case, 16):
        with torch.no_grad():
            expected = model(sample[None]).numpy()
        served = session.run(None, {session.get_inputs()[0].name: sample[None].numpy()})[0]
        if served.shape != expected.shape or served.dtype != expected.dtype:
            raise ValueError(f"{case.name}: {served.dtype}{served.shape} is not {expected.dtype}{expected.shape}")
        worst = max(worst, float(np.abs(served - expected).max()))
    return worst, served


def write(case: Case) -> dict:
    torch.manual_seed(SEED)
    model = case.module().eval()
    target = HERE / f"{case.name}.onnx"
    with tempfile.TemporaryDirectory() as folder:
        plain = str(Path(folder) / "float.onnx")
        export(case, model, plain if case.quantise else str(target))
        if case.quantise:
            quantise(case, plain, str(target))
    written = strip(target)
    opset = next(each.version for each in written.opset_import if each.domain in ("", "ai.onnx"))
    if opset != case.opset:
        raise ValueError(f"{case.name}: the exporter wrote operator set {opset}, not {case.opset}")
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    difference, served = compare(case, model, session)
    operators = dict(sorted(Counter(node.op_type for node in written.graph.node).items()))
    print(f"{target.name}: {target.stat().st_size} bytes, off by {difference:.1e}", operators)
    if difference > (0.25 if case.quantise else 1e-4):
        raise ValueError(f"{case.name}: {difference} from PyTorch")
    given = session.get_inputs()[0]
    return {
        "file": target.name,
        "opset": opset,
        "exporter": f"torch.onnx.export, dynamo={case.exporter == DYNAMO}"
        + (", then onnxruntime quantize_static, QDQ" if case.quantise else ""),
        "inputs": [
            {
                "name": given.name,
                "type": "int64" if case.integer else "float32",
                "shape": [1, *case.shape],
                "range": list(case.range),
            }
        ],
        "outputs": [{"name": session.get_outputs()[0].name, "type": str(served.dtype), "shape": list(served.shape)}],
        "operators": operators,
    }


def main() -> None:
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "onnx": onnx.__version__,
        "onnxscript": onnxscript.__version__,
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
    }
    files = [write(case) for case in CASES]
    (HERE / "exported.json").write_text(json.dumps({"versions": versions, "files": files}, indent=2) + "\n")


if __name__ == "__main__":
    main()
