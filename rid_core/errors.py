"""Errors that a user can act on."""

from __future__ import annotations


def printable(text: str) -> str:
    """One line that is safe to print: line breaks and what no terminal can show are escaped.

    A byte of a file's name that is not UTF-8, which Python holds as half a surrogate pair, is such.
    """
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class RidError(Exception):
    """Something the user can mend: the text is one line that says what is wrong and what to do.

    Command-line tools print it as ``error: …`` and exit with 1; anything else that reaches them
    is a defect of ours and keeps its traceback.

    The text often quotes what came from outside: file names, keys, names in a damaged model. It
    stays one line, and safe to print, whatever these hold: what cannot be printed is escaped.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


class MissingExtraError(RidError):
    """A package of an optional extra is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"{package} is not installed; it comes with: pip install 'rid-defender[{extra}]'"
        )
