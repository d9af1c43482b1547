"""The runner inside a bundle: ``python3 run.py``. Python 3.9, numpy and one runtime are enough."""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rid_core.fidelity import compare
from rid_core.runtimes import LIBRARIES

from . import limits
from .machine import describe, usable_cores
from .measure import measure
from .records import (
    SCHEMA,
    Bound,
    Cell,
    Fidelity,
    Figures,
    Labels,
    Run,
    document,
    judge,
    label,
    measured,
)
from .timing import threads_text
from .worker import Job, Worker, WorkerError

PACKAGES = ("numpy", "ai-edge-litert", "onnxruntime")
RUNTIMES = {"TFLite": "litert", "ONNX": "onnxruntime"}
"""Library that runs a format here."""


class TroubleError(Exception):
    """Something the user can fix, in one line."""


@dataclass(frozen=True)
class Entry:
    """An artefact of a bundle.

    Attributes:
        file: its place.
        labels: what results say of it.
        bounds: of the export gate.
        reference: files of the reference's perturbations, one per photo.
    """

    file: str
    labels: Labels
    bounds: tuple[Bound, ...]
    reference: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """The bundle's table of contents.

    Attributes:
        artefacts: what to measure.
        photos: files by name.
        files: SHA-256 by file.
        schema: of this document.
    """

    artefacts: tuple[Entry, ...]
    photos: dict[str, str]
    files: dict[str, str]
    schema: int = SCHEMA


