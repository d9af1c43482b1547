"""Projected gradient descent on one photo: what a defender replaces by a forward pass."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rid_core.budget import Budget
from rid_core.objectives import encoder_shift
from rid_core.surrogates import Surrogate

Loss = Callable[[Tensor], Tensor]
"""Protected batch [B, 3, H, W] in [0, 1] -> loss of each image, [B], lower is better."""


def pgd(
    image: Tensor,
    loss: Loss,
    budget: Budget,
    *,
    steps: int = 40,
    step_levels: float | None = None,
    seed: int = 0,
) -> Tensor:
    """Minimise ``loss`` over perturbations within ``budget`` (Madry et al., arXiv 1706.06083).

    Args:
        image: [B, 3, H, W] in [0, 1].
        loss: what to minimise.
        budget: the bound, in every colour value.
        steps: sign-gradient steps.
        step_levels: size of a step in 8-bit levels; an eighth of the bound by default.
        seed: of the random start, uniform within the bound.

    Returns:
        Unit perturbation in [-1, 1], same shape.
    """
    generator = torch.Generator().manual_seed(seed)
    start = torch.rand(image.shape, generator=generator) * 2 - 1
    unit = start.to(image)
    step = (step_levels or budget.levels / 8) / budget.levels
    for _ in range(steps):
        unit.requires_grad_(True)
        (gradient,) = torch.autograd.grad(loss(budget.apply(image, unit)).sum(), unit)
        unit = (unit.detach() - step * gradient.sign()).clamp(-1, 1)
    return unit.detach()


def encoder_pgd(image: Tensor, surrogate: Surrogate, budget: Budget, steps: int = 40) -> Tensor:
    """PGD on the surrogate's encoder, untargeted (PhotoGuard, arXiv 2302.06588).

    Args:
        image: [B, 3, H, W] in [0, 1].
        surrogate: whose latent is shifted.
        budget: the bound.
        steps: sign-gradient steps.

    Returns:
        Unit perturbation in [-1, 1], same shape.
    """
    with torch.no_grad():
        reference = surrogate.encode(image)

    def loss(protected: Tensor) -> Tensor:
        return encoder_shift(reference, surrogate.encode(protected))

    return pgd(image, loss, budget, steps=steps)
