"""ExecuTorch: what is in a program, what it computes, and files that are refused."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rid_core.artifact import read_metadata
from rid_core.errors import RidError
from rid_core.operators import operator_counts
from rid_core.runtimes import load_runtime

pytestmark = [
    pytest.mark.slow,
    pytest.mark.full,
    pytest.mark.skipif(
        importlib.util.find_spec("executorch") is None,
        reason="executorch is not installed: pip install -c constraints.txt -e '.[executorch]'",
    ),
]
SIZE = 64


@pytest.fixture(scope="module")
def made(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Both precisions of a tiny defender, by name."""
    from rid_export.pipeline import export
    from rid_export.spec import ExportSpec

    folder = tmp_path_factory.mktemp("executorch")
    specs = [
        ExportSpec("executorch", precision=precision, resolution=SIZE, calib_samples=8)
        for precision in ("fp32", "int8")
    ]
    return {result.precision: result for result in export(specs, small_checkpoint, folder)}


@pytest.mark.parametrize(("precision", "least", "most"), [("fp32", 80, 200), ("int8", 22, 50)])
def test_it_passes_the_gate_and_agrees_with_torch(
    made: dict[str, Any], small_checkpoint: Path, precision: str, least: float, most: float
) -> None:
    result = made[precision]
    assert result.error is None
    assert least < result.figure("delta_sqnr_db") < most
    assert result.file.suffix == ".pte"
    image = np.random.default_rng(5).random((SIZE, SIZE, 3), dtype=np.float32)
    runtime = load_runtime(result.file)
    assert runtime.name.startswith("ExecuTorch")
    exact = load_runtime(small_checkpoint).perturb(image)
    error = runtime.perturb(image) - exact
    assert 10 * np.log10(np.mean(exact**2) / np.mean(error**2)) > least - 6  # noise is no portrait


def test_all_of_it_is_xnnpacks_and_the_metadata_are_inside(made: dict[str, Any]) -> None:
    found = read_metadata(made["int8"].file)
    assert (found.format, found.layout, found.precision) == ("executorch", "nchw", "int8")
    assert found.calibration
    assert {"torch", "executorch"} <= found.tools.keys()
    assert operator_counts(made["fp32"].file).keys() == {"XnnpackBackend"}


def spoilt(source: Path, target: Path, at: int, value: bytes) -> Path:
    content = bytearray(source.read_bytes())
    content[at : at + len(value)] = value
    target.write_bytes(content)
    return target


def test_a_changed_or_foreign_program_is_refused(made: dict[str, Any], tmp_path: Path) -> None:
    source = made["fp32"].file
    middle = len(source.read_bytes()) // 2
    changed = spoilt(source, tmp_path / "changed.pte", middle, b"\x7f\x7f\x7f\x7f")
    with pytest.raises(RidError, match="changed after its export"):
        load_runtime(changed)
    newer = spoilt(source, tmp_path / "newer.pte", 4, b"ET99")
    with pytest.raises(RidError, match="program of version 99; this release reads version 12"):
        load_runtime(newer)
    cut = tmp_path / "cut.pte"
    cut.write_bytes(source.read_bytes()[:-30])
    with pytest.raises(RidError, match="carries no RID metadata"):
        load_runtime(cut)
    (tmp_path / "torn.pte").write_bytes(source.read_bytes()[:6])
    with pytest.raises(RidError, match=r"torn\.pte"):
        load_runtime(tmp_path / "torn.pte")
    lying = tmp_path / "lying.pte"
    content = source.read_bytes()
    lying.write_bytes(content[:-20] + (1 << 40).to_bytes(8, "little") + content[-12:])
    with pytest.raises(RidError, match="damaged ExecuTorch file"):
        read_metadata(lying)


def test_what_it_cannot_be_is_said_with_the_nearest(tmp_path: Path) -> None:
    from rid_export.registry import get_target
    from rid_export.spec import ExportSpec

    with pytest.raises(RidError, match="the nearest is int8"):
        get_target("executorch").check(ExportSpec("executorch", precision="w8a16"))
