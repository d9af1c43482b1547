"""What all command-line tools share: one clear line for an error the user can mend."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any

import click

from rid_core._version import __version__
from rid_core.errors import RidError

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class OptionalCommandGroup(click.Group):
    """A group that does its main job when no command is named; its usage line says so."""

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write ``PROGRAM [OPTIONS] | COMMAND ...``."""
        formatter.write_usage(ctx.command_path, "[OPTIONS] | COMMAND ...")


def _terminate(number: int, frame: FrameType | None) -> None:
    """Leave by an exception, so that half-written files are cleaned up on the way."""
    sys.exit(128 + number)


def run(command: click.Command) -> Any:
    """Run ``command`` as a program; never returns.

    Exit codes: 0 done, 1 an error the user can mend, 2 wrong usage, 130 interrupted, 143
    terminated.
    """
    signal.signal(signal.SIGTERM, _terminate)
    try:
        result = command.main(standalone_mode=False)
    except RidError as error:
        click.echo(f"error: {error}", err=True)
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
