"""Whole photos, file to file: where the time goes besides the network, and how it grows.

Each size runs in a process of its own, so that its peak of memory is its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rid_bench.portable import machine
from rid_bench.portable.timing import percentile
from rid_bench.results import Row
from rid_core.errors import RidError

STEPS = ("decode", "scale", "network", "apply", "encode")
"""JPEG to pixels; scaling and tiling; the network; enlarging, adding, verifying; pixels to JPEG."""


class _Timed:
    """A runtime that adds up the time its network takes."""

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    def perturb(self, image: np.ndarray) -> np.ndarray:
        """See :class:`rid_core.runtimes.base.Runtime`."""
        begin = time.perf_counter()
        unit: np.ndarray = self._runtime.perturb(image)
        self.seconds += time.perf_counter() - begin
        return unit


def measure(
    model: str | Path, megapixels: Sequence[float], *, threads: int, repeats: int = 3
) -> list[Row]:
    """Protect JPEGs of these sizes with ``model``; one row per size, errors as rows.

    Args:
        model: a checkpoint, an exported file or a bundled preset.
        megapixels: sizes.
        threads: of the network; the other steps have one.
        repeats: of each size; medians are reported.
    """
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for size in megapixels:
            request = {
                "model": str(model),
                "megapixels": size,
                "threads": threads,
                "repeats": repeats,
                "folder": folder,
            }
            environment = os.environ | {
                "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
                "OMP_NUM_THREADS": str(threads),
            }
            command = [sys.executable, "-m", "rid_bench.endtoend", json.dumps(request)]
            done = subprocess.run(
                command, capture_output=True, text=True, env=environment, check=False
            )
            row: Row = {"model": Path(model).name, "megapixels": size, "threads": threads}
            if done.returncode == 0:
                row |= json.loads(done.stdout.splitlines()[-1]) | {"error": None}
            else:
                lines = done.stderr.strip().splitlines()
                row["error"] = lines[-1] if lines else f"ended with {done.returncode}"
            rows.append(row)
    return rows


def _child(request: dict[str, Any]) -> Row:
    from rid_bench.photos import synthetic_jpeg
    from rid_core.image import io as photo
    from rid_core.protection import protect_file, working_perturbation
    from rid_core.runtimes import load_runtime

    folder = Path(request["folder"])
    source, target = folder / "photo.jpg", folder / "protected.jpg"
    width, height = synthetic_jpeg(source, request["megapixels"])
    timed = _Timed(load_runtime(request["model"], threads=request["threads"]))
    timed.perturb(np.zeros((512, 512, 3), np.float32))  # the first run is slower, and no photo's
    machine.reset_memory_peak()
    baseline = machine.memory_now()
    samples: dict[str, list[float]] = {step: [] for step in (*STEPS, "total")}
    peak: int | None = None
    for _ in range(request["repeats"]):
        timed.seconds = 0.0
        total = protect_file(source, target, timed).seconds
        network = timed.seconds
        peak = peak or machine.memory_peak()  # of the real thing, before its steps are timed apart
        begin = time.perf_counter()
        opened = photo.load(source)
        decoded = time.perf_counter()
        timed.seconds = 0.0
        working_perturbation(opened.pixels, timed)
        scale = time.perf_counter() - decoded - timed.seconds
        protected = photo.load(target)
        begin_save = time.perf_counter()
        photo.save(protected, folder / "again.jpg")
        encode = time.perf_counter() - begin_save
        decode = decoded - begin
        parts = (decode, scale, network, 0.0, encode)
        # What is left of the whole is enlarging the perturbation, adding it and verifying.
        parts = (decode, scale, network, max(0.0, total - sum(parts)), encode)
        for step, seconds in zip((*STEPS, "total"), (*parts, total), strict=True):
            samples[step].append(seconds)
    middle = {step: percentile(sorted(values), 0.5) for step, values in samples.items()}
    return middle | {
        "width": width,
        "height": height,
        "runtime": timed.name,
        "preset": timed.preset,
        "spread": (max(samples["total"]) - min(samples["total"])) / middle["total"],
        "seconds_per_megapixel": middle["total"] / (width * height / 1e6),
        "memory_bytes": None if peak is None or baseline is None else max(0, peak - baseline),
    }


def linearity(rows: Sequence[Row]) -> dict[str, float] | None:
    """How far the cost is from ``fixed + per_megapixel * size``.

    The line is fitted in relative terms, so that a small photo weighs as much as a large one.

    Returns:
        ``fixed`` and ``per_megapixel`` in seconds, and ``deviation``, the largest relative distance
        from the line; None with fewer than three sizes, where nothing could be told.
    """
    good = [row for row in rows if not row.get("error")]
    if len(good) < 3:
        return None
    size = np.array([row["width"] * row["height"] / 1e6 for row in good])
    total = np.array([row["total"] for row in good])
    columns = np.stack([np.ones_like(size), size], axis=1) / total[:, None]
    (fixed, slope), *_ = np.linalg.lstsq(columns, np.ones_like(total), rcond=None)
    deviation = np.abs((fixed + slope * size) / total - 1).max()
    return {
        "fixed": float(fixed),
        "per_megapixel": float(slope),
        "deviation": float(deviation),
    }


if __name__ == "__main__":
    try:
        print(json.dumps(_child(json.loads(sys.argv[1]))))
    except RidError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
