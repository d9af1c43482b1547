"""What an export tells: a table for people, JSON for programs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rid_core.artifact import Parity
from rid_export.layers import QuantizationReport


@dataclass(frozen=True)
class Result:
    """One artefact, or the reason why there is none.

    Attributes:
        target: name of the target.
        precision: of the artefact.
        file: where it is, or would have been.
        seconds: conversion, gate and all.
        size: bytes; 0 if it failed.
        parity: one entry per runtime; the first is the one apps use.
        error: why it was refused; None if it was not.
        portraits: what it was measured on, such as ``8 views of 2 portraits``.
        notes: of its quantization: figures per layer, and layers kept in float.
        remarks: for people, one line each.
    """

    target: str
    precision: str
    file: Path
    seconds: float
    size: int = 0
    parity: tuple[Parity, ...] = ()
    error: str | None = None
    portraits: str = ""
    notes: QuantizationReport | None = None
    remarks: tuple[str, ...] = ()

    def figure(self, name: str) -> float | None:
        """A measured figure: the worst of all runtimes."""
        found = [check for entry in self.parity for check in entry.checks if check.name == name]
        if not found:
            return None
        values = [check.value for check in found]
        return min(values) if found[0].sense == "min" else max(values)


_HEADINGS = ("file", "MB", "s", "SQNR of delta", "largest change", "checked by")


def table(results: Sequence[Result]) -> str:
    """Aligned columns, one line per artefact."""
    rows = [_HEADINGS, *(_row(result) for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if column in (0, 5) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _row(result: Result) -> tuple[str, ...]:
    seconds = f"{result.seconds:.1f}"
    if result.error is not None:
        return (str(result.file), "-", seconds, "-", "-", "refused")
    sqnr = result.figure("delta_sqnr_db")
    change = result.figure("change_levels")
    return (
        str(result.file),
        f"{result.size / 1e6:.2f}",
        seconds,
        "-" if sqnr is None else f"{sqnr:.1f} dB",
        "-" if change is None else f"{change:.2f} levels",
        "; ".join(entry.runtime for entry in result.parity),
    )


def as_json(results: Sequence[Result], left_out: Sequence[str] = ()) -> str:
    """A JSON document with every figure and its threshold, and what was left out and why."""
    rows = [dataclasses.asdict(result) | {"file": str(result.file)} for result in results]
    document = {"schema": 1, "artefacts": rows, "left_out": list(left_out)}
    return json.dumps(document, indent=2, allow_nan=False)
