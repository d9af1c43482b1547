"""TFLite: what is in the file, and that LiteRT runs it as torch does."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rid_core.artifact import network_digest, read_metadata
from rid_core.errors import RidError
from rid_core.runtimes import load_runtime

pytestmark = pytest.mark.slow


def read(path: Path) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)


def operators(model: Any) -> list[str]:
    from ai_edge_litert import schema_py_generated as schema

    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if name[0] != "_"}
    graph = model.subgraphs[0]
    return [names[model.operatorCodes[op.opcodeIndex].builtinCode] for op in graph.operators]


def test_measured(exported: Any) -> None:
    result = exported("tflite")
    assert result.file.name == "rid-s.tflite"
    assert result.figure("delta_sqnr_db") > 90
    assert 6 < result.figure("change_levels") <= 8.001
    runtimes = [entry.runtime for entry in result.parity]
    assert runtimes[0].endswith("XNNPACK")
    assert runtimes[1].endswith("reference kernels")
    assert all(name.startswith("TensorFlow ") for name in runtimes[2:])  # where it is installed


def test_operators_are_clean(exported: Any) -> None:
    model = read(exported("tflite").file)
    found = operators(model)
    counts = Counter(found)
    assert set(counts) == {
        *("CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "MUL", "TANH", "MINIMUM", "DEPTH_TO_SPACE"),
    }
    assert counts["DEPTH_TO_SPACE"] == 3  # the shuffles; no layout changes between or at the ends
    assert found[0] == "CONV_2D"
    assert found[-3:] == ["MUL", "ADD", "MINIMUM"]


def test_one_partition(exported: Any) -> None:
    from rid_core.runtimes.litert import LiteRTRuntime

    result = exported("tflite")
    names = LiteRTRuntime(result.file).operators
    assert names.count("DELEGATE") == 1
    assert "DELEGATE" not in LiteRTRuntime(result.file, kernels="reference").operators


def test_names_and_shapes_as_an_app_sees_them(exported: Any) -> None:
    model = read(exported("tflite").file)
    (signature,) = model.signatureDefs
    assert signature.signatureKey == b"serving_default"
    tensors = model.subgraphs[0].tensors
    for entries, wanted in (
        (signature.inputs, {"image"}),
        (signature.outputs, {"protected", "delta"}),
    ):
        assert {entry.name.decode() for entry in entries} == wanted
        for entry in entries:
            tensor = tensors[entry.tensorIndex]
            assert tensor.name == entry.name
            assert list(tensor.shape) == [1, 512, 512, 3]


def test_weights_are_aligned(exported: Any) -> None:
    """XNNPACK uses weights in place, which the schema promises at multiples of 16."""
    from ai_edge_litert import schema_py_generated as schema

    data = exported("tflite").file.read_bytes()
    model = schema.Model.GetRootAs(data, 0)
    large = 0
    for index in range(model.BuffersLength()):
        view = model.Buffers(index).DataAsNumpy()
        if isinstance(view, np.ndarray) and view.size:
            large += 1
            start = view.__array_interface__["data"][0]
            origin = np.frombuffer(data, np.uint8).__array_interface__["data"][0]
            assert (start - origin) % 16 == 0
    assert large > 30


def test_metadata(exported: Any, checkpoint: Path) -> None:
    from rid_core.checkpoint import load_checkpoint, weights_digest

    found = read_metadata(exported("tflite").file)
    assert (found.format, found.layout, found.precision) == ("tflite", "nhwc", "fp32")
    assert found.weights == weights_digest(load_checkpoint(checkpoint)[0])
    assert found.parity == exported("tflite").parity
    assert found.tools["litert-torch"]
    assert found.calibration is None


def test_runtime_agrees_with_torch(exported: Any, checkpoint: Path) -> None:
    image = np.random.default_rng(5).random((512, 512, 3), dtype=np.float32)
    runtime = load_runtime(exported("tflite").file, threads=1)
    expected = load_runtime(checkpoint).perturb(image)
    np.testing.assert_allclose(runtime.perturb(image), expected, atol=1e-4)


def test_a_weight_changed_after_export(exported: Any, reference: Any, tmp_path: Path) -> None:
    from rid_core.runtimes.litert import LiteRTRuntime
    from rid_export.parity import gate, thresholds

    data = bytearray(exported("tflite").file.read_bytes())
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(bytes(data), 0)
    views = [model.Buffers(i).DataAsNumpy() for i in range(model.BuffersLength())]
    sizes = [view.size if isinstance(view, np.ndarray) else 0 for view in views]
    weights = views[int(np.argmax(sizes))].tobytes()
    start = bytes(data).index(weights)
    data[start : start + len(weights)] = (-np.frombuffer(weights, np.float32)).tobytes()
    spoilt = tmp_path / "spoilt.tflite"
    spoilt.write_bytes(data)
    with pytest.raises(RidError, match="changed after its export"):
        load_runtime(spoilt)
    with pytest.raises(RidError, match=r"delta_sqnr_db.*weights differ"):
        gate(LiteRTRuntime(spoilt, sealed=False), reference, thresholds("fp32", 8, rounded=False))


def test_truncated(exported: Any, tmp_path: Path) -> None:
    cut = tmp_path / "cut.tflite"
    data = exported("tflite").file.read_bytes()
    for share in (0.001, 0.5, 0.99):
        cut.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(RidError):
            load_runtime(cut)


def test_metadata_that_lies_about_quantization(exported: Any, tmp_path: Path) -> None:
    import dataclasses

    from rid_core.artifact import seal

    path = tmp_path / "m.tflite"
    path.write_bytes(exported("tflite").file.read_bytes())
    honest = read_metadata(path)
    lying = dataclasses.replace(honest.outputs[1], scale=1 / 127)
    seal(path, dataclasses.replace(honest, outputs=(honest.outputs[0], lying)))
    with pytest.raises(RidError, match="says delta has scale and zero point"):
        load_runtime(path)
    assert network_digest(path) == honest.network
