"""Surrogates by kind. To add one, write a module with a loader and register it here."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rid_core.errors import RidError, did_you_mean
from rid_core.surrogates.base import Surrogate
from rid_core.surrogates.stable_diffusion import load_stable_diffusion
from rid_core.surrogates.tiny_autoencoder import load_tiny_autoencoder

_LOADERS: dict[str, Callable[..., Surrogate]] = {
    "stable-diffusion": load_stable_diffusion,
    "tiny-autoencoder": load_tiny_autoencoder,
}


def list_surrogates() -> list[str]:
    """Kinds that :func:`load_surrogate` takes, sorted."""
    return sorted(_LOADERS)


def load_surrogate(kind: str, **settings: Any) -> Surrogate:
    """Load a frozen surrogate on the CPU, in float32 unless its settings say otherwise.

    Args:
        kind: see :func:`list_surrogates`.
        settings: what that kind needs, such as ``path``.

    Raises:
        RidError: unknown kind or setting (the nearest is named), missing or unfit files.
    """
    if kind not in _LOADERS:
        hint = did_you_mean(kind, list_surrogates())
        raise RidError(f"no surrogate is called {kind!r}; {hint}")
    loader = _LOADERS[kind]
    known = list(inspect.signature(loader).parameters)
    for setting in settings:
        if setting not in known:
            raise RidError(
                f"surrogate {kind} has no setting {setting!r}; {did_you_mean(setting, known)}"
            )
    if "path" in known and not settings.get("path"):
        raise RidError(f"surrogate {kind} needs a path: a file, a folder or a name on the hub")
    return loader(**settings)


def open_surrogate(path: str | Path, **settings: Any) -> Surrogate:
    """Load a surrogate whose kind shows in its files.

    A folder with ``model_index.json``, or a name on the hub, is a ``stable-diffusion``; a file, or
    a folder without one, is a ``tiny-autoencoder``.

    Args and errors are those of :func:`load_surrogate`.
    """
    path = Path(path)
    hub = not path.exists() and not path.suffix and len(path.parts) == 2
    whole = (path / "model_index.json").is_file() or (hub and "tae" not in path.name)
    return load_surrogate("stable-diffusion" if whole else "tiny-autoencoder",
                          path=str(path) if hub else path, **settings)  # fmt: skip


def open_encoder(path: str | Path) -> Surrogate:
    """An encoder to measure on; of a whole diffusion model its denoiser is not loaded.

    Args and errors are those of :func:`open_surrogate`.
    """
    whole = (Path(path) / "model_index.json").is_file()
    return open_surrogate(path, denoiser=False) if whole else open_surrogate(path)
