"""Options that belong together, as one argument of a command."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rid_core.training.fit import FitOptions

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]


def grouped(name: str, kind: type, *options: Decorator) -> Decorator:
    """Give a command ``options`` as one argument.

    Args:
        name: of the argument.
        kind: dataclass whose fields are called as the options' parameters.
        options: of click, in the order of the help.
    """
    names = [field.name for field in fields(kind)]

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def wrapped(*args: Any, **values: Any) -> Any:
            values[name] = kind(**{one: values.pop(one) for one in names})
            return command(*args, **values)

        for option in reversed(options):
            wrapped = option(wrapped)
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
    """How a training is started.

    Attributes:
        assignments: ``KEY=VALUE`` over the configuration.
        restart: whether a run that is there is thrown away.
        minutes: after how many it is stopped and saved.
        threads: of the CPU.
        quiet: no progress bar.
    """

    assignments: tuple[str, ...]
    restart: bool
    minutes: float | None
    threads: int | None
    quiet: bool

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


run_options = grouped(
    "run", RunOptions,
    click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE",
                 help="Override a key."),
    click.option("--restart", is_flag=True,
                 help="Begin anew instead of continuing the run in OUTPUT."),
    click.option("--minutes", type=click.FloatRange(0, min_open=True),
                 help="Stop after so many; what is there is written."),
    threads_option,
    quiet_option,
)  # fmt: skip