def read_manifest(folder: Path) -> Manifest:
    """The bundle's table of contents.

    Raises:
        TroubleError: missing, damaged, or of another version.
    """
    try:
        raw = json.loads((folder / "bundle.json").read_text())
        if raw["schema"] != SCHEMA:
            raise TroubleError(f"bundle of schema {raw['schema']}, this runner reads {SCHEMA}")
        entries = tuple(
            Entry(
                entry["file"],
                Labels(**entry["labels"]),
                tuple(Bound(**bound) for bound in entry["bounds"]),
                tuple(entry["reference"]),
            )
            for entry in raw["artefacts"]
        )
        return Manifest(entries, raw["photos"], raw["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TroubleError(f"{folder}: no bundle ({error}); unpack the zip as a whole") from None


def check_files(folder: Path, manifest: Manifest) -> None:
    """Hold every file against its digest.

    Raises:
        TroubleError: one is missing or damaged.
    """
    for name, digest in manifest.files.items():
        file = folder / name
        if not file.is_file():
            raise TroubleError(f"{name} is missing; unpack the zip as a whole")
        if hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            raise TroubleError(f"{name} is damaged; copy the bundle again")


def plan(folder: Path, manifest: Manifest, threads: Sequence[int]) -> list[Job]:
    """One job per artefact and number of threads."""
    photo = str(folder / next(iter(manifest.photos.values())))
    return [
        Job(
            RUNTIMES[entry.labels.format],
            Cell(**vars(entry.labels), threads=count, runtime_key=RUNTIMES[entry.labels.format]),
            photo,
            str(folder / entry.file),
        )
        for entry in manifest.artefacts
        for count in threads
    ]


def fidelity(folder: Path, manifest: Manifest, scratch: Path) -> list[Fidelity]:
    """Every artefact's perturbation against the reference in the bundle, photo by photo.

    Runs with one thread. The statistics are the ones of the export gate.
    """
    rows = []
    for entry, job in zip(manifest.artefacts, plan(folder, manifest, [1])):  # noqa: B905
        row = Fidelity(**vars(entry.labels))
        images = []
        worker = Worker(job)
        try:
            row = replace(row, runtime=worker.open().runtime)
            for (name, photo), truth in zip(manifest.photos.items(), entry.reference):  # noqa: B905
                copy = scratch / Path(photo).name
                copy.write_bytes((folder / photo).read_bytes())
                delta = np.load(worker.delta(str(copy)))
                if not np.isfinite(delta).all():
                    raise WorkerError("its perturbation is not finite")
                found = compare(np.load(folder / truth), delta, 1 / (entry.labels.levels or 1))
                images.append(Figures(**vars(found), photo=name))
            row = replace(row, gate=judge(images, entry.bounds))
        except WorkerError as error:
            row = replace(row, error=str(error))
        finally:
            worker.close()
        rows.append(replace(row, images=tuple(images)))
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run.py", description="Measure the networks of this bundle on this machine."
    )
    parser.add_argument("-o", "--output", default="results.json", help="[results.json]")
    parser.add_argument("--threads", default="", help="such as 1,2,4  [1 and all cores]")
    parser.add_argument("--rounds", type=int, default=10, help="turns of each network  [10]")
    parser.add_argument("--batch", type=float, default=0.1, help="seconds of a turn  [0.1]")
    parser.add_argument("--max-seconds", type=float, default=600.0, help="[600]")
    parser.add_argument("--name", default="", help="of this machine, for the report")
    parser.add_argument(
        "--no-timing", action="store_true", help="fidelity alone, as under an emulator"
    )
    parser.add_argument("--check", action="store_true", help="say whether this machine can run it")
    return parser


def _threads(text: str) -> list[int]:
    if not text:
        return sorted({1, usable_cores()})
    try:
        found = [int(word) for word in text.split(",")]
    except ValueError:
        found = [0]
    if min(found) < 1:
        raise TroubleError(f"--threads takes numbers such as 1,2,4, not {text!r}")
    return found


def _run(arguments: argparse.Namespace, folder: Path) -> int:
    import tempfile

    manifest = read_manifest(folder)
    check_files(folder, manifest)
    _check_runtimes(manifest)
    if arguments.check:
        print("ready")
        return 0
    about = describe(PACKAGES)
    about = replace(about, name=arguments.name or about.board or about.cpu)
    now = datetime.datetime.now(datetime.timezone.utc)  # noqa: UP017
    run = Run(now.isoformat(timespec="seconds"), about, complete=False)
    target = Path(arguments.output)

    def keep(cells: Sequence[Cell]) -> None:
        run.cells = list(cells)
        fresh = target.with_name(target.name + ".new")
        fresh.write_text(json.dumps(document([run]), indent=1))
        fresh.replace(target)

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    keep([])
    with tempfile.TemporaryDirectory() as scratch:
        run.fidelity = fidelity(folder, manifest, Path(scratch))
    keep([])
    cells: list[Cell] = []
    if not arguments.no_timing:
        threads = _threads(arguments.threads)
        planned = plan(folder, manifest, threads)
        count = len(planned)
        found, run.note = measure(
            planned + limits.jobs(planned[0].photo, threads),
            rounds=arguments.rounds,
            batch=arguments.batch,
            max_seconds=arguments.max_seconds,
            notify=say,
            on_round=lambda results: keep(results[:count]),
        )
        cells, run.peaks = found[:count], limits.peaks(found[count:])
    run.complete = run.note is None
    keep(cells)
    return _conclude(run, target)


def _check_runtimes(manifest: Manifest) -> None:
    """At least one artefact must have its runtime; which pip line brings it is said."""
    wanted = sorted({RUNTIMES[entry.labels.format] for entry in manifest.artefacts}, reverse=True)
    missing = []
    for name in wanted:
        try:
            __import__(LIBRARIES[name].package)
        except ImportError:
            missing.append(f"pip install {LIBRARIES[name].distribution}")
    if len(missing) == len(wanted):
        raise TroubleError(f"no runtime for these files is installed: {' or '.join(missing)}")


def _conclude(run: Run, target: Path) -> int:
    for row in run.fidelity:
        print(f"{label(row)}: {row.error or row.gate or 'agrees with the reference'}")
    for cell in measured(run.cells):
        noise = f"  ({cell.doubt})" if cell.doubt else ""
        print(
            f"{label(cell, threads=False)}, {threads_text(cell.threads)}: "
            f"{cell.total.median * 1000:.2f} ms, 90 % {cell.total.p90 * 1000:.2f} ms{noise}"
        )
    print(f"written to {target}" + (f" ({run.note})" if run.note else ""))
    return 1 if any(row.error or row.gate for row in run.fidelity) else 0


def main(folder: Path, arguments: Sequence[str] | None = None) -> int:
    """Entry point; ``folder`` is where the bundle was unpacked. Returns the exit code."""
    try:
        return _run(_parser().parse_args(arguments), folder)
    except TroubleError as trouble:
        print(f"error: {trouble}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error.filename or 'this machine'}: {error.strerror}", file=sys.stderr)
        return 1
