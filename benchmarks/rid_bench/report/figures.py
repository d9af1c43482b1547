"""From runs to what a report shows: shares, ratios, and what a reader must know first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rid_bench.claims import base_of
from rid_bench.portable.records import (
    Cell,
    Fidelity,
    Figures,
    Measured,
    Profile,
    Run,
    label,
    measured,
)
from rid_export.parity import worst_of

BASES = ("rid-s", "rid-n")
"""What the others' times are stated in multiples of."""


def peak(run: Run, kind: str, threads: int) -> float | None:
    """The best measured limit per second: ``matmul`` in multiply-adds, ``copy`` in bytes."""
    found = [row.per_second for row in run.peaks if row.kind == kind and row.threads == threads]
    return max(found, default=None)


def share_of_peak(run: Run, cell: Measured) -> float | None:
    """Multiply-adds per second of the network as a share of the measured limit."""
    work, limit = work_of(run, cell), peak(run, "matmul", cell.threads)
    return work / cell.alone.median / limit if work and limit else None


def work_of(run: Run, cell: Cell) -> int | None:
    """Multiply-adds of a cell's network: of its own file, or of another of the same weights."""
    same = [other for other in run.cells if other.weights == cell.weights]
    return next((other.multiply_adds for other in (cell, *same) if other.multiply_adds), None)


def threads_of(run: Run) -> list[int]:
    """Numbers of threads in a run, most first: that is what an app would use."""
    return sorted({cell.threads for cell in measured(run.cells)}, reverse=True)


@dataclass(frozen=True)
class Compared:
    """A defender or a peer beside the others.

    Attributes:
        cell: what was measured.
        ratios: its time per photo in multiples of a base's, by the base's name.
    """

    cell: Measured
    ratios: dict[str, float]

    @property
    def label(self) -> str:
        """For people."""
        return label(self.cell, threads=False)

    @property
    def seconds(self) -> float:
        """Per photo."""
        return self.cell.total.median


def comparison(run: Run, threads: int) -> list[Compared]:
    """Defenders and peers, fastest first."""
    bases = {name: base_of(run.cells, name, threads) for name in BASES}
    known = {name: base for name, base in bases.items() if base is not None}
    ours = {base.name: base for base in known.values()}
    rows = [
        Compared(row, {n: row.total.median / b.total.median for n, b in known.items()})
        for row in (*ours.values(), *measured(run.peers))
        if row.threads == threads
    ]
    return sorted(rows, key=lambda row: row.seconds)


def doubts(run: Run) -> list[str]:
    """What a reader must know before believing the figures."""
    lines = []
    if not run.complete:
        lines.append(f"This run is not complete: {run.note or 'it was cut off'}.")
    shaky = [cell for cell in measured(run.cells) if cell.doubt]
    if shaky:
        more = f" (and {len(shaky) - 1} more)" if len(shaky) > 1 else ""
        lines.append(f"{label(shaky[0])}{more}: {shaky[0].doubt}.")
    load, cores = run.machine.load_before, run.machine.cores or 1
    if load is not None and load > 0.5 * cores and measured(run.cells):
        lines.append(
            f"{load:.1f} of {cores} cores were busy before the run began: times are too high."
        )
    return lines


def failures(run: Run) -> list[str]:
    """What could not be measured, and why."""
    rows: list[Cell | Profile | Fidelity] = [*run.cells, *run.peers, *run.layers, *run.fidelity]
    lines = [f"{label(row)}: {row.error}" for row in rows if row.error]
    lines += [f"{row.megapixels:g} megapixels: {row.error}" for row in run.photos if row.error]
    return list(dict.fromkeys(lines))


def fidelity_of(runs: Sequence[Run], cell: Cell) -> Figures | None:
    """The worst-photo figures of the file that a cell ran, from any of the runs."""
    wanted = (cell.name, cell.format, cell.precision, cell.weights)
    for run in runs:
        for row in run.fidelity:
            if not row.error and (row.name, row.format, row.precision, row.weights) == wanted:
                return worst(row)
    return None


def worst(row: Fidelity) -> Figures:
    """Figures of an artefact, each the worst over its photos (a board sends photos alone)."""
    return row.worst or Figures.of(worst_of([image.numbers() for image in row.images]))
