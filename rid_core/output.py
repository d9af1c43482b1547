"""Keep what libraries print away from the user; what they refuse arrives as an exception."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def suppress_output(log: Path | None = None) -> Iterator[None]:
    """Send what this process prints, C++ code and children included, elsewhere.

    Args:
        log: file to which it is appended; by default it is dropped.
    """
    _flush()
    saved = {number: copy for number in (1, 2) if (copy := _duplicate(number)) is not None}
    try:
        with (log or Path(os.devnull)).open("ab") as sink:
            for number in saved:
                os.dup2(sink.fileno(), number)
        yield
    finally:
        _flush()
        for number, copy in saved.items():
            os.dup2(copy, number)
            os.close(copy)


def _duplicate(number: int) -> int | None:
    """A second descriptor of the same file; None if there is none, as under a window server."""
    try:
        return os.dup(number)
    except OSError:
        return None


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
