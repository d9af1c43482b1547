"""What an export tells: a table for people, JSON for programs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rid_core.artifact import Check, Parity
from rid_core.report import Column, Table
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

    def to_row(self) -> dict[str, Any]:
        """Every figure with its threshold, as JSON holds it."""
        return dataclasses.asdict(self) | {"file": str(self.file)}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Result:
        """Of what :meth:`to_row` gives; other keys are left alone.

        Raises:
            KeyError, TypeError, ValueError: it is no such row.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        parity = tuple(
            Parity(**{**entry, "checks": tuple(Check(**check) for check in entry["checks"])})
            for entry in row["parity"]
        )
        return cls(
            **{name: row[name] for name in names}
            | {
                "file": Path(row["file"]),
                "parity": parity,
                "notes": None
                if row["notes"] is None
                else QuantizationReport.from_dict(row["notes"]),
                "remarks": tuple(row["remarks"]),
            }
        )


def table(results: Sequence[Result]) -> Table:
    """One row per artefact, for a terminal."""
    columns = (
        "file",
        Column("size", "MB", ".2f"),
        Column("time", "s", ".1f"),
        Column("SQNR of delta", "dB", ".1f"),
        Column("largest change", "levels", ".2f"),
        Column("checked by", words=True),
    )
    rows = [
        [
            str(result.file),
            result.size / 1e6 if result.error is None else None,
            result.seconds,
            result.figure("delta_sqnr_db"),
            result.figure("change_levels"),
            "refused" if result.error else "; ".join(entry.runtime for entry in result.parity),
        ]
        for result in results
    ]
    return Table("", columns, rows)


def as_json(results: Sequence[Result], left_out: Sequence[str] = ()) -> str:
    """A JSON document with every figure and its threshold, and what was left out and why."""
    rows = [result.to_row() for result in results]
    document = {"schema": 1, "artefacts": rows, "left_out": list(left_out)}
    return json.dumps(document, indent=2, allow_nan=False)
