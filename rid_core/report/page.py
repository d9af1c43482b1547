"""A report as one page of HTML."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from itertools import groupby

from rid_core.report.content import Block, Facts, Figure, Image, Items, Section, Table
from rid_core.report.svg import variables

_NAME = 28
"""Letters of the longest name."""


def render(title: str, summary: str, blocks: Sequence[Block]) -> str:
    """The page of a report; needs Jinja2.

    Raises:
        MissingExtraError: Jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ModuleNotFoundError:
        from rid_core.errors import MissingExtraError

        raise MissingExtraError("jinja2", "report") from None
    environment = Environment(
        loader=PackageLoader("rid_core.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.globals.update(
        grouped=_grouped, layout=_layout, classes=_classes, source=_source, variables=variables
    )
    return environment.get_template("page.html").render(title=title, summary=summary, blocks=blocks)


def _grouped(blocks: Sequence[Block]) -> Iterator[tuple[str, list[Block]]]:
    """Blocks that are not empty by kind; figures that follow each other come as one group."""
    shown = [block for block in blocks if _filled(block)]
    for kind, group in groupby(shown, key=_kind):
        found = list(group)
        yield from [(kind, found)] if kind == "figures" else ((kind, [b]) for b in found)


def _filled(block: Block) -> bool:
    if isinstance(block, (Table, Facts)):
        return bool(block.rows)
    return bool(block.lines) if isinstance(block, Items) else bool(block)


def _kind(block: Block) -> str:
    if isinstance(block, Figure):
        return "wide" if block.wide else "figures"
    kinds = {str: "text", Facts: "facts", Items: "items", Table: "table", Section: "section"}
    return kinds[type(block)]


def _layout(figures: Sequence[Figure]) -> str:
    """CSS class of a group of figures."""
    kinds = {figure.image.kind for figure in figures}
    if kinds == {"svg"}:
        return "plots single" if len(figures) == 1 else "plots"
    return "mixed" if "svg" in kinds else "photos"


def _classes(table: Table) -> list[str]:
    """CSS class of each column: sentences take several lines, names do not."""
    cells = table.cells
    return [
        ("long" if any(len(row[number]) > _NAME for row in cells) else "words")
        if head.words
        else ""
        for number, head in enumerate(table.heads)
    ]


def _source(image: Image) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(image.data).decode()}"
