"""Reports: what they consist of, and pages, Markdown and terminal tables of it.

A :class:`Report` is made of blocks: paragraphs (plain strings), :class:`Facts`, :class:`Items`,
:class:`Table`, :class:`Figure`, and :class:`Section`, which holds further blocks. It is written as
one page of HTML that needs no other file, or as Markdown with its images beside it::

    table = Table("Speed", ["network", Column("median", "ms", ".2f")], [["rid-s", 8.914]])
    plot = plots.bars([plots.Bar("rid-s", 8.9)], "speed", "{:.1f} ms")
    report = Report("Benchmark", "One run.", [Section("A board", [Figure("Speed", plot), table])])
    report.write(Path("report.html"))
    report.write(Path("report.md"))
    click.echo(terminal.text(table))

Plots are in :mod:`~rid_core.report.plots` (matplotlib), photos in
:mod:`~rid_core.report.pictures`, terminal tables and progress in
:mod:`~rid_core.report.terminal` (rich). None of these packages is loaded before it is needed.
"""

from rid_core.report.content import (
    Block,
    Cell,
    Claim,
    Column,
    Facts,
    Figure,
    Image,
    Items,
    Section,
    Table,
    duration,
    size,
)
from rid_core.report.report import Report

__all__ = [
    "Block",
    "Cell",
    "Claim",
    "Column",
    "Facts",
    "Figure",
    "Image",
    "Items",
    "Report",
    "Section",
    "Table",
    "duration",
    "size",
]
