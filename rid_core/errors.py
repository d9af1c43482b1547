"""Errors that a user can act on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def printable(text: str) -> str:
    """One line that is safe to print: line breaks and what no terminal can show are escaped.

    A byte of a file's name that is not UTF-8, which Python holds as half a surrogate pair, is such.
    """
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class RidError(Exception):
    """Something the user can fix: the text is one line that says what is wrong and what to do.

    Command-line tools print it as ``error: …`` and exit with 1; anything else that reaches them
    is a defect of ours and keeps its traceback.

    The text often quotes what came from outside: file names, keys, names in a damaged model. It
    stays one line, and safe to print, whatever these hold: what cannot be printed is escaped.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


class LowMemoryError(RidError):
    """A photo does not fit into the memory that is free; it may when less else is going on."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an error about a name that is not known.

    Args:
        name: what was given.
        known: what could have been meant, in the order in which to list it.

    Returns:
        ``did you mean NAME?`` if one is close, else ``known: `` and all of them.
    """
    import difflib

    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(names)}"


def pip_line(extra: str) -> str:
    """The command that installs an extra: in the checkout, or what it stands for elsewhere.

    >>> pip_line("tensorflow")
    "pip install -e '.[tensorflow]'"
    """
    if Path(__file__).parent.with_name("pyproject.toml").is_file():
        return f"pip install -e '.[{extra}]'"
    from importlib import metadata

    # An installed wheel: the package's own name may not be on an index, those of its needs are.
    words = (line.partition(";") for line in metadata.requires("rid-defender") or ())
    wanted = [need.strip() for need, _, when in words if f"'{extra}'" in when.replace('"', "'")]
    return "pip install " + " ".join(f"'{need}'" for need in wanted)


class MissingExtraError(RidError):
    """A package of an optional extra is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; it comes with: {pip_line(extra)}")
