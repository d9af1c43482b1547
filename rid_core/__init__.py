"""RID: a network that protects a portrait from diffusion-model personalization in one pass.

>>> import rid_core as rid
>>> rid.list_defenders()
['rid-b', 'rid-dit', 'rid-n', 'rid-s']
>>> rid.Budget(levels=6, strength=0.5).eps * 255
3.0

``rid.protect(image)`` protects a photo, ``rid.load(model)`` opens a model for many of them; see
:mod:`rid_core.api`. Importing this package is cheap: each name below is imported when it is used,
and only :func:`create_defender` needs torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rid_core._version import __version__

if TYPE_CHECKING:
    from rid_core.api import ModelInfo, Protector, load, protect
    from rid_core.budget import Budget
    from rid_core.defenders.registry import create_defender, list_defenders
    from rid_core.errors import RidError

__all__ = [
    "Budget",
    "ModelInfo",
    "Protector",
    "RidError",
    "__version__",
    "create_defender",
    "list_defenders",
    "load",
    "protect",
]

_HOMES = {
    "Budget": "budget",
    "ModelInfo": "api",
    "Protector": "api",
    "RidError": "errors",
    "create_defender": "defenders.registry",
    "list_defenders": "defenders.registry",
    "load": "api",
    "protect": "api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
