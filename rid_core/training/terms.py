"""The terms of a training loss by kind. To add one, write a function and register it here.

A term is built from its section of the config, before training, and is then a function of what a
step shows it. Terms on surrogates are functions of one member; the ensemble combines them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from rid_core import objectives
from rid_core.checkpoint import find_checkpoint, load_checkpoint
from rid_core.data import load_rgb, to_tensor
from rid_core.errors import RidError, did_you_mean
from rid_core.surrogates import DiffusionSurrogate, FeatureSurrogate, Surrogate


@dataclass(frozen=True)
class Scene:
    """What a step shows its objectives.

    Attributes:
        image: clean crops, [B, 3, H, W] in [0, 1].
        unit: the defender's perturbation, in [-1, 1]; carries the gradient.
        clean: the crops after the channel.
        rng: ``rng(member, sample)``: chance of one sample at one member, the same however the
            samples are spread over batches and processes.
        index: numbers of the samples, [B].
        target: stored perturbations, [B, 3, H, W]; zero where there is none.
        paired: which samples have one, float [B] of 0 and 1.
    """

    image: Tensor
    unit: Tensor
    clean: Tensor
    rng: Callable[[int, int], np.random.Generator]
    index: Tensor
    target: Tensor | None = None
    paired: Tensor | None = None
    _known: dict[tuple[int, bool], tuple[Tensor, Tensor]] = field(default_factory=dict)

    def encode(self, member: Surrogate, number: int, images: Tensor) -> Tensor:
        """A member's latent of clean or protected crops; terms of one step share it."""
        kept = self._known.get((number, images.requires_grad))
        # An ensemble that offloads shows each term crops of its own, to take its gradient alone.
        if kept is None or kept[0] is not images:
            kept = images, member.encode(images)
            self._known[number, images.requires_grad] = kept
        return kept[1]

    def noise(self, latent: Tensor, member: int, low: int, high: int) -> tuple[Tensor, Tensor]:
        """Noise like ``latent`` and timesteps in [low, high), own ones for each sample, member."""
        chance = [self.rng(member, number) for number in self.index.tolist()]
        shape = latent.shape[1:]
        drawn = np.stack([rng.standard_normal(shape, np.float32) for rng in chance])
        t = [int(rng.integers(low, high)) for rng in chance]
        return torch.from_numpy(drawn).to(latent), torch.tensor(t)


class ObjectiveSettings(Protocol):
    """What a term may read of its section (:class:`rid_core.training.config.ObjectiveSection`)."""

    @property
    def kind(self) -> str:
        """Name of the objective."""

    @property
    def teacher(self) -> str | None:
        """A checkpoint or a bundled preset."""

    @property
    def pairs(self) -> Path | None:
        """A folder of stored perturbations."""

    @property
    def target(self) -> Path | None:
        """A picture whose latent is aimed at."""

    @property
    def floor(self) -> float | None:
        """Relative shift that is added before the logarithm."""

    @property
    def timesteps(self) -> tuple[int, int] | None:
        """Range that they are drawn from, the end not included."""


UnitTerm = Callable[[Scene], Tensor]
"""What a step shows -> loss of each image, [B]."""

MemberTerm = Callable[[Scene, Surrogate, int, Tensor], Tensor]
"""(what a step shows, a surrogate, its number, protected crops) -> loss of each image, [B]."""


@dataclass(frozen=True)
class Kind:
    """A kind of objective.

    Attributes:
        build: makes the term from its section.
        needs: protocol that every surrogate must have; None for terms on the perturbation alone.
        settings: keys of the section that it reads beside kind and weight.
        required: those that must be given.
    """

    build: Callable[[ObjectiveSettings], Any]
    needs: type | None
    settings: frozenset[str]
    required: frozenset[str]


_KINDS: dict[str, Kind] = {}


def objective(
    name: str, *settings: str, needs: type | None = None, required: tuple[str, ...] = ()
) -> Callable[[Callable[[ObjectiveSettings], Any]], Callable[[ObjectiveSettings], Any]]:
    """Register the decorated builder under ``name``."""

    def register(
        build: Callable[[ObjectiveSettings], Any],
    ) -> Callable[[ObjectiveSettings], Any]:
        _KINDS[name] = Kind(build, needs, frozenset((*settings, *required)), frozenset(required))
        return build

    return register


def list_objectives() -> list[str]:
    """Kinds that a config may name, sorted."""
    return sorted(_KINDS)


def get_objective(kind: str) -> Kind:
    """Look a kind up.

    Raises:
        RidError: there is none; the nearest is named.
    """
    if kind not in _KINDS:
        hint = did_you_mean(kind, list_objectives())
        raise RidError(f"no objective is called {kind!r}; {hint}")
    return _KINDS[kind]


