"""Projected gradient descent on one photo: what a defender replaces by a forward pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rid_core.attacks.streams import RandomStreams
from rid_core.budget import Budget
from rid_core.surrogates import Ensemble

Loss = Callable[[Tensor], Tensor]
"""Protected batch [B, 3, H, W] in [0, 1] -> loss of each image, [B], lower is better."""


@dataclass(frozen=True)
class Attack:
    """What a method works on.

    Attributes:
        image: [B, 3, H, W] in [0, 1].
        ensemble: what is attacked.
        budget: the bound, in every colour value.
        streams: of random numbers.
    """

    image: Tensor
    ensemble: Ensemble
    budget: Budget
    streams: RandomStreams

    def descend(
        self,
        loss: Loss,
        steps: int,
        step: float,
        *,
        last_step: float | None = None,
        momentum: float | None = None,
        start: Tensor | None = None,
    ) -> Tensor:
        """:func:`pgd` on these photos."""
        return pgd(self.image, loss, self.budget, steps=steps, step=step, last_step=last_step,
                   momentum=momentum, start=start, streams=self.streams)  # fmt: skip


def pgd(
    image: Tensor,
    loss: Loss,
    budget: Budget,
    *,
    steps: int = 40,
    step: float = 1 / 8,
    last_step: float | None = None,
    momentum: float | None = None,
    start: Tensor | None = None,
    streams: RandomStreams | None = None,
) -> Tensor:
    """Minimise ``loss`` over perturbations within ``budget`` (Madry et al., arXiv 1706.06083).

    Args:
        image: [B, 3, H, W] in [0, 1].
        loss: what to minimise.
        budget: the bound, in every colour value.
        steps: sign-gradient steps.
        step: size of a step as a share of the bound.
        last_step: the share to which it falls, linearly; None for no change.
        momentum: of the gradients, each divided by its mean absolute value first (MI-FGSM, Dong
            et al., arXiv 1710.06081); None for none.
        start: unit perturbation to begin with; by default random within the bound.
        streams: of the random start; seed 0 for every photo by default.

    Returns:
        Unit perturbation in [-1, 1], same shape.
    """
    if start is None:
        start = (streams or RandomStreams([0] * len(image))).start(image)
    unit, velocity = start.detach(), torch.zeros_like(image)
    for number in range(steps):
        unit.requires_grad_(True)
        (gradient,) = torch.autograd.grad(loss(budget.apply(image, unit)).sum(), unit)
        if momentum is not None:
            size = gradient.abs().mean(dim=(1, 2, 3), keepdim=True)
            velocity = momentum * velocity + gradient / size.clamp_min(1e-12)
            gradient = velocity
        share = step if last_step is None else step + (last_step - step) * number / steps
        unit = (unit.detach() - share * gradient.sign()).clamp(-1, 1)
    return unit.detach()
