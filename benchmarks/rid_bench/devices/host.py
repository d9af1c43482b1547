"""The host: everything that can be measured on this machine, in one run."""

from __future__ import annotations

import datetime
import importlib.util
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rid_bench import Options, claims, endtoend, profiles
from rid_bench.artefacts import Artefact, Checkpoint
from rid_bench.layers import multiply_adds
from rid_bench.photos import photo_at
from rid_bench.portable import limits
from rid_bench.portable.machine import describe, usable_cores
from rid_bench.portable.measure import measure
from rid_bench.portable.records import Cell, Labels, Run
from rid_bench.portable.worker import Job
from rid_core.errors import RidError, pip_line
from rid_core.runtimes import LIBRARIES

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
    found = Run(
        datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        describe(PACKAGES, options.name),
        complete=False,
    )
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


@dataclass(frozen=True)
class Plan:
    """What is measured side by side: networks, limits of the machine, peers."""

    networks: list[Job]
    limits: list[Job]
    peers: list[Job]


def _plan(
    artefacts: Sequence[Artefact],
    checkpoints: Sequence[Checkpoint],
    options: Options,
    threads: Sequence[int],
    scratch: Path,
) -> Plan:
    def photo(side: int) -> str:
        file = scratch / f"photo-{side}.npy"
        if not file.exists():
            np.save(file, photo_at(side))
        return str(file)

    networks = network_jobs(artefacts, checkpoints, options, threads, photo)
    if not networks:
        raise RidError(
            f"nothing to measure: no installed runtime fits these files; {pip_line('export')}"
        )
    whole = photo(512)
    best = [
        Job("rid_bench.peers:TorchMatmul", Cell("matmul", threads=count), whole)
        for count in threads
    ]
    peers = (
        claims.jobs(
            photo(options.dit_config.get("image_size", 512)),
            threads,
            onnx=options.dit_onnx,
            surrogate=options.surrogate,
            config=options.dit_config,
        )
        if options.peers
        else []
    )
    return Plan(networks, limits.jobs(whole, threads) + best, peers)


def network_jobs(
    artefacts: Sequence[Artefact],
    checkpoints: Sequence[Checkpoint],
    options: Options,
    threads: Sequence[int],
    photo: Callable[[int], str],
) -> list[Job]:
    """One job per file, runtime, kind of kernels and number of threads.

    A runtime that is asked for by name but not installed is planned all the same: its result then
    says which pip line brings it.
    """
    chosen = list(options.runtimes) or [
        name
        for name, library in LIBRARIES.items()
        if importlib.util.find_spec(library.package.split(".")[0])
        and (name != "coreml" or sys.platform == "darwin")
    ]
    unknown = [name for name in chosen if name not in LIBRARIES]
    if unknown:
        raise RidError(f"no runtime is called {unknown[0]!r}; known: {', '.join(LIBRARIES)}")
    jobs = []
    for name in chosen:
        form = LIBRARIES[name].format
        fit: list[tuple[Path, Labels, int]] = [
            (a.path, a.labels(), a.metadata.resolution)
            for a in artefacts
            if a.metadata.format == form
        ]
        if form == "torch":
            fit = [(c.path, c.labels(), c.resolution) for c in checkpoints]
        for path, labels, side in fit:
            work = multiply_adds(path) if form == "tflite" else None
            for kernels in options.kernels if name == "litert" else ("xnnpack",):
                cell = Cell(**vars(labels), runtime_key=name, kernels=kernels, multiply_adds=work)
                jobs += [
                    Job(name, replace(cell, threads=count), photo(side), str(path))
                    for count in threads
                ]
    return jobs


def _latency(
    plan: Plan,
    options: Options,
    found: Run,
    notify: Callable[[str], None],
    keep: Callable[[Run], None],
) -> None:
    jobs = [*plan.networks, *plan.limits, *plan.peers]
    first, second = len(plan.networks), len(plan.networks) + len(plan.limits)

    def sort(cells: list[Cell]) -> None:
        found.cells = cells[:first]
        found.peaks = limits.peaks(cells[first:second])
        found.peers = claims.rows(cells[second:])
        found.note = "not finished"
        keep(found)

    cells, note = measure(
        jobs,
        rounds=options.rounds,
        batch=options.batch,
        max_seconds=options.max_seconds,
        notify=notify,
        on_round=sort,
    )
    sort(cells)
    found.note = note


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