def check_surrogate(kind: str, surrogate: Surrogate) -> None:
    """Refuse a surrogate that lacks what an objective of this kind asks of it.

    Raises:
        RidError: names both.
    """
    needs = get_objective(kind).needs
    if needs is not None and not isinstance(surrogate, needs):
        lack = "is no diffusion model" if needs is DiffusionSurrogate else "has no layers to show"
        raise RidError(f"objective {kind} cannot attack {surrogate.name}, which {lack}")
    if needs is DiffusionSurrogate and getattr(surrogate, "denoiser", None) is None:
        raise RidError(f"objective {kind} cannot attack {surrogate.name} with denoiser = false")


@objective("log-shift", "floor", needs=Surrogate)
def _log_shift(section: ObjectiveSettings) -> MemberTerm:
    floor = objectives.FLOOR if section.floor is None else section.floor

    def term(scene: Scene, member: Surrogate, number: int, protected: Tensor) -> Tensor:
        with torch.no_grad():
            reference = scene.encode(member, number, scene.clean)
        shifted = scene.encode(member, number, protected)
        return objectives.log_shift(reference, shifted, floor)

    return term


@objective("feature-shift", needs=FeatureSurrogate)
def _feature_shift(section: ObjectiveSettings) -> MemberTerm:
    def term(scene: Scene, member: FeatureSurrogate, number: int, protected: Tensor) -> Tensor:
        with torch.no_grad():
            references = member.features(scene.clean)
        return objectives.feature_shift(references, member.features(protected))

    return term  # type: ignore[return-value]


@objective("targeted-latent", "target", needs=Surrogate)
def _targeted_latent(section: ObjectiveSettings) -> MemberTerm:
    picture = None if section.target is None else read_target(section.target)
    known: dict[tuple[int, int, int], Tensor] = {}

    def term(scene: Scene, member: Surrogate, number: int, protected: Tensor) -> Tensor:
        latent = scene.encode(member, number, protected)
        with torch.no_grad():
            clean = scene.encode(member, number, scene.clean)
            target = latent.new_zeros(())
            if picture is not None:
                key = (number, *protected.shape[2:])
                if key not in known:
                    known[key] = member.encode(fit(picture, protected))
                target = known[key]
            # Of encoders with larger latents, and of photos that are farther off, it is not more.
            distance = objectives.targeted_latent(clean, target).clamp_min(1e-6)
        return objectives.targeted_latent(latent, target) / distance

    return term


@objective("adv-sds", "timesteps", needs=DiffusionSurrogate)
def _adv_sds(section: ObjectiveSettings) -> MemberTerm:
    return _on_noised_latents(section, objectives.adversarial_score_distillation)


@objective("denoising-loss", "timesteps", needs=DiffusionSurrogate)
def _denoising_loss(section: ObjectiveSettings) -> MemberTerm:
    return _on_noised_latents(section, objectives.denoising_failure)


def _on_noised_latents(
    section: ObjectiveSettings, loss: Callable[[DiffusionSurrogate, Tensor, Tensor, Tensor], Tensor]
) -> MemberTerm:
    def term(scene: Scene, member: DiffusionSurrogate, number: int, protected: Tensor) -> Tensor:
        latent = scene.encode(member, number, protected)
        low, high = section.timesteps or (0, member.timesteps)
        if high > member.timesteps:
            raise RidError(
                f"objective.timesteps ends at {high}, but {member.name} has {member.timesteps}"
            )
        noise, t = scene.noise(latent, number, low, high)
        return loss(member, latent, noise, t)

    return term  # type: ignore[return-value]


@objective("distillation", required=("teacher",))
def _distillation(section: ObjectiveSettings) -> UnitTerm:
    assert section.teacher is not None
    teacher, _ = load_checkpoint(find_checkpoint(section.teacher))

    def term(scene: Scene) -> Tensor:
        with torch.no_grad():
            target = teacher.to(scene.image.device)(scene.image)
        return objectives.distillation(scene.unit, target)

    return term


@objective("regression", required=("pairs",))
def _regression(section: ObjectiveSettings) -> UnitTerm:
    def term(scene: Scene) -> Tensor:
        assert scene.target is not None
        assert scene.paired is not None
        return objectives.distillation(scene.unit, scene.target) * scene.paired

    return term


def read_target(path: Any) -> Tensor:
    """A picture whose latent is aimed at, [1, 3, H, W] in [0, 1].

    Raises:
        RidError: it cannot be read.
    """
    return to_tensor(load_rgb(Path(path)))[None]


def fit(picture: Tensor, like: Tensor) -> Tensor:
    """``picture`` at the size, dtype and device of ``like``, [1, 3, H, W]."""
    size = tuple(like.shape[2:])
    scaled = F.interpolate(picture, size, mode="bilinear", antialias=True, align_corners=False)
    return scaled.clamp(0, 1).to(like)
