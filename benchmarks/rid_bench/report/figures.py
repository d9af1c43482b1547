"""From runs to what a report shows: one place for both Markdown and HTML."""

from __future__ import annotations

from collections.abc import Sequence

from rid_bench.claims import base_of
from rid_bench.portable.timing import doubt
from rid_bench.results import Row, Run, label, measured
from rid_export.parity import worst_of

BASES = ("rid-s", "rid-n")
"""What the others' times are stated in multiples of."""


def peak(run: Run, kind: str, threads: int) -> float | None:
    """The best measured limit per second: ``matmul`` in multiply-adds, ``copy`` in bytes."""
    found = [
        row["per_second"] for row in run.peaks if row["kind"] == kind and row["threads"] == threads
    ]
    return max(found, default=None)


def share_of_peak(run: Run, cell: Row) -> float | None:
    """Multiply-adds per second of the network as a share of the measured limit."""
    work, limit = work_of(run, cell), peak(run, "matmul", cell["threads"])
    if not work or not limit:
        return None
    return float(work / cell["network"]["median"] / limit)


def work_of(run: Run, cell: Row) -> int | None:
    """Multiply-adds of a cell's network: of its own file, or of another of the same weights."""
    same = [other for other in run.cells if other.get("weights") == cell.get("weights")]
    for other in (cell, *same):
        if other.get("multiply_adds"):
            return int(other["multiply_adds"])
    return None


def threads_of(run: Run) -> list[int]:
    """Numbers of threads in a run, most first: that is what an app would use."""
    return sorted({cell["threads"] for cell in measured(run.cells)}, reverse=True)


def comparison(run: Run, threads: int) -> list[tuple[str, float, dict[str, float], Row]]:
    """(label, seconds per photo, multiples by base, row), fastest first: defenders and peers."""
    bases = {name: base_of(run.cells, name, threads) for name in BASES}
    rows: list[tuple[str, float, dict[str, float], Row]] = []
    ours = {row["name"]: row for row in bases.values() if row is not None}
    for row in (*ours.values(), *measured(run.peers)):
        if row["threads"] != threads:
            continue
        seconds = float(row["total"]["median"])
        ratios = {
            name: seconds / float(base["total"]["median"])
            for name, base in bases.items()
            if base is not None
        }
        rows.append((label(row, threads=False), seconds, ratios, row))
    return sorted(rows, key=lambda row: row[1])


def doubts(run: Run) -> list[str]:
    """What a reader must know before believing the figures."""
    lines = []
    if not run.complete:
        lines.append(f"This run is not complete: {run.note or 'it was cut off'}.")
    shaky = [(label(cell), doubt(cell)) for cell in measured(run.cells) if doubt(cell)]
    if shaky:
        name, why = shaky[0]
        more = f" (and {len(shaky) - 1} more)" if len(shaky) > 1 else ""
        lines.append(f"{name}{more}: {why}.")
    load = run.machine.get("load_before")
    cores = run.machine.get("cores") or 1
    if load is not None and load > 0.5 * cores and measured(run.cells):
        lines.append(
            f"{load:.1f} of {cores} cores were busy before the run began: times are too high."
        )
    return lines


def failures(run: Run) -> list[str]:
    """What could not be measured, and why."""
    rows = [*run.cells, *run.peers, *run.layers, *run.fidelity]
    lines = [f"{label(row)}: {row['error']}" for row in rows if row.get("error")]
    lines += [
        f"{row['megapixels']:g} megapixels: {row['error']}"
        for row in run.photos
        if row.get("error")
    ]
    return list(dict.fromkeys(lines))


def fidelity_of(runs: Sequence[Run], cell: Row) -> Row | None:
    """The worst-photo figures of the file that a cell ran, from any of the runs."""
    keys = ("name", "format", "precision", "weights")
    for run in runs:
        for row in run.fidelity:
            if not row.get("error") and all(row.get(key) == cell.get(key) for key in keys):
                return worst(row)
    return None


def worst(row: Row) -> Row:
    """Figures of a fidelity row, each the worst over its photos (a board sends photos alone)."""
    if row.get("worst"):
        return dict(row["worst"])
    names = [key for key in row["images"][0] if key != "photo"]
    return dict(worst_of([{key: image[key] for key in names} for image in row["images"]]))
