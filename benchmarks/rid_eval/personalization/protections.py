"""What stands on the attacker's photos: nothing, a defender, a slow method, or noise."""

from __future__ import annotations

import dataclasses
import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Tensor

from rid_core.assignments import Setting
from rid_core.attacks import protect
from rid_core.budget import DEFAULT_LEVELS, Budget
from rid_core.checkpoint import weights_digest
from rid_core.data import to_batch
from rid_core.defenders import Defender
from rid_core.errors import RidError
from rid_core.files import replacing
from rid_eval import metrics
from rid_eval.appearance import strength_at
from rid_eval.comparison import DIGEST_DIGITS, load_defenders
from rid_eval.personalization.noise import random_phase, random_signs
from rid_eval.personalization.slow import Models, SlowMethod
from rid_eval.personalization.subjects import AttackTarget
from rid_eval.results import Plain, Sparse

CLEAN, SIGNS, SIGNS_BOUND, SPECTRUM = "clean", "signs", "signs-bound", "spectrum"
_LOOK = "-look"
_SHARE = "@"
_LEAST_LEVEL = 0.51
"""Rounds to a whole level; below half of one nothing at all would change."""


@dataclass(frozen=True)
class Description:
    """What a condition is, for reports and to notice that it changed; what does not apply is None.

    Attributes:
        levels: the bound.
        defender: its label.
        weights: digest of its weights.
        share: per cent of the photos that it protects.
        noise: what kind.
        of: whose spectrum and values the noise has.
        method: a slow method.
        settings: all of them.
        attacked: what it attacked; files of version 0.1 name a digest alone.
        look_of: whose JOD the photos have.
    """

    levels: int | None = None
    defender: str | None = None
    weights: str | None = None
    share: int | None = None
    noise: str | None = None
    of: Annotated[Description, Sparse] | None = None
    method: str | None = None
    settings: dict[str, Setting] | None = None
    attacked: Models | str | None = None
    look_of: Annotated[Description, Sparse] | None = None

    def plain(self) -> dict[str, Plain]:
        """As JSON holds it."""
        found: dict[str, Plain] = TypeAdapter(Annotated[Description, Sparse]).dump_python(self)
        return found


