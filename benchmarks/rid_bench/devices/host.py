"""The host: everything that can be measured on this machine, in one run."""

from __future__ import annotations

import datetime
import importlib.util
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rid_bench import claims, endtoend, profiles, results
from rid_bench.artefacts import Artefact, Checkpoint
from rid_bench.layers import multiply_adds
from rid_bench.photos import photo_at
from rid_bench.portable.board import peak_cells, peaks_of
from rid_bench.portable.machine import describe, usable_cores
from rid_bench.portable.measure import measure
from rid_bench.portable.timing import doubt
from rid_bench.results import Row, Run
from rid_core.errors import RidError, pip_line

PACKAGES = [
    "rid-defender",
    "numpy",
    "torch",
    "onnxruntime",
    "ai-edge-litert",
    "tensorflow",
    "coremltools",
    "Pillow",
]
RUNTIMES = {
    "litert": ("tflite", "tflite", "ai_edge_litert"),
    "tensorflow": ("tflite", "rid_bench.sessions:TensorFlowSession", "tensorflow"),
    "onnxruntime": ("onnx", "onnx", "onnxruntime"),
    "coreml": ("coreml", "rid_bench.sessions:CoreMLSession", "coremltools"),
    "torch": ("torch", "rid_bench.sessions:TorchSession", "torch"),
}
"""Runtime to (format of file, opener, package that must be there)."""


@dataclass(frozen=True)
class Options:
    """What to measure, and how long.

    Attributes:
        threads: numbers of threads; empty for one and all cores.
        runtimes: keys of :data:`RUNTIMES`; empty for all that are installed.
        kernels: of LiteRT: ``xnnpack``, and ``builtin`` to see what it is worth.
        rounds: turns of every cell.
        batch: seconds of a turn.
        max_seconds: for the interleaved part; no round begins after that.
        peers: whether to time what the defenders are compared with.
        dit_onnx: the paper's network in ONNX Runtime as well (minutes, and gigabytes of memory).
        dit_config: fields of it that differ, for tests.
        surrogate: encoder that PGD is timed on; empty for random weights.
        megapixels: whole photos of these sizes; none if empty.
        photo_model: what protects them; by default the first artefact or checkpoint.
        profile: whether to profile operators.
        name: of the machine, for reports.
    """

    threads: Sequence[int] = ()
    runtimes: Sequence[str] = ()
    kernels: Sequence[str] = ("xnnpack",)
    rounds: int = 10
    batch: float = 0.1
    max_seconds: float = 400.0
    peers: bool = True
    dit_onnx: bool = False
    dit_config: dict[str, Any] = field(default_factory=dict)
    surrogate: str = ""
    megapixels: Sequence[float] = (1, 12, 48)
    photo_model: str | None = None
    profile: bool = True
    name: str = ""


def run(
    artefacts: Sequence[Artefact],
    checkpoints: Sequence[Checkpoint],
    options: Options,
    *,
    notify: Callable[[str], None] = lambda _: None,
    keep: Callable[[Run], None] = lambda _: None,
) -> Run:
    """Measure; ``keep`` is called whenever there is something new, so that nothing is lost.

    An interruption ends the run with what there is, ``complete`` False and a ``note``.

    Raises:
        RidError: nothing that was given can be measured at all.
    """
    about = describe(PACKAGES)
    about["name"] = options.name or about["cpu"]
    found = Run(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), machine=about
    )
    found.complete = False
    threads = list(options.threads) or sorted({1, usable_cores()})
    with tempfile.TemporaryDirectory() as scratch:
        plan = _plan(artefacts, checkpoints, options, threads, Path(scratch))
        try:
            _latency(plan, options, found, notify, keep)
            if found.note is None:
                _rest(artefacts, checkpoints, options, threads, found, notify, keep)
        except (KeyboardInterrupt, SystemExit) as stop:
            found.note = "interrupted" if isinstance(stop, KeyboardInterrupt) else "terminated"
    found.complete = found.note is None
    keep(found)
    return found


