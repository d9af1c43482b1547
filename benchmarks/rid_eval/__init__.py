"""Measure what a defender does: how visible it is, how far it moves latents, what is left of it.

>>> import rid_eval
>>> result = rid_eval.look(["rid-n"], "portraits/", large=0)  # doctest: +SKIP
>>> result.rows["rid-n"].mean.jod  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rid_eval.api import look, shift
    from rid_eval.photos import PhotoFolder

__all__ = ["PhotoFolder", "look", "shift"]


def __getattr__(name: str) -> object:
    """Load a function with what it needs when it is first asked for."""
    import importlib

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "rid_eval.photos" if name == "PhotoFolder" else "rid_eval.api"
    return getattr(importlib.import_module(module), name)