@dataclass
class Protections:
    """All conditions but ``untuned``, by label, in the order of the report.

    Attributes:
        budget: of every one of them.
        defenders: by label; the first one's photos are what others are made to look like.
        methods: slow methods by label, each with what it attacks.
        cache: folder of what was made before.
        device: where defenders and methods run.
        seed: of noise and of the methods.
        shares: per cent of a person's photos that are under the first defender, the others clean;
            each is a condition of its own.
        equal_look: whether each slow method is also scaled to the first defender's look.
        signs_bound: whether random signs of the full bound stand beside those of the same look.

    Raises:
        RidError: two conditions of one label, or an equal look without a defender.
    """

    budget: Budget
    defenders: dict[str, Defender]
    methods: dict[str, SlowMethod]
    cache: Path
    device: torch.device
    seed: int = 0
    shares: tuple[int, ...] = ()
    equal_look: bool = False
    signs_bound: bool = False

    def __post_init__(self) -> None:
        if self.equal_look and not self.defenders:
            raise RidError("--equal-look needs a --defender whose look the others get")
        twice = sorted({label for label in self.labels if self.labels.count(label) > 1})
        if twice:
            raise RidError(f"two conditions are called {twice[0]!r}; rename the defender's file")

    @property
    def labels(self) -> list[str]:
        """All conditions; the first is the clean photos."""
        of_first = [SPECTRUM, *self._mixed] if self.defenders else []
        if self.defenders and self.signs_bound:
            of_first.insert(0, SIGNS_BOUND)
        return [CLEAN, *self.defenders, *self.methods, *self._looks, SIGNS, *of_first]

    @property
    def _first(self) -> str:
        return next(iter(self.defenders))

    @property
    def _mixed(self) -> dict[str, int]:
        """Conditions of which only a share of the photos is protected, by label."""
        shares = self.shares if self.defenders else ()
        return {mixed_label(self._first, share): share for share in shares}

    @property
    def _looks(self) -> dict[str, str]:
        """Slow methods' conditions at the first defender's look: the label of each at the bound."""
        return {label + _LOOK: label for label in self.methods} if self.equal_look else {}

    def _looks_like_first(self, label: str) -> bool:
        """Whether a condition is scaled to the JOD of the first defender's photos."""
        return label in self._looks or (label == SIGNS and bool(self.defenders))

    def describe(self, label: str) -> Description:
        """What a condition is."""
        if label in self._mixed:
            return dataclasses.replace(self.describe(self._first), share=self._mixed[label])
        if label == SPECTRUM:
            return Description(noise="spectrum and values of", of=self.describe(self._first))
        if label == CLEAN:
            return Description()
        levels = self._bound(label).levels
        alike = self._looks_like_first(label)
        look_of = self.describe(self._first) if alike else None
        if label in self.defenders:
            digest = weights_digest(self.defenders[label])[:DIGEST_DIGITS]
            return Description(levels, defender=label, weights=digest)
        if label in (SIGNS, SIGNS_BOUND):
            return Description(levels, noise="random signs", look_of=look_of)
        slow = self.methods[self._looks.get(label, label)]
        return Description(levels, method=slow.name, settings=dict(slow.settings),
                           attacked=slow.attacked.models, look_of=look_of)  # fmt: skip

    def _bound(self, label: str) -> Budget:
        """At full strength. Signs may need more levels than a defender to be seen as much."""
        if label == SIGNS and self.defenders:
            return Budget(max(self.budget.levels, DEFAULT_LEVELS))
        return self.budget

    def apply(self, label: str, target: AttackTarget) -> np.ndarray:
        """The attacker's photos under a condition, 8 bits, [n, H, W, 3]; made once and kept."""
        if label == CLEAN:
            return target.photos
        if label in self._mixed:
            count = round(self._mixed[label] / 100 * len(target.photos))
            protected = self.apply(self._first, target)
            return np.concatenate([protected[:count], target.photos[count:]])
        return self._made(label, target)[0]

    def budget_of(self, label: str, target: AttackTarget) -> Budget:
        """The bound of a set of protected photos, and the strength at which they use it."""
        return dataclasses.replace(self._bound(label), strength=self._made(label, target)[1])

    def _made(self, label: str, target: AttackTarget) -> tuple[np.ndarray, float]:
        """Protected photos and their strength, from the cache where they are there."""
        settings = json.dumps(self.describe(label).plain(), sort_keys=True)
        digest = f"{zlib.crc32(settings.encode() + target.photos.tobytes()):08x}"
        file = self.cache / f"{target.key}-{label}-{digest}.npz"
        stored = _read(file, target.photos.shape)
        if stored is None:
            units, bound = self._units(label, target), self._bound(label)
            alike = self._looks_like_first(label)
            strength = self._strength(target, units, bound) if alike else 1.0
            budget = dataclasses.replace(bound, strength=strength)
            pairs = zip(target.photos, units, strict=True)
            photos = np.stack([budget.apply_uint8(photo, unit) for photo, unit in pairs])
            with replacing(file) as fresh:
                np.savez(fresh, photos=photos, strength=strength)
            stored = photos, strength
        return stored

    def _strength(self, target: AttackTarget, units: np.ndarray, bound: Budget) -> float:
        """At which a set of photos looks like the first defender's; at least a level is changed."""
        wanted = metrics.jod(target.photos, self.apply(self._first, target))
        images = [to_batch(photo[None]) for photo in target.photos]
        tensors = [torch.from_numpy(unit.transpose(2, 0, 1)[None].copy()) for unit in units]
        return max(strength_at(wanted, images, tensors, bound), _LEAST_LEVEL / bound.levels)

    def _units(self, label: str, target: AttackTarget) -> np.ndarray:
        """Unit perturbations, float32 [n, H, W, 3]."""
        seeds = [zlib.crc32(photo.tobytes(), self.seed) for photo in target.photos]
        if label in self._looks:
            # Of the finished photos: a slow method runs once for both of its looks.
            change = self.apply(self._looks[label], target).astype(np.float32) - target.photos
            return np.asarray(change / self.budget.levels, np.float32)
        if label in (SIGNS, SIGNS_BOUND):
            shape = target.photos.shape[1:]
            return np.stack([random_signs(shape, seed) for seed in seeds])
        if label == SPECTRUM:
            units = self._units(self._first, target)
            return np.stack([random_phase(u, s) for u, s in zip(units, seeds, strict=True)])
        images = to_batch(target.photos).to(self.device)
        if label in self.defenders:
            with torch.no_grad():
                defender = self.defenders[label].to(self.device)
                return _to_array(torch.cat([defender(image[None]) for image in images]))
        slow = self.methods[label]
        return _to_array(protect(
            slow.name, images, slow.attacked.open(), self.budget, seeds, **slow.settings
        ))  # fmt: skip


def mixed_label(defender: str, share: int) -> str:
    """The condition of which ``share`` per cent of the photos are under ``defender``."""
    return f"{defender}{_SHARE}{share}"


def is_mixed(label: str) -> bool:
    """Whether only some of the photos of a condition are protected."""
    return _SHARE in label


def mixed_of(label: str) -> str:
    """The defender of a condition of which only some photos are protected."""
    return label.rpartition(_SHARE)[0]


def open_defenders(
    names: tuple[str, ...], levels: int | None
) -> tuple[dict[str, Defender], Budget]:
    """Defenders by label, and the bound that all share.

    Raises:
        RidError: one cannot be read, two of one label, or different bounds and no ``levels``.
    """
    labels = [Path(name).stem for name in names]
    for name, label in zip(names, labels, strict=True):
        if _SHARE in label:
            raise RidError(f"{name}: rename the file, {_SHARE} stands for shares of photos")
        if labels.count(label) > 1:
            raise RidError(f"{name}: a defender is called {label!r} already; rename the file")
    loaded, budget = load_defenders(names, levels)
    return {one.label: one.network for one in loaded}, budget


def _to_array(units: Tensor) -> np.ndarray:
    return units.float().permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _read(file: Path, shape: tuple[int, ...]) -> tuple[np.ndarray, float] | None:
    """What was stored, None where there is nothing or it is damaged."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            photos, strength = stored["photos"], float(stored["strength"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return (photos, strength) if photos.shape == shape and photos.dtype == np.uint8 else None
