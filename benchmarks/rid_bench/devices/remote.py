"""What ssh and adb share: running a command, and saying in one line what went wrong."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

from rid_core.errors import RidError


def find(program: str, package: str) -> str:
    """Path of a program of the system.

    Raises:
        RidError: it is not installed; ``package`` says where it comes from.
    """
    path = shutil.which(program)
    if path is None:
        raise RidError(f"{program} is not installed; it comes with {package}")
    return path


def call(command: Sequence[str], *, seconds: float, what: str) -> str:
    """Run a command to its end and return what it printed.

    Raises:
        RidError: it failed, or took longer than ``seconds``; ``what`` says what it was for.
    """
    done = attempt(command, seconds=seconds, what=what)
    if done.returncode:
        raise RidError(f"{what} failed: {last_line(done)}")
    return done.stdout


def attempt(
    command: Sequence[str], *, seconds: float, what: str
) -> subprocess.CompletedProcess[str]:
    """The same, but a failure is returned, not raised.

    Raises:
        RidError: it took longer than ``seconds``.
    """
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RidError(f"{what} took more than {seconds:g} s and was given up") from None


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """What a failed command said last: an ``error:`` line if there is one."""
    lines = [line.strip() for line in (done.stderr + "\n" + done.stdout).splitlines()]
    lines = [line for line in lines if line]
    told = [line for line in lines if line.startswith("error: ")]
    if told:
        return told[-1].removeprefix("error: ")
    return lines[-1][:300] if lines else f"it ended with {done.returncode} and said nothing"
