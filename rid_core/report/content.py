"""What a report consists of, whatever it is written as."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Cell = str | float | None
"""Of a table: words, a number that its column formats, or None, which is shown as a dash."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its heading.
        unit: of its numbers, beside the heading; none if empty.
        form: format of its numbers, such as ``.1f`` or ``.2%``.
        words: whether it holds words, which stand at the left and may take several lines.
    """

    name: str
    unit: str = ""
    form: str = "g"
    words: bool = False

    @property
    def heading(self) -> str:
        """Name and unit."""
        return f"{self.name}, {self.unit}" if self.unit else self.name

    def show(self, cell: Cell) -> str:
        """A cell as text."""
        if cell is None:
            return "–"
        return cell if isinstance(cell, str) else format(cell, self.form)


@dataclass(frozen=True)
class Table:
    """A table; its first column names the rows.

    Attributes:
        title: above it; none if empty.
        columns: a plain string is a column without a unit.
        rows: one cell per column.
        note: below it.
        folded: whether a page shows it only when its title is clicked.
    """

    title: str
    columns: Sequence[Column | str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    folded: bool = False

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.title}: {len(self.columns)} columns, but a row is {row}")

    @property
    def heads(self) -> list[Column]:
        """The columns, plain strings included."""
        return [column if isinstance(column, Column) else Column(column) for column in self.columns]

    @property
    def cells(self) -> list[list[str]]:
        """The rows as text."""
        heads = self.heads
        return [[h.show(cell) for h, cell in zip(heads, row, strict=True)] for row in self.rows]


@dataclass(frozen=True)
class Image:
    """A plot or a photo.

    Attributes:
        data: SVG as a page holds it inside, or a JPEG file.
        kind: which of both.
        width: in pixels, or in units of the SVG.
        height: likewise.
    """

    data: bytes
    kind: Literal["svg", "jpeg"]
    width: int
    height: int


@dataclass(frozen=True)
class Figure:
    """A plot or a photo with words.

    Attributes:
        title: above a plot, below a photo.
        image: what it shows.
        note: how to read it.
        key: what the numbers 1, 2, … in a plot stand for.
        wide: whether it takes the whole width of a page, as a sheet of pictures does.
    """

    title: str
    image: Image
    note: str = ""
    key: Sequence[str] = ()
    wide: bool = False


@dataclass(frozen=True)
class Claim:
    """A sentence, and the file that its figures stand in."""

    text: str
    source: str = ""


@dataclass(frozen=True)
class Items:
    """A list of sentences under a title."""

    title: str
    lines: Sequence[str | Claim]

    @property
    def claims(self) -> list[Claim]:
        """The lines, plain strings included."""
        return [line if isinstance(line, Claim) else Claim(line) for line in self.lines]


@dataclass(frozen=True)
class Facts:
    """What something was made with, as (name, text)."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Section:
    """A part of a report with a heading.

    Attributes:
        title: the heading.
        blocks: what it holds, in order; figures that follow each other stand side by side.
        warnings: why it may say less than it seems; they stand first.
        source: name of the file that it shows; its images are named after it.
    """

    title: str
    blocks: Sequence[Block] = ()
    warnings: Sequence[str] = ()
    source: str = ""


Block = str | Facts | Items | Table | Figure | Section
"""A string is a paragraph. What is empty (no rows, no lines) is left out."""


def image_files(blocks: Sequence[Block], folder: str) -> Iterator[tuple[Figure, str]]:
    """Figures in order, each with the path of its file, such as ``figures/shift-1.svg``."""
    counts: Counter[str] = Counter()

    def walk(blocks: Sequence[Block], stem: str) -> Iterator[tuple[Figure, str]]:
        for block in blocks:
            if isinstance(block, Section):
                yield from walk(block.blocks, Path(block.source).stem or block.title)
            elif isinstance(block, Figure):
                safe = re.sub(r"[^\w.]+", "-", stem).strip("-").lower()
                counts[safe] += 1
                suffix = {"svg": "svg", "jpeg": "jpg"}[block.image.kind]
                yield block, f"{folder}/{safe}-{counts[safe]}.{suffix}"

    return walk(blocks, "report")


def duration(seconds: float) -> str:
    """For people: ``3.2 ms``, ``1.4 s``, ``5.1 min``."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min"


def size(value: float) -> str:
    """For people: ``27 MB``, ``1.1 GB``."""
    return f"{value / 1e9:.3g} GB" if value >= 1e9 else f"{value / 1e6:.3g} MB"