def _plan(
    artefacts: Sequence[Artefact],
    checkpoints: Sequence[Checkpoint],
    options: Options,
    threads: Sequence[int],
    scratch: Path,
) -> list[dict[str, Any]]:
    """All cells: networks, limits of the machine, peers."""

    def photo(side: int) -> str:
        file = scratch / f"photo-{side}.npy"
        if not file.exists():
            np.save(file, photo_at(side))
        return str(file)

    cells = network_cells(artefacts, checkpoints, options, threads, photo)
    if not cells:
        raise RidError(
            f"nothing to measure: no installed runtime fits these files; {pip_line('export')}"
        )
    cells += peak_cells(photo(512), threads)
    cells += [
        {
            "opener": "rid_bench.sessions:TorchMatmulSession",
            "path": "",
            "labels": {"peak": "matmul"},
            "threads": count,
            "photo": photo(512),
        }
        for count in threads
    ]
    if options.peers:
        side = options.dit_config.get("image_size", 512)
        cells += claims.cells(
            photo(side),
            threads,
            onnx=options.dit_onnx,
            surrogate=options.surrogate,
            config=options.dit_config,
        )
    return cells


def network_cells(
    artefacts: Sequence[Artefact],
    checkpoints: Sequence[Checkpoint],
    options: Options,
    threads: Sequence[int],
    photo: Callable[[int], str],
) -> list[dict[str, Any]]:
    """One cell per file, runtime, kind of kernels and number of threads.

    A runtime that is asked for by name but not installed is planned all the same: its result then
    says which pip line brings it.
    """
    chosen = list(options.runtimes) or [
        name
        for name, (_, _, package) in RUNTIMES.items()
        if importlib.util.find_spec(package) and (name != "coreml" or sys.platform == "darwin")
    ]
    unknown = [name for name in chosen if name not in RUNTIMES]
    if unknown:
        raise RidError(f"no runtime is called {unknown[0]!r}; known: {', '.join(RUNTIMES)}")
    cells = []
    for name in chosen:
        kind, opener, _ = RUNTIMES[name]
        fit = [
            (str(a.path), a.labels(), a.about(), a.metadata.resolution)
            for a in artefacts
            if a.metadata.format == kind
        ]
        if kind == "torch":
            fit = [
                (str(c.path), c.labels(), {"resolution": c.resolution}, c.resolution)
                for c in checkpoints
            ]
        for path, labels, about, side in fit:
            if kind == "tflite":
                labels["multiply_adds"] = multiply_adds(path)
            for kernels in options.kernels if name == "litert" else ("xnnpack",):
                cells += [
                    {
                        "opener": opener,
                        "path": path,
                        "about": about,
                        "labels": labels | {"runtime_key": name, "kernels": kernels},
                        "threads": count,
                        "kernels": kernels,
                        "photo": photo(side),
                    }
                    for count in threads
                ]
    return cells


def _latency(
    plan: Sequence[dict[str, Any]],
    options: Options,
    found: Run,
    notify: Callable[[str], None],
    keep: Callable[[Run], None],
) -> None:
    def sort(all_results: list[Row]) -> None:
        networks = [r for r in all_results if "peak" not in r and "peer" not in r]
        found.cells = networks
        found.peaks = peaks_of([r for r in all_results if "peak" in r])
        found.peers = claims.rows([r for r in all_results if "peer" in r])
        found.note = "not finished"
        keep(found)

    measured, note = measure(
        plan,
        rounds=options.rounds,
        batch=options.batch,
        max_seconds=options.max_seconds,
        notify=notify,
        on_round=sort,
    )
    sort(measured)
    found.note = note
    for cell in results.measured(found.cells):
        why = doubt(cell)
        if why:
            notify(f"{results.label(cell)}: {why}")


def _rest(
    artefacts: Sequence[Artefact],
    checkpoints: Sequence[Checkpoint],
    options: Options,
    threads: Sequence[int],
    found: Run,
    notify: Callable[[str], None],
    keep: Callable[[Run], None],
) -> None:
    """What cannot be interleaved: profiles, and whole photos."""
    if options.profile:
        for artefact in artefacts:
            if artefact.metadata.format in ("tflite", "onnx"):
                notify(f"profiling {artefact.path.name}")
                found.layers.append(profiles.profile(artefact, max(threads)))
                keep(found)
    runnable = [a for a in artefacts if a.metadata.format != "coreml" or sys.platform == "darwin"]
    models = [str(a.path) for a in runnable] + [str(c.path) for c in checkpoints]
    model = options.photo_model or (models[0] if models else None)
    if model is not None:
        for size in options.megapixels:
            notify(f"protecting a JPEG of {size:g} megapixels")
            found.photos += endtoend.measure(model, [size], threads=max(threads))
            keep(found)
