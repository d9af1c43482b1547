"""Relative latent shift of protected portraits, and what it is worth: beside random signs, beside
slow methods, after the channel, and at equal look.

The shift is a proxy: it says how far an encoder's latent moved, not what personalization makes of
it, and it holds for the encoders it was measured on. Shift alone does not tell a protection from
noise, so each is scaled to the strength at which it looks as random signs do, and its *effect* is
its shift there over theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from rid_core.assignments import Setting
from rid_core.attacks import protect
from rid_core.budget import Budget
from rid_core.channel import Step, real_jpeg, resize_and_back
from rid_core.defenders import Defender
from rid_core.surrogates import Ensemble, Surrogate, has_denoiser, relative_shift
from rid_core.visibility import JOD, psnr
from rid_eval.appearance import EQUAL_LOOK, protected_at, strength_at
from rid_eval.metrics import training_loss
from rid_eval.results import Measurement, MethodRun, PhotoSet

FLOOR = "random"
"""Label of the random signs."""

Protection = Callable[[Tensor], Tensor]
"""[1, 3, H, W] in [0, 1] -> unit perturbation."""

CHANNELS: dict[str, Step] = {
    "plain": lambda image: image,
    "jpeg75": lambda image: real_jpeg(image, 75),
    "half": lambda image: resize_and_back(image, 0.5),
}

Shifts = dict[str, dict[str, float]]
"""Mean shift from the clean photo after the same step, by encoder, then by step of the channel."""


@dataclass(frozen=True)
class ShiftRow:
    """One protection.

    Attributes:
        psnr: dB to the original at full strength, mean over images; 100 for no change at all.
        jod: quality at full strength, mean over images; see :class:`rid_core.visibility.JOD`.
        jod_worst: of the image that looks worst.
        shift: at full strength.
        strength: at which it has the JOD that is compared at, in (0, 1].
        shift_at_look: at that strength.
        denoising: by diffusion model, how many times its clean value the training loss is at full
            strength, see :func:`rid_eval.metrics.denoising_rise`; mean over images.
        effect: shift at equal look over that of random signs of the same JOD.
    """

    psnr: float
    jod: float
    jod_worst: float
    shift: Shifts = field(default_factory=dict)
    strength: float = 1.0
    shift_at_look: Shifts = field(default_factory=dict)
    denoising: dict[str, float] = field(default_factory=dict)
    effect: Shifts = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ShiftResult(Measurement):
    """How far protections move latents, and what that is worth at equal look.

    Attributes:
        images: what was measured on.
        levels: the bound.
        look: JOD at which effects are compared.
        device: where encoders ran.
        encoders: by name, what each is a distillation of, None for none.
        against: slow methods by label.
        weights: digests of the defenders' weights by label.
        rows: by label of the protection.
    """

    what: ClassVar[str] = "relative latent shift"
    images: PhotoSet
    levels: int
    look: float
    device: str
    encoders: dict[str, str | None]
    against: dict[str, MethodRun]
    weights: dict[str, str]
    rows: dict[str, ShiftRow]


def random_signs(image: Tensor) -> Tensor:
    """The floor: independent signs at the full bound, seeded by the image's content."""
    seed = int(torch.round(image.double().sum() * 255).item())
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 2, image.shape, generator=generator).to(image) * 2 - 1


def defender_protection(defender: Defender) -> Protection:
    """A trained defender's forward pass as a protection."""

    def protect(image: Tensor) -> Tensor:
        with torch.inference_mode():
            unit: Tensor = defender.to(image.device)(image)
        return unit.clone()

    return protect


def slow_protection(
    method: str, surrogate: Surrogate, budget: Budget, settings: Mapping[str, Setting]
) -> Protection:
    """A slow method of :mod:`rid_core.attacks` on one surrogate as a protection."""
    ensemble = Ensemble([surrogate])
    return lambda image: protect(method, image, ensemble, budget, **settings)


