"""Running a program, here or by ssh and adb, and saying in one line what went wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence

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


def child(module: str, *arguments: str, threads: int, seconds: float, what: str) -> str:
    """Run a module of ours in a process of its own, and return the last line that it printed.

    Raises:
        RidError: it failed, or took longer than ``seconds``.
    """
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
        "OMP_NUM_THREADS": str(threads),
    }
    command = [sys.executable, "-m", module, *arguments]
    return call(command, seconds=seconds, what=what, environment=environment).splitlines()[-1]


def call(
    command: Sequence[str],
    *,
    seconds: float,
    what: str,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a command to its end and return what it printed.

    Raises:
        RidError: it failed, or took longer than ``seconds``; ``what`` says what it was for.
    """
    done = attempt(command, seconds=seconds, what=what, environment=environment)
    if done.returncode:
        raise RidError(f"{what} failed: {last_line(done)}")
    return done.stdout


def attempt(
    command: Sequence[str],
    *,
    seconds: float,
    what: str,
    environment: Mapping[str, str] | None = None,
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
            env=environment,
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
