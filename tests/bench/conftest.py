"""One tiny defender, exported once per session at 64 x 64, and a reference of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rid_bench.portable.records import Cell, Machine, Measured
from rid_bench.portable.timing import Summary
from rid_bench.portable.worker import Job

# bench_sessions (by workers too) and tiny_defender are imported by name.
sys.path.insert(0, str(Path(__file__).parent))

SIDE = 64


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny_defender import tiny

    return tiny(3, tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="session")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tiny defender as TFLite and as ONNX, by target."""
    from rid_export.pipeline import export
    from rid_export.spec import ExportSpec

    out = tmp_path_factory.mktemp("dist")
    specs = [ExportSpec(target=target, resolution=SIDE) for target in ("tflite", "onnx")]
    results = export(specs, checkpoint, out)
    assert [result.error for result in results] == [None, None]
    return {spec.target: result.file for spec, result in zip(specs, results, strict=True)}


@pytest.fixture(scope="session")
def reference(checkpoint: Path) -> Any:
    from rid_bench import reference as references
    from rid_bench.photos import gate_photos

    names, images = gate_photos(SIDE)
    return references.make(checkpoint, names[:2], images[:2])


@pytest.fixture
def photo(tmp_path: Path) -> str:
    file = tmp_path / "photo.npy"
    np.save(file, np.zeros((SIDE, SIDE, 3), np.uint8))
    return str(file)


@pytest.fixture
def stub(photo: str) -> Callable[..., Job]:
    """``stub("Stub", seconds=0.01)`` is a job of :mod:`bench_sessions`."""

    def make(kind: str = "Stub", *, rounds: int | None = None, **options: Any) -> Job:
        cell = Cell(options.get("letter", kind))
        return Job(f"bench_sessions:{kind}", cell, photo, rounds=rounds, options=options)

    return make


def a_cell(name: str = "rid-s", median: float = 0.01, **other: Any) -> Measured:
    """A measured cell as results hold it."""
    spread = other.pop("spread", 0.02)

    def summary(scale: float) -> Summary:
        middle = median * scale
        low, p90, p99 = middle * 0.95, middle * (1 + spread), middle * (1 + 2 * spread)
        return Summary(50, low, middle, p90, p99, middle, spread)

    fields: dict[str, Any] = {
        "format": "TFLite",
        "precision": "fp32",
        "weights": "w" * 64,
        "resolution": 512,
        "levels": 8,
        "size_bytes": 1_000_000,
        "runtime": "LiteRT 2.3.0, XNNPACK",
        "runtime_key": "litert",
        "threads": 2,
        "multiply_adds": 900_000_000,
        "load_s": 0.03,
        "first_s": 0.02,
        "memory_bytes": 30_000_000,
        "network": summary(0.9),
        "pre": summary(0.05),
        "post": summary(0.05),
        "total": summary(1.0),
        "rounds": tuple(median * 0.9 * (1 + 0.001 * n) for n in range(8)),
        "cpu_share": 0.95,
    }
    return Measured(name, **fields | other)


@pytest.fixture
def cell() -> Callable[..., Measured]:
    return a_cell


@pytest.fixture
def machine() -> Machine:
    return Machine("Test CPU", cores=2, name="test machine", load_before=0.0)
