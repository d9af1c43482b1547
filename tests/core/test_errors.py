"""An error's text is one printable line, whatever a file or a key in it is called."""

from __future__ import annotations

import pickle

import pytest

from rid_core.errors import MissingExtraError, RidError


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("portrait été 肖像.png: no such file; pass one", None),
        ("a\nb.png: damaged", r"a\nb.png: damaged"),
        ("clear\x1b[2J the screen", r"clear\x1b[2J the screen"),
        ("two\u2028lines\x85more\x0b", r"two\u2028lines\x85more\x0b"),
        (b"bytes \xff of a name".decode("utf-8", "surrogateescape"), r"bytes \udcff of a name"),
    ],
)
def test_one_printable_line(text: str, shown: str | None) -> None:
    error = RidError(text)
    assert str(error) == (shown or text)
    str(error).encode()
    # Quoted in another error it stays as it is, and other processes read the same.
    assert str(RidError(f"while protecting: {error}")) == f"while protecting: {error}"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_missing_extra_says_what_to_install() -> None:
    error = MissingExtraError("tensorflow", "tensorflow")
    assert "pip install -e '.[tensorflow]'" in str(error)
