"""Measurements in, a report out; and the report as JSON."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rid_core.errors import RidError
from rid_eval.report.content import Report, Section, build, kinds, limits
from rid_eval.results import read_result, result

TITLE = "RID: what it protects, and what not"


def read_report(paths: Sequence[Path], title: str = TITLE) -> Report:
    """Read measurements; sections stand in the order of :func:`~.content.kinds`.

    Raises:
        RidError: none is given, one cannot be read or shown, or two files have one name.
    """
    if not paths:
        raise RidError("a report needs measurements; give the JSON files of rid-eval's commands")
    if len({path.name for path in paths}) < len(paths):
        raise RidError("two measurements have the same file name, by which a report cites them")
    order, found, sources = kinds(), list[tuple[int, Section]](), []
    for path in paths:
        raw = read_result(path)
        section = build(raw, path.name)
        found.append((order.index(str(raw["what"])), section))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        sources.append({"file": path.name, "what": str(raw["what"]), "sha256": digest})
    there = {source["what"] for source in sources}
    return Report(
        title=title,
        sections=[section for _, section in sorted(found, key=lambda pair: pair[0])],
        absent=[kind for kind in order if kind not in there],
        sources=sources,
    )


def as_json(report: Report) -> dict[str, Any]:
    """The report as a measurement's JSON: claims with their figures, facts, tables."""
    sections = [
        {
            "title": section.title,
            "source": section.source,
            "facts": dict(section.facts),
            "warnings": list(section.warnings),
            "tables": [dataclasses.asdict(table) for table in section.tables],
        }
        for section in report.sections
    ]
    return result(
        "report",
        title=report.title,
        sources=[dict(source) for source in report.sources],
        claims=[dataclasses.asdict(claim) for claim in report.claims],
        limits=limits(report),
        sections=sections,
    )
