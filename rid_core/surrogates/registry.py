"""Surrogates by kind. To add one, write a module with a loader and register it here."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from rid_core.errors import RidError
from rid_core.surrogates.base import Surrogate
from rid_core.surrogates.tiny_autoencoder import load_tiny_autoencoder

_LOADERS: dict[str, Callable[..., Surrogate]] = {"tiny-autoencoder": load_tiny_autoencoder}


def list_surrogates() -> list[str]:
    """Kinds that :func:`load_surrogate` takes, sorted."""
    return sorted(_LOADERS)


def load_surrogate(kind: str, **settings: Any) -> Surrogate:
    """Load a frozen surrogate on the CPU in float32.

    Args:
        kind: see :func:`list_surrogates`.
        settings: what that kind needs, such as ``path``.

    Raises:
        RidError: unknown kind (the nearest is named), missing or unfit files.
    """
    try:
        loader = _LOADERS[kind]
    except KeyError:
        near = difflib.get_close_matches(kind, _LOADERS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(list_surrogates())}"
        raise RidError(f"no surrogate is called {kind!r}; {hint}") from None
    try:
        return loader(**settings)
    except TypeError as error:
        raise RidError(f"surrogate {kind}: {error}") from None
