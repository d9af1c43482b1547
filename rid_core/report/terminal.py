"""Tables and progress in a terminal, by rich; pipes and files get plain text."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

from rid_core.report.content import Table

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_UNLIMITED = 100_000


def text(table: Table, *, terminal: bool | None = None) -> str:
    """A table with its headings, units and alignment, to be printed as it is.

    Args:
        table: what to show; columns without any name have no headings.
        terminal: whether to fit it to a terminal's width, with colours; what stdout is if None.
            Elsewhere each row is one line, as programs want it.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    fancy = sys.stdout.isatty() if terminal is None else terminal
    heads = table.heads
    named = any(head.name for head in heads)
    drawn = RichTable(
        box=box.SIMPLE_HEAD if fancy and named else None,
        show_header=named,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        title=Text(table.title) if table.title else None,
        title_justify="left",
        header_style="bold",
    )
    for number, head in enumerate(heads):
        side = "left" if head.words or number == 0 else "right"
        drawn.add_column(Text(head.heading), justify=side, overflow="fold")  # type: ignore[arg-type]
    for row in table.cells:
        drawn.add_row(*map(Text, row))
    buffer = io.StringIO()
    console = Console(
        file=buffer,
        force_terminal=fancy,
        width=None if fancy else _UNLIMITED,
        color_system="auto" if fancy else None,
    )
    console.print(drawn)
    if table.note:
        console.print(Text(table.note))
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines())


class ProgressBar:
    """A running progress bar; without a terminal only its lines are printed."""

    def __init__(self, progress: Progress, task: TaskID, stream: TextIO, shown: bool) -> None:
        self._progress = progress
        self._task = task
        self._stream = stream
        self._shown = shown

    def advance(self, steps: float = 1) -> None:
        """Some steps are done."""
        self._progress.advance(self._task, steps)

    def update(
        self, *, done: float | None = None, total: float | None = None, label: str | None = None
    ) -> None:
        """How much is done, of how much, and what is being done; None leaves it as it is."""
        self._progress.update(self._task, completed=done, total=total, description=label)

    def line(self, text: str) -> None:
        """Print a line above the bar."""
        if self._shown:
            self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=self._stream, flush=True)


@contextlib.contextmanager
def progress(
    label: str, total: float | None = None, *, quiet: bool = False
) -> Iterator[ProgressBar]:
    """Show on stderr how far some work is, with the time that is left.

    The bar keeps its own way to the terminal: it is seen while
    :func:`rid_core.output.suppress_output` hides what libraries print.

    Args:
        label: what is being done.
        total: number of steps; None if it is not known.
        quiet: no bar; its lines are printed still.

    Yields:
        The bar, to be told of every step; threads may share it.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    shown = sys.stderr.isatty() and not quiet
    with contextlib.ExitStack() as stack:
        stream: TextIO = sys.stderr
        if shown:
            copy = os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding=sys.stderr.encoding)
            stream = stack.enter_context(copy)
        bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(file=stream),
            disable=not shown,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        stack.enter_context(bar)
        yield ProgressBar(bar, bar.add_task(label, total=total), stream, shown)
