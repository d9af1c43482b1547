"""The terms of a training loss by kind. To add one, write a function and register it here.

A term is built from its section of the config, before training, and is then a function of what a
step shows it. Terms on surrogates are functions of one member; the ensemble combines them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import AfterValidator, Field, field_validator, model_validator
from torch import Tensor
from torch.nn import functional as F

from rid_core import objectives
from rid_core.checkpoint import find_checkpoint, load_checkpoint
from rid_core.data import load_rgb, to_tensor
from rid_core.errors import RidError, did_you_mean
from rid_core.surrogates import DiffusionSurrogate, FeatureSurrogate, Surrogate
from rid_core.training.settings import ConfigSection


@dataclass(frozen=True)
class Inputs:
    """What a step shows its objectives.

    Attributes:
        image: clean crops, [B, 3, H, W] in [0, 1].
        unit: the defender's perturbation, in [-1, 1]; carries the gradient.
        clean: the crops after the channel.
        rng: ``rng(member, sample)``: random numbers of one sample at one member, the same however
            the samples are spread over batches and processes.
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
        streams = [self.rng(member, number) for number in self.index.tolist()]
        shape = latent.shape[1:]
        drawn = np.stack([rng.standard_normal(shape, np.float32) for rng in streams])
        t = [int(rng.integers(low, high)) for rng in streams]
        return torch.from_numpy(drawn).to(latent), torch.tensor(t)


Points = float | list[tuple[int, float]]


def _points(weight: Points) -> list[tuple[int, float]]:
    return weight if isinstance(weight, list) else [(0, weight)]


def _weighs(weight: Points) -> Points:
    steps = [step for step, _ in _points(weight)]
    if not steps or sorted(set(steps)) != steps or steps[0] < 0:
        raise ValueError("points [step, weight] must be in order of their steps")
    if min(value for _, value in _points(weight)) < 0:
        raise ValueError("must not be negative")
    return weight


Weight = Annotated[Points, AfterValidator(_weighs)]
"""Of a term: a number, or points [step, weight] between which it runs straight."""


def weight_at(weight: Weight, step: int) -> float:
    """The weight at an optimiser step, counted from 0; constant before and after the points."""
    steps, values = zip(*_points(weight), strict=True)
    return float(np.interp(step, steps, values))


def is_positive(weight: Weight) -> bool:
    """Whether it is above zero at any step."""
    return max(value for _, value in _points(weight)) > 0


UnitTerm = Callable[[Inputs], Tensor]
"""What a step shows -> loss of each image, [B]."""

MemberTerm = Callable[[Inputs, Surrogate, int, Tensor], Tensor]
"""(what a step shows, a surrogate, its number, protected crops) -> loss of each image, [B]."""


@dataclass(frozen=True)
class Objective:
    """A kind of objective.

    Attributes:
        build: makes the term from its section.
        needs: protocol that every surrogate must have; None for terms on the perturbation alone.
        settings: keys of the section that it reads beside kind and weight.
        required: those that must be given.
    """

    build: Callable[[ObjectiveSection], Any]
    needs: type | None
    settings: frozenset[str]
    required: frozenset[str]


_KINDS: dict[str, Objective] = {}


def objective(
    name: str, *settings: str, needs: type | None = None, required: tuple[str, ...] = ()
) -> Callable[[Callable[[ObjectiveSection], Any]], Callable[[ObjectiveSection], Any]]:
    """Register the decorated builder under ``name``."""

    def register(
        build: Callable[[ObjectiveSection], Any],
    ) -> Callable[[ObjectiveSection], Any]:
        _KINDS[name] = Objective(
            build, needs, frozenset((*settings, *required)), frozenset(required)
        )
        return build

    return register


def list_objectives() -> list[str]:
    """Kinds that a config may name, sorted."""
    return sorted(_KINDS)


def get_objective(kind: str) -> Objective:
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


