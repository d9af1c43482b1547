"""Settings given on the command line as ``KEY=VALUE``."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from typing import Any

from rid_core.errors import RidError

Setting = bool | int | float | str
"""A setting of a method."""


def split_assignment(text: str) -> tuple[str, str]:
    """Key and value of ``KEY=VALUE``, both as text.

    Raises:
        RidError: there is no ``=``.
    """
    key, found, value = text.partition("=")
    if not found:
        raise RidError(f"--set takes KEY=VALUE, not {text!r}")
    return key.strip(), value.strip()


def read_assignments(texts: Iterable[str]) -> dict[str, Any]:
    """``steps=100`` and the like by key, in order; values in TOML, a bare word is a string.

    Raises:
        RidError: no ``=`` in one.
    """
    settings: dict[str, Any] = {}
    for key, value in map(split_assignment, texts):
        try:
            settings[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            settings[key] = value
    return settings
