"""What the commands of ``rid-bench`` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from rid_core.errors import RidError

if TYPE_CHECKING:
    from rid_bench.portable.records import Run

PATH = click.Path(path_type=Path)
CANNOT_TELL = 3
"""Exit code of a gate that neither passed nor failed: the machine was too noisy."""
_Command = TypeVar("_Command", bound=Callable[..., object])


def numbers(
    kind: Callable[[str], float],
) -> Callable[[click.Context, click.Parameter, str], list[float]]:
    """What parses a list such as ``1,2,4``, all above 0; empty for an empty text."""

    def parse(_: click.Context, option: click.Parameter, text: str) -> list[float]:
        try:
            found = [kind(word) for word in text.split(",") if word.strip()]
        except ValueError:
            found = [0]
        if any(not number > 0 for number in found):
            raise RidError(f"{option.opts[0]} takes numbers such as 1,2,4, not {text!r}")
        return found

    return parse


def output_option(default: str) -> Callable[[_Command], _Command]:
    """``-o FILE``."""
    return click.option(
        "-o", "--output", type=PATH, default=Path(default), show_default=True, metavar="FILE"
    )


references_option = click.option(
    "--reference",
    "references",
    type=PATH,
    multiple=True,
    required=True,
    metavar="FILE",
    help="Made by rid-bench reference; one per checkpoint.",
)


def show(run: Run) -> None:
    """Print a run: its tables, then what a reader must know."""
    from rid_bench.report import figures, section
    from rid_core.report import Table, terminal

    click.echo(run.name)
    for block in section(run, [run], plots=False).blocks:
        if isinstance(block, Table) and block.rows:
            click.echo(f"\n{terminal.text(block)}")
    for line in (*figures.doubts(run), *figures.failures(run)):
        click.echo(f"note: {line}", err=True)
