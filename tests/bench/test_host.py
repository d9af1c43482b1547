"""This machine: plans, and one small run of everything."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import rid_bench
from rid_bench import results
from rid_bench.artefacts import open_all
from rid_bench.devices import host
from rid_bench.portable.records import Measured, Run, measured
from rid_core.errors import RidError

SMALL = {"depth": 1, "width": 16, "heads": 2, "image_size": 64}


def quick(**other: Any) -> rid_bench.Options:
    base: dict[str, Any] = {
        "threads": [1],
        "rounds": 1,
        "batch": 0.0,
        "dit_config": SMALL,
        "megapixels": (),
        "profile": False,
    }
    return rid_bench.Options(**(base | other))


def test_everything_once(exported: dict[str, Path], checkpoint: Path, tmp_path: Path) -> None:
    kept: list[bool] = []
    target = tmp_path / "bench.json"

    def look(_: str) -> None:
        if target.exists():
            kept.append(results.load(target)[0].complete)  # readable at every moment

    options = quick(profile=True, runtimes=("litert", "onnxruntime", "torch"))
    files = [*exported.values(), checkpoint]
    found = rid_bench.run(files, options, resolution=64, output=target, notify=look)
    assert results.load(target) == [found]
    assert not any(kept)
    assert found.complete
    assert found.note is None
    assert len(kept) >= 3
    assert {(cell.format, cell.error) for cell in found.cells} == {
        ("TFLite", None),
        ("ONNX", None),
        ("torch", None),
    }
    assert len(measured(found.cells)) == 3
    for cell in measured(found.cells):
        assert cell.name == "rid-n"
        assert cell.total.median > 0
        assert cell.size_bytes
    assert {row.name for row in found.peers} >= {"rid-dit", "Mist"}
    assert all(isinstance(row, Measured) and row.total.median > 0 for row in found.peers)
    assert sorted((p.kind, p.what.split()[0]) for p in found.peaks) == [
        ("copy", "numpy"),
        ("matmul", "numpy"),
        ("matmul", "torch"),
    ]
    assert [row.error for row in found.layers] == [None, None]


def photo(side: int) -> str:
    return f"{side}.npy"


def test_plan_is_files_by_runtimes_by_threads(exported: dict[str, Path], checkpoint: Path) -> None:
    artefacts, checkpoints = open_all([*exported.values(), checkpoint], 64)
    options = quick(
        kernels=("xnnpack", "builtin"), runtimes=("litert", "onnxruntime", "tensorflow", "torch")
    )
    jobs = host.network_jobs(artefacts, checkpoints, options, [1, 2], photo)
    plan = [(job.cell.runtime_key, job.cell.kernels, job.cell.threads) for job in jobs]
    assert [job.opener for job in jobs] == [name for name, *_ in plan]
    assert plan == [
        ("litert", "xnnpack", 1),
        ("litert", "xnnpack", 2),
        ("litert", "builtin", 1),
        ("litert", "builtin", 2),
        ("onnxruntime", "xnnpack", 1),
        ("onnxruntime", "xnnpack", 2),
        ("tensorflow", "xnnpack", 1),
        ("tensorflow", "xnnpack", 2),
        ("torch", "xnnpack", 1),
        ("torch", "xnnpack", 2),
    ]
    assert {job.photo for job in jobs} == {"64.npy"}


def test_core_ml_is_planned_on_a_mac_alone(
    exported: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    artefacts, _ = open_all(list(exported.values()))
    monkeypatch.setattr(host.importlib.util, "find_spec", lambda _: True)
    for system, wanted in (("linux", False), ("darwin", True)):
        monkeypatch.setattr(host.sys, "platform", system)
        artefact = artefacts[0]
        package = type(artefact)(
            artefact.path, __import__("dataclasses").replace(artefact.metadata, format="coreml")
        )
        jobs = host.network_jobs([package], [], quick(), [1], photo)
        assert bool(jobs) is wanted
    assert sys.platform == "darwin"  # still patched: the loop above was about host.sys


def test_nothing_to_measure(checkpoint: Path) -> None:
    _, checkpoints = open_all([checkpoint], 64)
    with pytest.raises(RidError, match="nothing to measure"):
        host.run([], checkpoints, quick(runtimes=("litert",)))
    with pytest.raises(RidError, match="no runtime is called 'tensorrt'"):
        host.run([], checkpoints, quick(runtimes=("tensorrt",)))


def test_an_interruption_is_a_result(
    exported: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    artefacts, _ = open_all([exported["onnx"]])

    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(host.profiles, "profile", interrupted)
    kept: list[Run] = []
    options = quick(peers=False, profile=True)
    found = host.run(artefacts, [], options, keep=kept.append)
    assert (found.complete, found.note) == (False, "interrupted")
    assert measured(found.cells)[0].total.median > 0
    assert kept[-1] is found
