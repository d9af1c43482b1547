"""ONNX: what is in the file, and faults planted by editing it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_faults as faults
import pytest

from rid_core.artifact import read_metadata
from rid_core.errors import RidError
from rid_core.runtimes import load_runtime

pytestmark = pytest.mark.slow


def test_measured(exported: Any) -> None:
    result = exported("onnx")
    assert result.file.name == "rid-s.onnx"
    assert result.figure("delta_sqnr_db") > 90
    assert 6 < result.figure("change_levels") <= 8.001


def test_graph_is_clean(exported: Any) -> None:
    import onnx

    model = onnx.load(exported("onnx").file)
    onnx.checker.check_model(model, full_check=True)
    counts = Counter(node.op_type for node in model.graph.node)
    assert set(counts) == {"Conv", "Relu", "Add", "Mul", "Clip", "Tanh", "DepthToSpace"}
    assert counts["DepthToSpace"] == 3
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    shapes = {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {name: [1, 3, 512, 512] for name in ("image", "protected", "delta")}
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    (entry,) = model.metadata_props
    assert entry.key == "RID_METADATA"


def test_metadata(exported: Any) -> None:
    found = read_metadata(exported("onnx").file)
    assert (found.format, found.layout) == ("onnx", "nchw")
    assert found.parity[0].runtime.startswith("ONNX Runtime")
    assert all(check.passed for entry in found.parity for check in entry.checks)


def test_runtime_agrees_with_torch(exported: Any, checkpoint: Path) -> None:
    image = np.random.default_rng(5).random((512, 512, 3), dtype=np.float32)
    expected = load_runtime(checkpoint).perturb(image)
    unit = load_runtime(exported("onnx").file, threads=2).perturb(image)
    np.testing.assert_allclose(unit, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (faults.double_eps, r"change_levels is 1\d.*adds 2 times eps"),
        (faults.other_weights, "delta_sqnr_db.*weights differ"),
        (faults.nan_weights, "NaN"),
        (faults.drop_a_relu, "delta_sqnr_db.*(a layer is missing|saturates)"),
        (faults.drop_tanh, "tanh at the end is missing"),
        (faults.column_first_shuffle, "delta_sqnr_db"),
        (faults.bgr_stem, "red and blue are swapped in the input"),
        (faults.input_in_levels, r"0\.\.255 instead of 0\.\.1"),
    ],
)
def test_planted_faults(
    exported: Any,
    reference: Any,
    tmp_path: Path,
    spoil: Callable[[Any], None],
    text: str,
) -> None:
    import onnx

    from rid_core.runtimes.onnxruntime import OnnxRuntime
    from rid_export.parity import gate, thresholds

    model = onnx.load(exported("onnx").file)
    spoil(model)
    path = tmp_path / "spoilt.onnx"
    onnx.save(model, path)
    with pytest.raises(RidError, match="changed after its export"):
        load_runtime(path)
    with pytest.raises(RidError, match=text):
        gate(OnnxRuntime(path, sealed=False), reference, thresholds("fp32", 8, rounded=False))


def test_truncated(exported: Any, tmp_path: Path) -> None:
    cut = tmp_path / "cut.onnx"
    data = exported("onnx").file.read_bytes()
    for length in (0, 3, len(data) // 2, len(data) - 10):
        cut.write_bytes(data[:length])
        with pytest.raises(RidError, match=r"empty|truncated|no exported defender"):
            load_runtime(cut)
