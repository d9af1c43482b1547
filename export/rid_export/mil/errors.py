"""The one error of the interpreter."""

from __future__ import annotations

from rid_core.errors import RidError


class MilError(RidError, ValueError):
    """A package or an input that cannot be run: one line that says what is wrong and what to do."""
