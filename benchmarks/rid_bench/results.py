"""The document that holds results: versioned JSON, one or more runs, one machine each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rid_bench.portable.board import SCHEMA
from rid_bench.portable.timing import threads_text
from rid_core.errors import RidError
from rid_core.files import write_text

Row = dict[str, Any]


@dataclass
class Run:
    """What one machine measured. Durations are in seconds, sizes in bytes.

    Attributes:
        created: date and time, ISO 8601, UTC.
        machine: see :func:`rid_bench.portable.machine.describe`, and ``name``.
        cells: a network in a runtime with some threads, or the reason why it was not measured.
        photos: whole photos, file to file.
        peers: what others do for the same purpose; some scaled from a few steps, and saying so.
        peaks: measured limits of the machine.
        layers: profiles, one per artefact, runtime and number of threads.
        fidelity: artefacts against a reference.
        complete: whether everything that was planned was measured.
        note: why not.
    """

    created: str
    machine: Row
    cells: list[Row] = field(default_factory=list)
    photos: list[Row] = field(default_factory=list)
    peers: list[Row] = field(default_factory=list)
    peaks: list[Row] = field(default_factory=list)
    layers: list[Row] = field(default_factory=list)
    fidelity: list[Row] = field(default_factory=list)
    complete: bool = True
    note: str | None = None

    @property
    def name(self) -> str:
        """Of the machine, for people."""
        return str(self.machine.get("name") or self.machine.get("cpu") or "unknown machine")


def save(path: str | Path, runs: Iterable[Run]) -> None:
    """Write runs as a whole or not at all.

    Raises:
        RidError: the file cannot be written.
    """
    document = {"schema": SCHEMA, "runs": [vars(run) for run in runs]}
    write_text(path, json.dumps(document, indent=1, allow_nan=False) + "\n")


def load(path: str | Path) -> list[Run]:
    """Read what :func:`save`, or the runner of a bundle, wrote.

    Raises:
        RidError: missing, damaged or foreign file, or another schema.
    """
    path = Path(path)
    try:
        raw = json.loads(path.read_text())
    except OSError as error:
        raise RidError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise RidError(f"{path}: not JSON; rid-bench run writes results") from None
    if not isinstance(raw, dict) or "runs" not in raw or "schema" not in raw:
        raise RidError(f"{path}: JSON, but no benchmark results")
    if raw["schema"] != SCHEMA:
        raise RidError(
            f"{path}: results of schema {raw['schema']!r:.20}, this version reads {SCHEMA}; "
            "measure again"
        )
    known = Run.__dataclass_fields__
    try:
        runs = [
            Run(**{key: value for key, value in run.items() if key in known}) for run in raw["runs"]
        ]
        for run in runs:
            _ = [cell["threads"] for cell in run.cells], run.machine["cpu"]
    except (TypeError, KeyError, AttributeError) as error:
        raise RidError(f"{path}: benchmark results, but damaged ({error})") from None
    return runs


def merge(paths: Sequence[str | Path]) -> list[Run]:
    """All runs of several files, in order; the same run twice counts once.

    Raises:
        RidError: a file cannot be read.
    """
    runs: list[Run] = []
    for path in paths:
        runs += [run for run in load(path) if run not in runs]
    return runs


def joined(runs: Sequence[Run]) -> list[Run]:
    """For a report: what measured fidelity alone goes to the run of the same machine's latency."""
    alone = [run for run in runs if run.fidelity and not run.cells]
    hosts = [replace(run, fidelity=list(run.fidelity)) for run in runs if run not in alone]
    rest = []
    for run in alone:
        keys = [(host.name, host.machine["cpu"]) for host in hosts]
        key = (run.name, run.machine["cpu"])
        if key in keys:
            hosts[keys.index(key)].fidelity += run.fidelity
        else:
            rest.append(run)
    return hosts + rest


def label(row: Row, *, threads: bool = True) -> str:
    """For people: ``rid-s TFLite int8, 2 threads``."""
    words = [str(row[key]) for key in ("name", "format", "precision") if row.get(key)]
    text = " ".join(words)
    if row.get("kernels") not in (None, "xnnpack"):
        text += f" ({row['kernels']} kernels)"
    count = row.get("threads")
    if threads and count:
        text += f", {threads_text(count)}"
    return text


def measured(cells: Iterable[Row]) -> list[Row]:
    """Those that have figures."""
    return [cell for cell in cells if cell.get("total")]
