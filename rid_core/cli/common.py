"""What all command-line tools share: one clear line for an error the user can fix."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import click

from rid_core._version import __version__
from rid_core.errors import MissingExtraError, RidError, printable

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class OptionalCommandGroup(click.Group):
    """A group that does its main job when no command is named; its usage line says so."""

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write ``PROGRAM [OPTIONS] | COMMAND ...``."""
        formatter.write_usage(ctx.command_path, "[OPTIONS] | COMMAND ...")


class Console:
    """Prints results; a full disk behind stdout or a reader that has left does not stop the work.

    What is printed after a first failure is dropped; :meth:`check` tells of it at the end.
    """

    def __init__(self) -> None:
        self._errors: dict[bool, OSError] = {}

    def line(self, text: str, *, err: bool = False) -> None:
        """Print one line; what cannot be printed, as in some files' names, is escaped."""
        self.text(printable(text), err=err)

    def text(self, text: str, *, err: bool = False) -> None:
        """Print text of several lines as it is."""
        if err in self._errors:
            return
        try:
            click.echo(text, err=err)
        except OSError as error:
            self._errors[err] = error
            _discard(sys.stderr if err else sys.stdout)

    def check(self) -> None:
        """Say at the end that something could not be printed.

        Raises:
            RidError: not all results could be printed; the work itself is done.
        """
        if self._errors:
            error = self._errors.get(False) or self._errors[True]
            raise RidError(
                f"not all results could be printed ({error.strerror or error}); the work itself "
                "is done, only its report is not complete"
            )


def _discard(stream: Any) -> None:
    """Let what is still in the buffer of a stream go nowhere, or leaving Python fails once more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


@contextlib.contextmanager
def silent_libraries() -> Iterator[None]:
    """Drop what decoders print to stderr on their own; what they refuse we report, in one line."""
    try:
        saved = os.dup(2)
    except OSError:  # no stderr at all, as under a window server
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        if sys.stderr is not None:
            sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)


def terminate(number: int, frame: FrameType | None) -> None:
    """Leave by an exception, so that half-written files are cleaned up on the way."""
    sys.exit(128 + number)


def run(command: click.Command) -> Any:
    """Run ``command`` as a program; never returns.

    Exit codes: 0 done, 1 an error the user can fix, 2 wrong usage, 130 interrupted, 143
    terminated.
    """
    signal.signal(signal.SIGTERM, terminate)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Names of files hold what the terminal's encoding may not have.
            stream.reconfigure(errors="backslashreplace")
    try:
        result = command.main(standalone_mode=False)
    except RidError as error:
        Console().line(f"error: {error}", err=True)
        sys.exit(1)
    except ModuleNotFoundError as error:
        # Without extras there is no torch: what needs it imports it in many places.
        if error.name not in ("torch", "safetensors"):
            raise
        Console().line(f"error: {MissingExtraError(error.name, 'torch')}", err=True)
        sys.exit(1)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; nothing was left half-written", err=True)
        sys.exit(130)
    except click.UsageError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        click.echo(f"error: {error.format_message()}", err=True)
        sys.exit(1)
    sys.exit(result if isinstance(result, int) else 0)


version_option = click.version_option(__version__, "--version", message="%(prog)s %(version)s")


def parse_shard(text: str) -> tuple[int, int]:
    """``"2/8"``: the third of eight.

    Raises:
        RidError: not of that form, or not below the number of shards.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not int(match[1]) < int(match[2]):
        raise RidError(f"--shard takes I/N with I from 0 to N - 1, not {text!r}")
    return int(match[1]), int(match[2])
