"""Defenders: networks that map a portrait to a unit perturbation, and their registry.

>>> from rid_core.defenders import create_defender, list_defenders
>>> list_defenders()
['rid-b', 'rid-dit', 'rid-n', 'rid-s']
>>> create_defender("rid-n").stride
16
"""

from rid_core.defenders.base import Defender, DefenderConfig
from rid_core.defenders.registry import (
    Preset,
    configure,
    create_defender,
    get_preset,
    list_defenders,
)

__all__ = [
    "Defender",
    "DefenderConfig",
    "Preset",
    "configure",
    "create_defender",
    "get_preset",
    "list_defenders",
]
