"""The runner inside a bundle: ``python3 run.py``. Python 3.9, numpy and one runtime are enough."""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .machine import describe, usable_cores
from .runtimes import AMOUNT, MODULES, PIP
from .timing import doubt, threads_text

SCHEMA = 1
"""Of the document that holds results; the harness on the workstation reads the same number."""
PACKAGES = ["numpy", "ai-edge-litert", "onnxruntime"]
PIP_NUMPY = "pip install numpy"


class TroubleError(Exception):
    """Something the user can mend, in one line."""


def _check_python() -> None:
    if sys.version_info < (3, 9):  # noqa: UP036 - the one place where that can happen
        raise TroubleError(f"Python 3.9 or later is needed, this is {sys.version.split()[0]}")
    try:
        import numpy  # noqa: F401
    except ImportError:
        raise TroubleError(f"numpy is not installed: {PIP_NUMPY}") from None


def read_manifest(folder: Path) -> dict[str, Any]:
    """The bundle's table of contents.

    Raises:
        TroubleError: missing, damaged, or of another version.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / "bundle.json").read_text())
    except (OSError, ValueError) as error:
        raise TroubleError(f"{folder}: no bundle ({error}); unpack the zip as a whole") from None
    if manifest.get("schema") != SCHEMA:
        raise TroubleError(f"bundle of schema {manifest.get('schema')}, this runner reads {SCHEMA}")
    return manifest


def check_files(folder: Path, manifest: dict[str, Any]) -> None:
    """Hold every file against its digest.

    Raises:
        TroubleError: one is missing or damaged.
    """
    for name, digest in manifest["files"].items():
        file = folder / name
        if not file.is_file():
            raise TroubleError(f"{name} is missing; unpack the zip as a whole")
        if hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            raise TroubleError(f"{name} is damaged; copy the bundle again")


def plan(folder: Path, manifest: dict[str, Any], threads: Sequence[int]) -> list[dict[str, Any]]:
    """One cell per artefact and number of threads."""
    return [
        {
            "opener": artefact["about"]["format"],
            "path": str(folder / artefact["file"]),
            "about": artefact["about"],
            "labels": artefact["labels"],
            "threads": count,
            "photo": str(folder / manifest["photos"][0]["file"]),
        }
        for artefact in manifest["artefacts"]
        for count in threads
    ]


def peak_cells(photo: str, threads: Sequence[int]) -> list[dict[str, Any]]:
    """Cells that measure the limits of the machine: matrix products and copies."""
    return [
        {"opener": opener, "path": "", "labels": {"peak": opener}, "threads": count, "photo": photo}
        for opener in ("matmul", "copy")
        for count in threads
    ]


def peaks_of(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """From results of :func:`peak_cells` (or of like cells) to rates per second."""
    return [
        {
            "what": result["runtime"],
            "kind": result["peak"],
            "threads": result["threads"],
            # The fastest, not the median: a limit is what can be reached.
            "per_second": AMOUNT[result["peak"]] / result["network"]["minimum"],
        }
        for result in results
        if result.get("network")
    ]


def fidelity(folder: Path, manifest: dict[str, Any], scratch: Path) -> list[dict[str, Any]]:
    """Every artefact's perturbation against the reference in the bundle, photo by photo.

    Runs with one thread. The statistics are the ones of the export gate: their source is packed.
    """
    import numpy as np

    from . import parity  # type: ignore[attr-defined] # written by the packer from rid_export
    from .measure import Worker, WorkerError

    rows = []
    for artefact in manifest["artefacts"]:
        (cell,) = plan(folder, {**manifest, "artefacts": [artefact]}, [1])
        row: dict[str, Any] = dict(artefact["labels"], error=None, images=[])
        rows.append(row)
        worker = Worker(cell)
        try:
            row["runtime"] = worker.open()["runtime"]
            for photo, truth in zip(manifest["photos"], artefact["reference"]):  # noqa: B905
                copy = scratch / Path(photo["file"]).name
                copy.write_bytes((folder / photo["file"]).read_bytes())
                delta = np.load(worker.ask(do="delta", photo=str(copy))["file"])
                if not np.isfinite(delta).all():
                    raise WorkerError("its perturbation is not finite")
                found = parity.compare(
                    np.load(folder / truth), delta, 1 / artefact["about"]["levels"]
                )
                image = {name: float(getattr(found, name)) for name in manifest["statistics"]}
                row["images"].append(dict(image, photo=photo["name"]))
        except WorkerError as error:
            row["error"] = str(error)
        finally:
            worker.close()
        row["gate"] = judge(row, artefact["bounds"])
    return rows


def judge(row: dict[str, Any], bounds: Sequence[dict[str, Any]]) -> str | None:
    """What breaks the export gate's bounds, or None."""
    if row["error"]:
        return None
    for bound in bounds:
        name = bound["name"][len("delta_") :]
        values = [image[name] for image in row["images"] if name in image]
        low = bound["sense"] == "min"
        worst = (min if low else max)(values) if values else None
        if worst is not None and (worst < bound["bound"] if low else worst > bound["bound"]):
            words = "at least" if low else "at most"
            return f"{bound['name']} is {worst:.6g}, {words} {bound['bound']:g} needed"
    return None


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

    _check_python()
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    _check_runtimes(manifest)
    if arguments.check:
        print("ready")
        return 0
    from .measure import measure

    about = describe(PACKAGES)
    about["name"] = arguments.name or about["board"] or about["cpu"]
    run: dict[str, Any] = {
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),  # noqa: UP017
        "machine": about,
        "cells": [],
        "fidelity": [],
        "peaks": [],
        "complete": False,
        "note": None,
    }
    target = Path(arguments.output)

    def keep(results: list[dict[str, Any]]) -> None:
        run["cells"] = results
        fresh = target.with_name(target.name + ".new")
        fresh.write_text(json.dumps({"schema": SCHEMA, "runs": [run]}, indent=1))
        fresh.replace(target)

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    keep([])
    with tempfile.TemporaryDirectory() as scratch:
        run["fidelity"] = fidelity(folder, manifest, Path(scratch))
    keep([])
    cells: list[dict[str, Any]] = []
    if not arguments.no_timing:
        threads = _threads(arguments.threads)
        planned = plan(folder, manifest, threads)
        found, run["note"] = measure(
            planned + peak_cells(planned[0]["photo"], threads),
            rounds=arguments.rounds,
            batch=arguments.batch,
            max_seconds=arguments.max_seconds,
            notify=say,
            on_round=lambda results: keep(results[: len(planned)]),
        )
        cells, run["peaks"] = found[: len(planned)], peaks_of(found[len(planned) :])
    run["complete"] = run["note"] is None
    keep(cells)
    return _conclude(run, target)


