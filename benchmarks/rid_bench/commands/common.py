"""What the commands of ``rid-bench`` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from rid_core.errors import RidError

PATH = click.Path(path_type=Path)
CANNOT_TELL = 3
"""Exit code of a gate that neither passed nor failed: the machine was too noisy."""
_Function = TypeVar("_Function", bound=Callable[..., Any])


def say(line: str) -> None:
    """A line about progress, to standard error."""
    click.echo(f"  {line}", err=True)


def output_option(default: str) -> Callable[[_Function], _Function]:
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


def numbers(text: str, option: str, kind: Callable[[str], Any]) -> list[Any]:
    """A list such as ``1,2,4``; empty for an empty text.

    Raises:
        RidError: anything else, or a number that is not above 0.
    """
    try:
        found = [kind(word) for word in text.split(",") if word.strip()]
    except ValueError:
        found = [0]
    if any(not number > 0 for number in found):
        raise RidError(f"{option} takes numbers such as 1,2,4, not {text!r}")
    return found
