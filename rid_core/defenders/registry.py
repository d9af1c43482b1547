"""Presets by name. To add one, add an entry to ``_PRESETS``: nothing else asks for names."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, cast

from rid_core.defenders.base import Defender, DefenderConfig
from rid_core.defenders.dit import DiTConfig
from rid_core.defenders.mobile import MobileConfig
from rid_core.errors import RidError, did_you_mean


@dataclass(frozen=True)
class Preset:
    """A named size of a defender.

    Attributes:
        name: what ``create_defender`` and ``--preset`` take.
        summary: one line for people.
        config: size; ``config.parameters()``, ``config.multiply_adds()`` and ``config.stride``
            answer without building the network.
    """

    name: str
    summary: str
    config: DefenderConfig


_PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "rid-n",
            "nano: for every frame of a preview, or old phones",
            MobileConfig(width=32, detail_width=16),
        ),
        Preset(
            "rid-s",
            "small: the default for photos on a phone",
            MobileConfig(width=64, detail_blocks=2, detail_kernel=3),
        ),
        Preset(
            "rid-b",
            "base: for desktops, and as a teacher",
            MobileConfig(
                width=192, detail_width=48, inner_blocks=4, detail_blocks=2, detail_kernel=3
            ),
        ),
        Preset("rid-dit", "the diffusion transformer of the RID paper", DiTConfig()),
    )
}


def list_defenders() -> list[str]:
    """Names that :func:`create_defender` takes, sorted."""
    return sorted(_PRESETS)


def get_preset(name: str) -> Preset:
    """Look a preset up.

    Raises:
        RidError: no preset has that name; the nearest is named.
    """
    try:
        return _PRESETS[name]
    except KeyError:
        hint = did_you_mean(name, list_defenders())
        raise RidError(f"no defender is called {name!r}; {hint}") from None


def configure(name: str, /, **overrides: Any) -> DefenderConfig:
    """The config of a preset, with some fields changed.

    Args:
        name: a preset.
        overrides: fields to change, such as ``depth=2`` for a small DiT.

    Raises:
        RidError: unknown preset or field, or sizes that do not fit together.
    """
    config = get_preset(name).config
    fields = [field.name for field in dataclasses.fields(cast(Any, config))]
    for key in overrides:
        if key not in fields:
            raise RidError(f"{name} has no setting {key!r}; it has {', '.join(fields)}")
    return cast(DefenderConfig, dataclasses.replace(cast(Any, config), **overrides))


def create_defender(name: str, /, **overrides: Any) -> Defender:
    """Build a freshly initialised defender whose perturbation is zero everywhere.

    Args and errors are those of :func:`configure`.
    """
    return configure(name, **overrides).build()
