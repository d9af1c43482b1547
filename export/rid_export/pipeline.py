"""Checkpoint to proved artefact: a list of named stages.

An artefact is made in a scratch folder beside its place and moved there after the last stage. If a
stage refuses it, what was there before stays.

A converter spends most of its time importing itself, on one core, in a process of its own. So a few
convert at the same time, while the other stages take their turns in this process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from rid_core.artifact import (
    ArtifactMetadata,
    Parity,
    check_digest,
    payload_size,
    read_metadata,
    seal,
)
from rid_core.errors import RidError
from rid_core.files import replacing
from rid_core.output import suppress_output
from rid_export import parity
from rid_export.isolation import convert_isolated
from rid_export.layers import QuantizationReport, worst_layer
from rid_export.lint import lint_lines
from rid_export.preparation import Preparation, scratch_folder
from rid_export.registry import Target, get_target
from rid_export.report import Result
from rid_export.spec import ExportSpec


@dataclass
class Job:
    """One artefact on its way through the stages.

    Attributes:
        spec: what to make.
        target: that makes it.
        checkpoint: what it is made from.
        reference: the float32 network's answers.
        expected: what its metadata must say, as far as it is known beforehand.
        path: of the unfinished artefact.
        log: of the converter.
        preparation: images and references of the run.
        calibration: folder of images for the converter, if it needs some.
        stop: set when the run was interrupted.
        quantization: what the converter tells of it.
        remarks: for people, on the finished file.
        metadata: what the file says of itself, once it does.
        checked: outcome per runtime.
    """

    spec: ExportSpec
    target: Target
    checkpoint: Path
    reference: parity.Reference
    expected: dict[str, object]
    path: Path
    log: Path
    preparation: Preparation
    calibration: Path | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    quantization: QuantizationReport | None = None
    remarks: tuple[str, ...] = ()
    metadata: ArtifactMetadata | None = None
    checked: list[Parity] = field(default_factory=list)


@dataclass(frozen=True)
class Stage:
    """A step that finishes a part of a job or raises ``RidError``.

    Attributes:
        name: for people.
        run: the step.
        isolated: it works in a process of its own, and shares nothing with this one.
    """

    name: str
    run: Callable[[Job], None]
    isolated: bool = False


def _convert(job: Job) -> None:
    job.quantization = convert_isolated(
        job.target, job.spec, job.checkpoint, job.path, job.log, job.calibration, job.stop
    )


def _read(job: Job) -> None:
    """The file must describe itself, and as what was asked for."""
    job.metadata = read_metadata(job.path)
    for name, wanted in job.expected.items():
        found = getattr(job.metadata, name)
        if found != wanted:
            raise RidError(f"stale metadata: it says {name} {found}, but this is {wanted}")
    job.target.inspect(job.path, job.metadata)


def _gate(job: Job) -> None:
    spec, reference = job.spec, job.reference
    rounded = job.target.rounded or spec.io == "uint8"
    bounds = parity.thresholds(spec.precision, reference.levels, rounded=rounded)
    runners = job.target.runners(job.path)
    try:
        for runner in runners:
            job.checked.append(parity.gate(runner, reference, bounds, spec.outputs))
            # A surrogate is slow: it judges the runtime that apps use, the first.
            reference = dataclasses.replace(reference, shift=None)
    except RidError as error:
        rows = job.quantization.layers if job.quantization is not None else ()
        raise RidError(f"{error}{worst_layer(rows)}") from None
    job.remarks = job.target.remarks(job.path)


def _seal(job: Job) -> None:
    """Write the figures into the file, and read it once more as a user would."""
    assert job.metadata is not None
    proved = dataclasses.replace(job.metadata, parity=tuple(job.checked), sizes=job.reference.sizes)
    seal(job.path, proved)
    check_digest(job.path, read_metadata(job.path))


STAGES = (
    Stage("convert", _convert, isolated=True),
    Stage("read", _read),
    Stage("gate", _gate),
    Stage("seal", _seal),
)

Notify = Callable[[str], None]


def export(
    specs: Sequence[ExportSpec],
    checkpoint: Path,
    out: Path,
    *,
    notify: Notify = lambda _: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    stages: Sequence[Stage] = STAGES,
    portraits: Path | None = None,
    surrogate: Path | None = None,
) -> list[Result]:
    """Make all artefacts; one that is refused does not stop the others.

    Args:
        specs: what to make.
        checkpoint: safetensors file.
        out: folder for the files.
        notify: called with one line per stage.
        progress: called with the stages that are done and all stages of all files.
        stages: for tests and tools that need another way.
        portraits: folder of photos that the files are measured on; None for the bundled ones.
        surrogate: file of an encoder, to measure how much of the latent shift is retained.

    Returns:
        One result per spec, in order; ``error`` says which were refused.

    Raises:
        RidError: the checkpoint cannot be exported at all, or a spec makes no sense for it.
    """
    from rid_core.checkpoint import weights_digest
    from rid_core.runtimes.torch import TorchRuntime

    targets = [get_target(spec.target) for spec in specs]
    for spec, target in zip(specs, targets, strict=True):
        target.check(spec)
    torch_runtime = TorchRuntime(checkpoint)
    for spec in specs:
        spec.check_size(torch_runtime.preset, torch_runtime.stride, torch_runtime.fixed_size)
    layouts = [target.layout for target in targets]
    for line in lint_lines(torch_runtime.defender, layouts, specs[0].resolution if specs else 512):
        notify(line)
    identity: dict[str, object] = {
        "preset": torch_runtime.preset,
        "levels": torch_runtime.levels,
        "weights": weights_digest(torch_runtime.defender),
    }

    jobs = []
    with scratch_folder() as scratch:
        preparation = Preparation(
            torch_runtime, scratch, notify, portraits=portraits, surrogate=surrogate
        )
        for spec, target in zip(specs, targets, strict=True):
            reference = preparation.reference(spec)
            calibration = preparation.calibration(spec)
            place = out / spec.file_name(torch_runtime.preset, target.suffix)
            expected = identity | {
                "format": target.format,
                "layout": spec.layout or target.layout,
                "precision": spec.precision,
                "resolution": spec.resolution,
                "dynamic": spec.dynamic,
                "calibration": None if calibration is None else calibration.digest,
                "unfit": None if calibration is None else calibration.unfit,
            }
            log = place.with_name(f"{place.name}.log")
            folder = preparation.calibration_folder(spec)
            jobs.append(
                Job(spec, target, checkpoint, reference, expected, place, log, preparation, folder)
            )
        return _run_all(jobs, stages, notify, progress)


_AT_ONCE = 4
"""Converters that run at the same time at most: each takes up to a gigabyte."""


def _run_all(
    jobs: Sequence[Job],
    stages: Sequence[Stage],
    notify: Notify,
    progress: Callable[[int, int], None],
) -> list[Result]:
    """Results in the order of the jobs."""
    turn = threading.Lock()
    done, total = 0, len(jobs) * len(stages)

    def advance(steps: int) -> None:
        nonlocal done
        with turn:
            done += steps
            progress(done, total)

    with ThreadPoolExecutor(min(os.cpu_count() or 1, _AT_ONCE)) as pool:
        running = [pool.submit(_run, job, stages, notify, advance, turn) for job in jobs]
        try:
            return [each.result() for each in running]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for job in jobs:
                job.stop.set()
            raise


def _run(
    job: Job,
    stages: Sequence[Stage],
    notify: Notify,
    advance: Callable[[int], None],
    turn: threading.Lock,
) -> Result:
    """Take one job through the stages; a refusal becomes a result, and keeps the log it names.

    Whoever speaks, or lets this process work, holds ``turn``: what a stage prints goes to its log.
    """
    spec, place = job.spec, job.path
    seconds = 0.0
    keep_log = False
    left = len(stages)
    try:
        with replacing(place) as fresh:
            job.path = fresh
            for stage in stages:
                if job.stop.is_set():
                    raise KeyboardInterrupt
                with turn:
                    notify(f"{spec.label()}: {stage.name}")
                with contextlib.ExitStack() as surroundings:
                    if not stage.isolated:
                        surroundings.enter_context(turn)
                        surroundings.enter_context(suppress_output(job.log))
                    started = time.perf_counter()
                    try:
                        stage.run(job)
                    finally:
                        seconds += time.perf_counter() - started
                left -= 1
                advance(1)
            size = payload_size(fresh)
            job.remarks = (*job.remarks, *_replaced(place, job.metadata))
    except RidError as error:
        keep_log = str(job.log) in str(error)
        advance(left)
        return Result(
            spec.target, spec.precision, place, seconds, error=str(error), notes=job.quantization
        )
    finally:
        if not keep_log:
            with contextlib.suppress(OSError):
                job.log.unlink()
    with turn:
        for line in (*_quantization_lines(job.quantization), *job.remarks):
            notify(f"{spec.label()}: {line}")
    return Result(
        spec.target,
        spec.precision,
        place,
        seconds,
        size,
        tuple(job.checked),
        portraits=job.preparation.portraits(spec).origin,
        notes=job.quantization,
        remarks=job.remarks,
    )


_OF_A_REPLACED_FILE = ("weights", "levels", "calibration")
"""What its name does not say."""


def _replaced(place: Path, fresh: ArtifactMetadata | None) -> Iterator[str]:
    """What is other in a file of the same name that is about to be replaced."""
    if fresh is None or not place.exists():
        return
    try:
        old = read_metadata(place)
    except RidError:  # none of ours: nothing is known of it
        return
    other = [n for n in _OF_A_REPLACED_FILE if getattr(old, n) != getattr(fresh, n)]
    if other:
        yield f"replaced a file of that name that had other {', '.join(other)}"


def _quantization_lines(report: QuantizationReport | None) -> Iterator[str]:
    if report is not None and report.float_layers:
        before, after = report.before["delta_sqnr_db"], report.after["delta_sqnr_db"]
        names = ", ".join(report.float_layers)
        yield f"{before:.1f} dB, {after:.1f} dB with these layers kept in float: {names}"