@dataclass(frozen=True)
class _Clean:
    """A photo with what every protection of it is held against.

    Attributes:
        image: [1, 3, H, W] in [0, 1].
        latents: after each step of the channel, by encoder.
        losses: training loss by diffusion model.
    """

    image: Tensor
    latents: dict[str, dict[str, Tensor]]
    losses: dict[str, float]

    @classmethod
    def of(cls, image: Tensor, surrogates: Sequence[Surrogate]) -> _Clean:
        """Encode it."""
        return cls(
            image,
            {s.name: _encode_after(s, image) for s in surrogates},
            {s.name: training_loss(s, image) for s in surrogates if has_denoiser(s)},
        )

    def shifts(self, protected: Tensor, surrogates: Sequence[Surrogate]) -> Shifts:
        """How far each latent moved, after each step of the channel."""
        return {
            s.name: {
                step: relative_shift(self.latents[s.name][step], latent).item()
                for step, latent in _encode_after(s, protected).items()
            }
            for s in surrogates
        }


def _encode_after(surrogate: Surrogate, image: Tensor) -> dict[str, Tensor]:
    """Latents after each step of the channel."""
    return {name: surrogate.encode(step(image)) for name, step in CHANNELS.items()}


def measure(
    protections: Mapping[str, Protection],
    images: Sequence[Tensor],
    surrogates: Sequence[Surrogate],
    budget: Budget,
    look: float = EQUAL_LOOK,
    on_image: Callable[[], None] = lambda: None,
) -> dict[str, ShiftRow]:
    """Measure protections on 8-bit results, at full strength and at equal look.

    Args:
        protections: what makes the perturbation, by label; random signs come first in any case.
        images: [1, 3, H, W] in [0, 1], one size, one or more.
        surrogates: encoders to measure on; of whole diffusion models the training loss too.
        budget: the bound.
        look: mean JOD at which protections are compared.
        on_image: called after each protection of each image.
    """
    with torch.inference_mode():
        clean = [_Clean.of(image, surrogates) for image in images]
    rows: dict[str, ShiftRow] = {}
    floor: Shifts | None = None
    for label, protection in {FLOOR: random_signs, **protections}.items():
        units = []
        for image in images:
            units.append(protection(image))
            on_image()
        with torch.inference_mode():
            row = _row(clean, units, surrogates, budget, look)
        floor = floor or row.shift_at_look
        rows[label] = replace(row, effect=_ratio(row.shift_at_look, floor))
    return rows


def _row(
    clean: Sequence[_Clean],
    units: Sequence[Tensor],
    surrogates: Sequence[Surrogate],
    budget: Budget,
    look: float,
) -> ShiftRow:
    strength = strength_at(look, [one.image for one in clean], units, budget)
    jod = JOD()
    quality, decibels, full, scaled, rises = [], [], [], [], []
    for one, unit in zip(clean, units, strict=True):
        protected = protected_at(one.image, unit, budget)
        quality.append(jod(one.image, protected).item())
        decibels.append(psnr(one.image, protected).item())
        full.append(one.shifts(protected, surrogates))
        less = protected_at(one.image, unit, budget, strength)
        scaled.append(full[-1] if strength == 1 else one.shifts(less, surrogates))
        rises.append({
            s.name: training_loss(s, protected) / one.losses[s.name]
            for s in surrogates if has_denoiser(s)
        })  # fmt: skip
    return ShiftRow(
        psnr=float(np.mean(decibels)),
        jod=float(np.mean(quality)),
        jod_worst=min(quality),
        shift=_mean(full),
        strength=strength,
        shift_at_look=_mean(scaled),
        denoising={name: float(np.mean([one[name] for one in rises])) for name in rises[0]},
    )


def _mean(found: Sequence[Shifts]) -> Shifts:
    return {
        encoder: {step: float(np.mean([one[encoder][step] for one in found])) for step in CHANNELS}
        for encoder in found[0]
    }


def _ratio(above: Shifts, below: Shifts) -> Shifts:
    return {encoder: {step: value / below[encoder][step] for step, value in by_step.items()}
            for encoder, by_step in above.items()}  # fmt: skip
