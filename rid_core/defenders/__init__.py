"""Defenders: networks that map a portrait to a unit perturbation, and their registry.

>>> from rid_core.defenders import create_defender, list_defenders
>>> list_defenders()
['rid-b', 'rid-dit', 'rid-n', 'rid-s']
>>> create_defender("rid-n").stride
16
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rid_core.defenders.registry import (
    Preset,
    configure,
    create_defender,
    get_preset,
    list_defenders,
)

if TYPE_CHECKING:
    from rid_core.defenders.base import Defender, DefenderConfig

__all__ = [
    "Defender",
    "DefenderConfig",
    "Preset",
    "configure",
    "create_defender",
    "get_preset",
    "list_defenders",
]


def __getattr__(name: str) -> Any:
    """What needs torch is imported when it is asked for."""
    if name not in ("Defender", "DefenderConfig"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rid_core.defenders import base

    return getattr(base, name)
