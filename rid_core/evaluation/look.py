"""How a protection looks: JOD at two viewing distances, SSIMULACRA2, FLIP, PSNR; and equal look.

Levels say how far a value may move, not how much is seen. So protections are compared at the
strength at which they look the same: at one mean JOD over the same photos.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rid_core.budget import Budget
from rid_core.channel import round_to_levels
from rid_core.errors import MissingExtraError
from rid_core.visibility import ENLARGED, JOD, ssimulacra2

EQUAL_LOOK = 9.8
"""JOD at which protections are compared unless another is asked for."""

_LEAST = 1e-10
"""Mean squares below this are no change: 100 dB."""

_CLOSE = 0.005  # JOD
_TRIES = 8


@dataclass(frozen=True)
class Look:
    """How visible a change of one photo is.

    Attributes:
        jod: ColorVideoVDP at 38 pixels per degree of the photo's own pixels: as wide as a phone,
            at 30 cm. 10 is no visible difference; one less, and 75 % prefer the original.
        jod_enlarged: the same at 19 pixels per degree, the photo enlarged twice.
        ssimulacra2: 90 is not to be told apart, 70 high quality, 50 medium, 30 low.
        flip: mean FLIP error (Andersson et al. 2020), 0 to 1; no network is trained with it.
        psnr: in dB; 100 for no change.
        colour: the largest mean change of a colour channel over the photo, in 8-bit levels.
    """

    jod: float
    jod_enlarged: float
    ssimulacra2: float
    flip: float
    psnr: float
    colour: float


def look_of(clean: Tensor, changed: Tensor) -> Look:
    """Measure a changed photo against the original.

    Args:
        clean: [1, 3, H, W] in [0, 1], sides of 32 or more.
        changed: the same photo, in whole 8-bit levels.

    Raises:
        MissingExtraError: ``cvvdp`` or ``flip-evaluator`` is not installed.
        RidError: pictures of different sizes.
    """
    with torch.inference_mode():
        change = changed - clean
        return Look(
            jod=JOD()(clean, changed).item(),
            jod_enlarged=JOD(ENLARGED)(clean, changed).item(),
            ssimulacra2=ssimulacra2(clean, changed).item(),
            flip=_flip(clean, changed),
            psnr=-10 * math.log10(max(change.square().mean().item(), _LEAST)),
            colour=(change.mean(dim=(0, 2, 3)).abs().max() * 255).item(),
        )


def _flip(clean: Tensor, changed: Tensor) -> float:
    try:
        import flip_evaluator
    except ModuleNotFoundError:
        raise MissingExtraError("flip-evaluator", "eval") from None
    pair = (x[0].permute(1, 2, 0).float().contiguous().cpu().numpy() for x in (clean, changed))
    return float(flip_evaluator.evaluate(*pair, "LDR")[1])


def protected_at(image: Tensor, unit: Tensor, budget: Budget, strength: float = 1.0) -> Tensor:
    """What is saved: the perturbation at ``strength`` of the budget, in whole levels.

    Args:
        image: [B, 3, H, W] in [0, 1].
        unit: perturbation in [-1, 1], same shape.
        budget: the bound at full strength.
        strength: in (0, 1].
    """
    return round_to_levels(budget.apply(image, unit * strength))


def mean_jod(
    images: Sequence[Tensor], units: Sequence[Tensor], budget: Budget, strength: float = 1.0
) -> float:
    """Mean JOD over photos, each [1, 3, H, W] in [0, 1] with its unit perturbation."""
    measure = JOD()
    with torch.inference_mode():
        found = [
            measure(image, protected_at(image, unit, budget, strength)).item()
            for image, unit in zip(images, units, strict=True)
        ]
    return float(np.mean(found))


def strength_at(
    jod: float, images: Sequence[Tensor], units: Sequence[Tensor], budget: Budget
) -> float:
    """The strength at which perturbations have a mean JOD over photos.

    ``log(10 - JOD)`` is nearly a line in ``log(strength)``, so a few secant steps are enough.

    Args:
        jod: wanted, below 10.
        images: [1, 3, H, W] in [0, 1] each.
        units: their perturbations in [-1, 1].
        budget: the bound at strength 1.

    Returns:
        In (0, 1]; 1 where the full strength looks better than what is wanted.
    """
    loss, goal = 10 - mean_jod(images, units, budget), 10 - jod
    if loss <= goal:
        return 1.0
    strength, slope = 1.0, 1.0
    for _ in range(_TRIES):
        new = min(1.0, max(0.01, strength * (goal / loss) ** (1 / slope)))
        new_loss = max(10 - mean_jod(images, units, budget, new), 1e-6)
        if abs(new_loss - goal) < _CLOSE or new == strength:
            return new
        # Rounding to levels makes steps of it: a slope out of all proportion is not believed.
        measured = math.log(new_loss / loss) / math.log(new / strength)
        slope = min(3.0, max(0.5, measured))
        strength, loss = new, new_loss
    return strength
