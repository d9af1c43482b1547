"""A report as Markdown, with images in files beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rid_core.report.content import (
    Block,
    Facts,
    Figure,
    Items,
    Table,
    image_files,
)


def render(title: str, summary: str, blocks: Sequence[Block], folder: str) -> str:
    """A report; images are named as :func:`~rid_core.report.content.image_files` says."""
    lines = [f"# {escape(title)}", ""]
    if summary:
        lines += [escape(summary), ""]
    return "\n".join([*lines, lines_of(blocks, folder)]).rstrip() + "\n"


def lines_of(blocks: Sequence[Block], folder: str = "figures", level: int = 2) -> str:
    """Blocks alone, as for a part of a README.

    Args:
        blocks: what to write.
        folder: of the images.
        level: of the sections' headings; those of tables and figures are one lower.
    """
    paths = (path for _, path in image_files(blocks, folder))
    return "\n".join(line for block in blocks for line in _lines(block, paths, level))


def escape(text: str) -> str:
    """Text in which no ``<`` begins HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;") if "<" in text else text


def _lines(block: Block, paths: Iterator[str], level: int) -> Iterator[str]:
    if isinstance(block, str):
        yield from (escape(block), "")
    elif isinstance(block, Facts):
        yield from (f"- {escape(name)}: {escape(text)}" for name, text in block.rows)
        yield ""
    elif isinstance(block, Items):
        if block.lines:
            yield from ([f"**{escape(block.title)}**", ""] if block.title else [])
            for claim in block.claims:
                yield f"- {escape(claim.text)}" + (f" `{claim.source}`" if claim.source else "")
            yield ""
    elif isinstance(block, Figure):
        title, path = escape(block.title), next(paths)
        yield from (f"{'#' * level} {title}", "", f"![{title}]({path})", "")
        yield from ([escape(block.note), ""] if block.note else [])
        yield from (f"{number}. {escape(line)}" for number, line in enumerate(block.key, 1))
        yield from ([""] if block.key else [])
    elif isinstance(block, Table):
        if block.rows:
            yield from ([f"{'#' * level} {escape(block.title)}", ""] if block.title else [])
            yield from _table(block)
            yield from (["", escape(block.note), ""] if block.note else [""])
    else:
        yield from (f"{'#' * level} {escape(block.title)}", "")
        yield from (text for line in block.warnings for text in (f"> **{escape(line)}**", ""))
        for inner in block.blocks:
            yield from _lines(inner, paths, level + 1)


def _table(table: Table) -> Iterator[str]:
    heads = table.heads
    yield _row([head.heading for head in heads])
    yield _row([":--", *(":--" if head.words else "--:" for head in heads[1:])])
    yield from map(_row, table.cells)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(escape(cell).replace('|', chr(92) + '|') for cell in cells)} |"
