"""Options that belong together, as one argument of a command."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rid_core.training.fit import FitOptions

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]


def option(*names: str, **settings: Any) -> Any:
    """A field of a dataclass that is also an option of a command; its help says what it is.

    Args:
        names: on the command line.
        settings: of ``click.option``; the field's default is the option's.
    """
    metadata = {"names": names, "settings": settings}
    if settings.get("required"):
        return field(metadata=metadata)
    empty = () if settings.get("multiple") else False if settings.get("is_flag") else None
    return field(default=settings.get("default", empty), metadata=metadata)


def grouped(name: str, kind: type, *options: Decorator) -> Decorator:
    """Give a command several options as one argument.

    Args:
        name: of the argument.
        kind: dataclass whose fields are the options' parameters.
        options: of click, in the order of the help; by default those of the fields.
    """
    found = fields(kind)
    chosen = options or [
        click.option(*one.metadata["names"], one.name, **one.metadata["settings"]) for one in found
    ]

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def collected(*args: Any, **values: Any) -> Any:
            values[name] = kind(**{one.name: values.pop(one.name) for one in found})
            return command(*args, **values)

        wrapped: Command = collected
        for each in reversed(chosen):
            wrapped = each(wrapped)
        return wrapped

    return decorate


def path_option(*names: str, **settings: Any) -> Decorator:
    """An option that takes a path."""
    return click.option(*names, type=click.Path(path_type=Path), **settings)


def count_option(*names: str, least: int = 1, **settings: Any) -> Decorator:
    """An option that takes a whole number of at least ``least``."""
    return click.option(*names, type=click.IntRange(least), **settings)


threads_option = count_option("--threads", help="CPU threads (default: torch's choice).")
quiet_option = click.option("--quiet", is_flag=True, help="No progress bar.")


@dataclass(frozen=True)
class RunOptions:
    """How a training is started."""

    assignments: tuple[str, ...] = option(
        "--set", multiple=True, metavar="KEY=VALUE", help="Override a key."
    )
    restart: bool = option(
        "--restart", is_flag=True, help="Begin anew instead of continuing the run in OUTPUT."
    )
    minutes: float | None = option(
        "--minutes", type=click.FloatRange(0, min_open=True),
        help="Stop after so many; what is there is written.",
    )  # fmt: skip
    threads: int | None = option(
        "--threads", type=click.IntRange(1), help="CPU threads (default: torch's choice)."
    )
    quiet: bool = option("--quiet", is_flag=True, help="No progress bar.")

    def prepare(self) -> None:
        """Set up the process: warnings as plain lines, and the threads."""
        import logging

        import torch

        logging.basicConfig(level=logging.WARNING, format="%(message)s")
        if self.threads is not None:
            torch.set_num_threads(self.threads)

    def fit(self) -> FitOptions:
        """As the functions that train take them."""
        return {"restart": self.restart, "quiet": self.quiet, "minutes": self.minutes}


run_options = grouped("run", RunOptions)