class ObjectiveSection(ConfigSection):
    """A term of the loss as the configuration names it."""

    kind: str
    weight: Weight = 1.0
    on: Annotated[list[str], Field(min_length=1)] | None = None
    """Names of the surrogates it is for; by default all."""
    teacher: str | None = None
    """For distillation: a checkpoint or a bundled preset."""
    pairs: Path | None = None
    """For regression: a folder that ``rid-train pairs`` made."""
    target: Path | None = None
    """For targeted-latent: a picture; without one the latent is pulled to zero."""
    floor: Annotated[float, Field(gt=0)] | None = None
    """For log-shift: relative shift that is added before the logarithm, by default 0.01."""
    timesteps: tuple[int, int] | None = None
    """For adv-sds and denoising-loss: drawn from this range, the end not included."""

    @field_validator("weight")
    @classmethod
    def _counts(cls, weight: Weight) -> Weight:
        if not is_positive(weight):
            raise ValueError("must be positive")
        return weight

    @model_validator(mode="after")
    def _fits(self) -> ObjectiveSection:
        try:
            known = get_objective(self.kind)
        except RidError as error:
            raise ValueError(str(error)) from None
        if self.on is not None and known.needs is None:
            raise ValueError(f"{self.kind} looks at no surrogate and takes no on")
        for key in ("teacher", "pairs", "target", "floor", "timesteps"):
            given = getattr(self, key) is not None
            if given and key not in known.settings:
                raise ValueError(f"{self.kind} takes no {key}")
            if not given and key in known.required:
                raise ValueError(f"{self.kind} needs {_WHAT[key]}")
        if self.timesteps is not None and not 0 <= self.timesteps[0] < self.timesteps[1]:
            raise ValueError("timesteps must rise from 0 or more")
        return self


_WHAT = {
    "teacher": "a teacher: a checkpoint or a bundled preset",
    "pairs": "pairs: a folder that rid-train pairs made",
}


@objective("log-shift", "floor", needs=Surrogate)
def _log_shift(section: ObjectiveSection) -> MemberTerm:
    floor = objectives.FLOOR if section.floor is None else section.floor

    def term(inputs: Inputs, member: Surrogate, number: int, protected: Tensor) -> Tensor:
        with torch.no_grad():
            reference = inputs.encode(member, number, inputs.clean)
        shifted = inputs.encode(member, number, protected)
        return objectives.log_shift(reference, shifted, floor)

    return term


@objective("feature-shift", needs=FeatureSurrogate)
def _feature_shift(section: ObjectiveSection) -> MemberTerm:
    def term(inputs: Inputs, member: FeatureSurrogate, number: int, protected: Tensor) -> Tensor:
        with torch.no_grad():
            references = member.features(inputs.clean)
        return objectives.feature_shift(references, member.features(protected))

    return term  # type: ignore[return-value]


@objective("targeted-latent", "target", needs=Surrogate)
def _targeted_latent(section: ObjectiveSection) -> MemberTerm:
    picture = None if section.target is None else read_target(section.target)
    known: dict[tuple[int, int, int], Tensor] = {}

    def term(inputs: Inputs, member: Surrogate, number: int, protected: Tensor) -> Tensor:
        latent = inputs.encode(member, number, protected)
        with torch.no_grad():
            clean = inputs.encode(member, number, inputs.clean)
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
def _adv_sds(section: ObjectiveSection) -> MemberTerm:
    return _on_noised_latents(section, objectives.adversarial_score_distillation)


@objective("denoising-loss", "timesteps", needs=DiffusionSurrogate)
def _denoising_loss(section: ObjectiveSection) -> MemberTerm:
    return _on_noised_latents(section, objectives.denoising_failure)


def _on_noised_latents(
    section: ObjectiveSection, loss: Callable[[DiffusionSurrogate, Tensor, Tensor, Tensor], Tensor]
) -> MemberTerm:
    def term(inputs: Inputs, member: DiffusionSurrogate, number: int, protected: Tensor) -> Tensor:
        latent = inputs.encode(member, number, protected)
        low, high = section.timesteps or (0, member.timesteps)
        if high > member.timesteps:
            raise RidError(
                f"objective.timesteps ends at {high}, but {member.name} has {member.timesteps}"
            )
        noise, t = inputs.noise(latent, number, low, high)
        return loss(member, latent, noise, t)

    return term  # type: ignore[return-value]


@objective("distillation", required=("teacher",))
def _distillation(section: ObjectiveSection) -> UnitTerm:
    assert section.teacher is not None
    teacher, _ = load_checkpoint(find_checkpoint(section.teacher))

    def term(inputs: Inputs) -> Tensor:
        with torch.no_grad():
            target = teacher.to(inputs.image.device)(inputs.image)
        return objectives.distillation(inputs.unit, target)

    return term


@objective("regression", required=("pairs",))
def _regression(section: ObjectiveSection) -> UnitTerm:
    def term(inputs: Inputs) -> Tensor:
        assert inputs.target is not None
        assert inputs.paired is not None
        return objectives.distillation(inputs.unit, inputs.target) * inputs.paired

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