def _check_runtimes(manifest: dict[str, Any]) -> None:
    """At least one artefact must have its runtime; which pip line brings it is said."""
    formats = sorted({artefact["about"]["format"] for artefact in manifest["artefacts"]})
    missing = []
    for kind in formats:
        try:
            __import__(MODULES[kind])
        except ImportError:
            missing.append(PIP[kind])
    if len(missing) == len(formats):
        raise TroubleError(f"no runtime for these files is installed: {' or '.join(missing)}")


def _conclude(run: dict[str, Any], target: Path) -> int:
    for row in run["fidelity"]:
        words = row["error"] or row["gate"] or "agrees with the reference"
        print(f"{row['name']} {row['format']} {row['precision']}: {words}")
    for cell in run["cells"]:
        if cell.get("total"):
            total = cell["total"]
            why = doubt(cell)
            noise = f"  ({why})" if why else ""
            print(
                f"{cell['name']} {cell['format']} {cell['precision']}, "
                f"{threads_text(cell['threads'])}: "
                f"{total['median'] * 1000:.2f} ms, 90 % {total['p90'] * 1000:.2f} ms{noise}"
            )
    print(f"written to {target}" + (f" ({run['note']})" if run["note"] else ""))
    return 1 if any(row["error"] or row["gate"] for row in run["fidelity"]) else 0


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
