"""A report as a whole, written as a page or as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rid_core.errors import RidError
from rid_core.files import write_bytes, write_text
from rid_core.report import markdown, page
from rid_core.report.content import Block, image_files
from rid_core.report.svg import standalone


@dataclass(frozen=True)
class Report:
    """All of it.

    Attributes:
        title: of the page.
        summary: one sentence under it.
        blocks: what it holds, in order.
    """

    title: str
    summary: str = ""
    blocks: Sequence[Block] = field(default_factory=tuple)

    def to_html(self) -> str:
        """One page that needs nothing else: no script, no other file."""
        return page.render(self.title, self.summary, self.blocks)

    def to_markdown(self, folder: str = "figures") -> str:
        """Markdown whose images are in the files of :meth:`images`."""
        return markdown.render(self.title, self.summary, self.blocks, folder)

    def images(self, folder: str = "figures") -> dict[str, bytes]:
        """Content of the image files that the Markdown shows, by their path beside it."""
        return {path: standalone(figure.image) for figure, path in image_files(self.blocks, folder)}

    def write(self, path: Path) -> None:
        """Write a page or Markdown, which one its suffix says; images go into ``figures`` beside.

        Raises:
            RidError: another suffix, or the file cannot be written.
        """
        if path.suffix == ".html":
            write_text(path, self.to_html())
        elif path.suffix == ".md":
            for name, content in self.images().items():
                write_bytes(path.parent / name, content)
            write_text(path, self.to_markdown())
        else:
            raise RidError(f"{path}: a report is written as .html or .md")
