"""What stands on the attacker's photos: nothing, a defender, a slow method, or noise."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rid_core.budget import Budget
from rid_core.checkpoint import find_checkpoint, load_checkpoint, weights_digest
from rid_core.defenders import Defender
from rid_core.errors import RidError
from rid_core.evaluation.personalization.noise import random_phase, random_signs
from rid_core.evaluation.personalization.subjects import Target
from rid_core.files import replacing
from rid_core.imagewise import protect
from rid_core.imagewise.registry import settings_of
from rid_core.surrogates import Ensemble

CLEAN, SIGNS, SPECTRUM = "clean", "signs", "spectrum"
_SHARE = "@"


@dataclass
class Protections:
    """All conditions but ``untuned``, by label, in the order of the report.

    Attributes:
        budget: of every one of them.
        defenders: by label.
        methods: image-wise methods by name, with all their settings.
        ensemble: makes the surrogate that image-wise methods attack; called when one has to run.
        cache: folder of what was made before.
        device: where defenders and methods run.
        attacked: what identifies that surrogate.
        seed: of noise and of the methods.
        shares: per cent of a person's photos that are under the first defender, the others clean;
            each is a condition of its own.
    """

    budget: Budget
    defenders: dict[str, Defender]
    methods: dict[str, dict[str, Any]]
    ensemble: Callable[[], Ensemble]
    cache: Path
    device: torch.device
    attacked: str = ""
    seed: int = 0
    shares: tuple[int, ...] = ()
    _digests: dict[str, str] = field(default_factory=dict)

    @property
    def labels(self) -> list[str]:
        """All conditions; the first is the clean photos."""
        of_first = [SPECTRUM, *self._mixed] if self.defenders else []
        return [CLEAN, *self.defenders, *self.methods, SIGNS, *of_first]

    @property
    def _first(self) -> str:
        return next(iter(self.defenders))

    @property
    def _mixed(self) -> dict[str, int]:
        """Conditions of which only a share of the photos is protected, by label."""
        return {mixed_label(self._first, share): share for share in self.shares}

    def describe(self, label: str) -> dict[str, Any]:
        """What a condition is, for reports and to notice that it changed."""
        if label in self.defenders:
            if label not in self._digests:
                self._digests[label] = weights_digest(self.defenders[label])[:16]
            return {"defender": label, "weights": self._digests[label], "levels": self._levels}
        if label in self.methods:
            return {"method": label, "settings": self.methods[label], "levels": self._levels,
                    "attacked": self.attacked}  # fmt: skip
        if label == SPECTRUM:
            return {"noise": "spectrum and values of", "of": self.describe(self._first)}
        if label in self._mixed:
            return {**self.describe(self._first), "share": self._mixed[label]}
        return {"noise": "random signs", "levels": self._levels} if label == SIGNS else {}

    @property
    def _levels(self) -> int:
        return self.budget.levels

    def apply(self, label: str, target: Target) -> np.ndarray:
        """The attacker's photos under a condition, 8 bits, [n, H, W, 3]; made once and kept."""
        if label == CLEAN:
            return target.photos
        if label in self._mixed:
            count = round(self._mixed[label] / 100 * len(target.photos))
            protected = self.apply(self._first, target)
            return np.concatenate([protected[:count], target.photos[count:]])
        settings = json.dumps(self.describe(label), sort_keys=True)
        digest = f"{zlib.crc32(settings.encode() + target.photos.tobytes()):08x}"
        file = self.cache / f"{target.key}-{label}-{digest}.npy"
        stored = _read(file, target.photos.shape)
        if stored is None:
            units = self._units(label, target)
            pairs = zip(target.photos, units, strict=True)
            stored = np.stack([self.budget.apply_uint8(photo, unit) for photo, unit in pairs])
            with replacing(file) as fresh:
                np.save(fresh, stored)
        return stored

    def _units(self, label: str, target: Target) -> np.ndarray:
        """Unit perturbations, float32 [n, H, W, 3]."""
        seeds = [zlib.crc32(photo.tobytes(), self.seed) for photo in target.photos]
        if label == SIGNS:
            shape = target.photos.shape[1:]
            return np.stack([random_signs(shape, seed) for seed in seeds])
        if label == SPECTRUM:
            units = self._units(self._first, target)
            return np.stack([random_phase(u, s) for u, s in zip(units, seeds, strict=True)])
        images = to_tensor(target.photos).to(self.device)
        if label in self.defenders:
            with torch.no_grad():
                defender = self.defenders[label].to(self.device)
                return _to_array(torch.cat([defender(image[None]) for image in images]))
        units_of_method = protect(
            label, images, self.ensemble(), self.budget, seeds, **self.methods[label]
        )
        return _to_array(units_of_method)


def mixed_label(defender: str, share: int) -> str:
    """The condition of which ``share`` per cent of the photos are under ``defender``."""
    return f"{defender}{_SHARE}{share}"


def is_mixed(label: str) -> bool:
    """Whether only some of the photos of a condition are protected."""
    return _SHARE in label


def mixed_of(label: str) -> str:
    """The defender of a condition of which only some photos are protected."""
    return label.rpartition(_SHARE)[0]


def open_defenders(names: tuple[str, ...], levels: int | None) -> tuple[dict[str, Defender], int]:
    """Defenders by label, and the bound that all share.

    Raises:
        RidError: one cannot be read, two of one label, or different bounds and no ``levels``.
    """
    found: dict[str, Defender] = {}
    bounds = set()
    for name in names:
        defender, card = load_checkpoint(find_checkpoint(name))
        label = Path(name).stem
        if _SHARE in label:
            raise RidError(f"{name}: rename the file, {_SHARE} stands for shares of photos")
        if label in found or label in (CLEAN, SIGNS, SPECTRUM):
            raise RidError(f"{name}: a condition is called {label!r} already; rename the file")
        found[label] = defender
        bounds.add(card.levels)
    if levels is None and len(bounds) > 1:
        raise RidError(f"the defenders have different bounds, {sorted(bounds)}; give --levels")
    return found, levels or (bounds.pop() if bounds else Budget().levels)


def method_settings(
    names: tuple[str, ...], given: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """All settings of image-wise methods, by name.

    Raises:
        RidError: an unknown method or setting.
    """
    return {name: settings_of(name, dict(given.get(name, {}))) for name in names}


def to_tensor(photos: np.ndarray) -> Tensor:
    """8 bits, [N, H, W, 3] -> float32 [N, 3, H, W] in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(photos)).permute(0, 3, 1, 2).float() / 255


def to_photos(images: Tensor) -> np.ndarray:
    """[N, 3, H, W] in [0, 1] -> uint8 [N, H, W, 3]."""
    levels = (images * 255).round().clamp(0, 255).byte()
    return levels.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _to_array(units: Tensor) -> np.ndarray:
    return units.float().permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _read(file: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    if not file.is_file():
        return None
    try:
        stored: np.ndarray = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return stored if stored.shape == shape and stored.dtype == np.uint8 else None
