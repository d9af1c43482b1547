"""Presets by name. To add one, add an entry to ``_PRESETS``: nothing else asks for names."""

from __future__ import annotations

import dataclasses
import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from rid_core.errors import MissingExtraError, RidError, did_you_mean

if TYPE_CHECKING:
    from rid_core.defenders.base import Defender, DefenderConfig


@dataclass(frozen=True)
class Preset:
    """A named size of a defender.

    Attributes:
        name: what ``create_defender`` and ``--preset`` take.
        summary: one line for people.
        family: module of this folder and class of the config, ``"mobile.MobileConfig"``. It is
            imported when it is asked for: names are known without torch.
        sizes: fields of the config that are not the class's defaults.
    """

    name: str
    summary: str
    family: str
    sizes: dict[str, int] = field(default_factory=dict)

    @property
    def config(self) -> DefenderConfig:
        """Size; ``parameters()``, ``multiply_adds()`` and ``stride`` answer without building it.

        Raises:
            MissingExtraError: torch is not installed.
        """
        module, name = self.family.split(".")
        try:
            found = importlib.import_module(f"rid_core.defenders.{module}")
        except ModuleNotFoundError as error:
            raise MissingExtraError(error.name or "torch", "torch") from None
        return cast("DefenderConfig", getattr(found, name)(**self.sizes))


_MOBILE, _DIT = "mobile.MobileConfig", "dit.DiTConfig"
_PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "rid-n",
            "nano: for every frame of a preview, or old phones",
            _MOBILE,
            {"width": 32, "detail_width": 16},
        ),
        Preset(
            "rid-s",
            "small: the default for photos on a phone",
            _MOBILE,
            {"width": 64, "detail_blocks": 2, "detail_kernel": 3},
        ),
        Preset(
            "rid-b",
            "base: for desktops, and as a teacher",
            _MOBILE,
            {
                "width": 192,
                "detail_width": 48,
                "inner_blocks": 4,
                "detail_blocks": 2,
                "detail_kernel": 3,
            },
        ),
        Preset("rid-dit", "the diffusion transformer of the RID paper", _DIT),
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
    return cast("DefenderConfig", dataclasses.replace(cast(Any, config), **overrides))


def create_defender(name: str, /, **overrides: Any) -> Defender:
    """Build a freshly initialised defender whose perturbation is zero everywhere.

    Args and errors are those of :func:`configure`.
    """
    return configure(name, **overrides).build()
