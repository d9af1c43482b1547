"""TensorFlow's own interpreter in the gate: what it refuses, and that it agrees with LiteRT.

What does not depend on TensorFlow is tested with LiteRT's interpreter in its place, which has the
same interface; the rest needs the real one, and is skipped without it.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rid_core.artifact import read_metadata, seal
from rid_core.errors import MissingExtraError, RidError
from rid_core.runtimes.tensorflow import TensorFlowRuntime, is_installed
from rid_export.parity import gate, make_reference, thresholds
from rid_export.registry import get_target
from rid_export.spec import ExportSpec

pytestmark = pytest.mark.slow  # converts the tiny network

INSTALLED = importlib.util.find_spec("tensorflow") is not None
NEEDS_TENSORFLOW = pytest.mark.skipif(
    not INSTALLED, reason="TensorFlow is not installed: pip install -e '.[tensorflow]'"
)


@pytest.fixture(params=["stand-in", pytest.param("real", marks=NEEDS_TENSORFLOW)])
def tensorflow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which interpreter answers to the name of TensorFlow; its version."""
    if request.param == "real":
        import tensorflow as real

        return str(real.__version__)
    from ai_edge_litert.interpreter import Interpreter

    module = ModuleType("tensorflow")
    module.__spec__ = importlib.util.spec_from_loader("tensorflow", None)
    module.__dict__.update(__version__="0.0-test", lite=SimpleNamespace(Interpreter=Interpreter))
    monkeypatch.setitem(sys.modules, "tensorflow", module)
    return "0.0-test"


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without TensorFlow."""
    monkeypatch.setitem(sys.modules, "tensorflow", None)


@pytest.fixture(scope="module")
def file(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network in int8, whose operators differ most between runtimes."""
    from rid_export.pipeline import export

    out = tmp_path_factory.mktemp("tensorflow")
    spec = ExportSpec("tflite", precision="int8", resolution=64, calib_samples=8)
    (result,) = export([spec], small_checkpoint, out)
    assert result.error is None, result.error
    return result.file


@pytest.fixture(scope="module")
def reference(small_checkpoint: Path) -> Any:
    from rid_core.runtimes.torch import TorchRuntime
    from rid_export.portraits import bundled_portraits

    runtime = TorchRuntime(small_checkpoint)
    predict = lambda image: runtime.run(image)["delta"]  # noqa: E731
    return make_reference(predict, bundled_portraits(64)[:2], runtime.levels)


def spoil(path: Path, copy: Path, edit: Callable[[Any], None]) -> Path:
    """A copy with another network, whose metadata is sealed anew."""
    from rid_export.backends.litert.graph import Graph, read_model, write_model

    graph = Graph(read_model(path.read_bytes()))
    edit(graph)
    copy.write_bytes(write_model(graph.model))
    seal(copy, read_metadata(copy))
    return copy


def test_it_passes_the_gate(file: Path, reference: Any, tensorflow: str) -> None:
    runtime = TensorFlowRuntime(file)
    assert runtime.name == f"TensorFlow {tensorflow}, TFLite"
    assert (runtime.levels, runtime.fixed_size) == (6, 64)
    parity = gate(runtime, reference, thresholds("int8", 6, rounded=False))
    assert parity.runtime == runtime.name
    assert {"delta_sqnr_db", "change_levels"} <= {check.name for check in parity.checks}


def test_it_is_the_last_of_the_gates_runtimes(file: Path, tensorflow: str) -> None:
    target = get_target("tflite")
    names = [runner.name for runner in target.runners(file)]
    assert [name.split()[0] for name in names] == ["LiteRT", "LiteRT", "TensorFlow"]
    assert not any("not run in TensorFlow" in line for line in target.remarks(file))


def test_the_gate_does_without_and_says_so(file: Path, absent: None) -> None:
    assert not is_installed()
    target = get_target("tflite")
    assert [runner.name.split()[0] for runner in target.runners(file)] == ["LiteRT"] * 2
    (line,) = (line for line in target.remarks(file) if "TensorFlow" in line)
    assert line.endswith("not installed: pip install -e '.[tensorflow]'")
    with pytest.raises(MissingExtraError, match=r"'\.\[tensorflow\]'"):
        TensorFlowRuntime(file)


def test_other_weights_are_refused(
    file: Path, reference: Any, tensorflow: str, tmp_path: Path
) -> None:
    def negate(graph: Any) -> None:
        # The first convolution computes in float, with weights that another operator made so.
        weights = (int(op.inputs[1]) for op in graph.operators if graph.kind(op) == "CONV_2D")
        weight = next(number for number in weights if graph.constant(number) is not None)
        graph.tensors[weight].buffer = graph.add_buffer(-graph.constant(weight))

    spoilt = spoil(file, tmp_path / "spoilt.tflite", negate)
    with pytest.raises(RidError, match=r"^TensorFlow .*delta_sqnr_db is"):
        gate(TensorFlowRuntime(spoilt), reference, thresholds("int8", 6, rounded=False))


def test_an_operator_that_it_does_not_know(file: Path, tensorflow: str, tmp_path: Path) -> None:
    def custom(graph: Any) -> None:
        code = graph.model.operatorCodes[graph.operators[0].opcodeIndex]
        code.builtinCode, code.deprecatedBuiltinCode = 32, 32
        code.customCode = b"FromTheFuture"

    spoilt = spoil(file, tmp_path / "spoilt.tflite", custom)
    with pytest.raises(RidError, match="TensorFlow refuses it") as caught:
        TensorFlowRuntime(spoilt)
    assert "\n" not in str(caught.value)


def test_metadata_of_another_network(file: Path, tensorflow: str, tmp_path: Path) -> None:
    import dataclasses

    path = tmp_path / "other.tflite"
    path.write_bytes(file.read_bytes())
    metadata = read_metadata(path)
    outputs = tuple(dataclasses.replace(info, shape=(1, 32, 32, 3)) for info in metadata.outputs)
    seal(path, dataclasses.replace(metadata, outputs=outputs))
    with pytest.raises(RidError, match="export it again"):
        TensorFlowRuntime(path)


def test_truncated_files(file: Path, tensorflow: str, tmp_path: Path) -> None:
    data = file.read_bytes()
    path = tmp_path / "cut.tflite"
    for share in (0, 0.5, 0.99):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(RidError):
            TensorFlowRuntime(path)


@NEEDS_TENSORFLOW
def test_the_pipeline_records_its_figures(file: Path) -> None:
    import tensorflow

    runtimes = [entry.runtime for entry in read_metadata(file).parity]
    assert runtimes[2:] == [f"TensorFlow {tensorflow.__version__}, TFLite"]


@NEEDS_TENSORFLOW
def test_it_agrees_with_litert(file: Path, reference: Any) -> None:
    from rid_core.runtimes.litert import LiteRTRuntime

    image = reference.portraits[0]
    ours, theirs = LiteRTRuntime(file).perturb(image), TensorFlowRuntime(file).perturb(image)
    assert np.abs(theirs - ours).mean() < 1e-3  # a few values may round to the next step
