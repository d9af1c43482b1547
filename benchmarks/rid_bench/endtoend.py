"""Whole photos, file to file: where the time goes besides the network, and how it grows.

Each size runs in a process of its own, so that its peak of memory is its own.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from rid_bench.devices import remote
from rid_bench.portable import machine
from rid_bench.portable.records import MeasuredPhoto, Photo
from rid_bench.results import read
from rid_core.errors import RidError

if TYPE_CHECKING:
    from rid_core.runtimes import Runtime

_TIMEOUT = 1800.0
STEPS = ("decode", "scale", "network", "apply", "encode")
"""JPEG to pixels; scaling and tiling; the network; enlarging, adding, verifying; pixels to JPEG."""


class _Timed:
    """A runtime that adds up the time its network takes."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.name, self.preset, self.levels = runtime.name, runtime.preset, runtime.levels
        self.stride, self.fixed_size = runtime.stride, runtime.fixed_size
        self.seconds = 0.0

    def perturb(self, image: np.ndarray) -> np.ndarray:
        """See :class:`rid_core.runtimes.base.Runtime`."""
        begin = time.perf_counter()
        unit = self._runtime.perturb(image)
        self.seconds += time.perf_counter() - begin
        return unit


@dataclass(frozen=True)
class _Request:
    model: str
    megapixels: float
    threads: int
    repeats: int
    folder: str


def measure(
    model: str | Path, megapixels: Sequence[float], *, threads: int, repeats: int = 3
) -> list[Photo]:
    """Protect JPEGs of these sizes with ``model``; one row per size, errors as rows.

    Args:
        model: a checkpoint, an exported file or a bundled preset.
        megapixels: sizes.
        threads: of the network; the other steps have one.
        repeats: of each size; medians are reported.
    """
    rows: list[Photo] = []
    with tempfile.TemporaryDirectory() as folder:
        for size in megapixels:
            request = _Request(str(model), size, threads, repeats, folder)
            try:
                line = remote.child(
                    "rid_bench.endtoend",
                    json.dumps(vars(request)),
                    threads=threads,
                    seconds=_TIMEOUT,
                    what="protecting it",
                )
                rows.append(read(Photo, json.loads(line)))
            except RidError as error:
                rows.append(Photo(Path(model).name, size, threads, str(error)))
    return rows


def _child(request: _Request) -> MeasuredPhoto:
    from rid_bench.photos import synthetic_jpeg
    from rid_core.image import io as photo
    from rid_core.protection import protect_file, working_perturbation
    from rid_core.runtimes import load_runtime

    folder = Path(request.folder)
    source, target = folder / "photo.jpg", folder / "protected.jpg"
    width, height = synthetic_jpeg(source, request.megapixels)
    timed = _Timed(load_runtime(request.model, threads=request.threads))
    timed.perturb(np.zeros((512, 512, 3), np.float32))  # the first run is slower, and no photo's
    machine.reset_memory_peak()
    baseline = machine.memory_now()
    samples: dict[str, list[float]] = {step: [] for step in (*STEPS, "total")}
    peak: int | None = None
    for _ in range(request.repeats):
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
        # What is left of the whole is enlarging the perturbation, adding it and verifying.
        rest = max(0.0, total - (decode + scale + network + encode))
        for step, seconds in zip(
            (*STEPS, "total"), (decode, scale, network, rest, encode, total), strict=True
        ):
            samples[step].append(seconds)
    medians = {step: median(values) for step, values in samples.items()}
    whole = medians["total"]
    return MeasuredPhoto(
        Path(request.model).name,
        request.megapixels,
        request.threads,
        total=whole,
        decode=medians["decode"],
        scale=medians["scale"],
        network=medians["network"],
        apply=medians["apply"],
        encode=medians["encode"],
        width=width,
        height=height,
        runtime=timed.name,
        preset=timed.preset,
        spread=(max(samples["total"]) - min(samples["total"])) / whole,
        seconds_per_megapixel=whole / (width * height / 1e6),
        memory_bytes=None if peak is None or baseline is None else max(0, peak - baseline),
    )


@dataclass(frozen=True)
class LinearFit:
    """The cost of a photo as a line over its size.

    Attributes:
        fixed: seconds at no pixels.
        per_megapixel: seconds.
        deviation: the largest relative distance of a photo from the line.
    """

    fixed: float
    per_megapixel: float
    deviation: float


def linearity(rows: Sequence[Photo]) -> LinearFit | None:
    """How far the cost is from ``fixed + per_megapixel * size``; None with under three sizes.

    The line is fitted in relative terms, so that a small photo weighs as much as a large one.
    """
    good = [row for row in rows if isinstance(row, MeasuredPhoto)]
    if len(good) < 3:
        return None
    size = np.array([row.width * row.height / 1e6 for row in good])
    total = np.array([row.total for row in good])
    columns = np.stack([np.ones_like(size), size], axis=1) / total[:, None]
    (fixed, slope), *_ = np.linalg.lstsq(columns, np.ones_like(total), rcond=None)
    deviation = np.abs((fixed + slope * size) / total - 1).max()
    return LinearFit(float(fixed), float(slope), float(deviation))


if __name__ == "__main__":
    try:
        print(json.dumps(asdict(_child(_Request(**json.loads(sys.argv[1]))))))
    except RidError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
