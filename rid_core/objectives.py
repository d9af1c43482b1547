"""What a defender is trained for, and what it costs to see it.

Objectives return one value per image, lower is better, so that the caller weighs and averages.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rid_core.surrogates import relative_shift

_FLOOR = 1e-4


def encoder_shift(reference: Tensor, shifted: Tensor) -> Tensor:
    """Push the latent away from the clean photo's: ``-log(relative shift)``, [B].

    The encoder attack of PhotoGuard (Salman et al., arXiv 2302.06588), untargeted. The logarithm
    gives every image and every step of the channel the same say, however hard it is to shift.

    Args:
        reference: latents of the clean photos, as the attacker would have seen them, [B, ...].
        shifted: latents of the same, protected; carries the gradient.
    """
    return -torch.log(relative_shift(reference, shifted) + _FLOOR)


def distillation(unit: Tensor, target: Tensor) -> Tensor:
    """Squared distance to another defender's unit perturbation (equation 10 of RID), [B]."""
    return (unit - target).square().mean(dim=(1, 2, 3))


def dissimilarity(clean: Tensor, protected: Tensor) -> Tensor:
    """``1 - SSIM`` of each image (Wang et al. 2004, 11 x 11 Gaussian window), [B].

    A perturbation costs most where the photo is smooth, on skin and sky, and least in texture: the
    measure itself shapes the perturbation.
    """
    from kornia.metrics import ssim

    similarity: Tensor = ssim(clean, protected, window_size=11, padding="valid")
    return 1 - similarity.mean(dim=(1, 2, 3))


def periodicity(unit: Tensor, period: int = 16) -> Tensor:
    """How much of the perturbation is the same again ``period`` pixels on, [B], in [0, 1].

    The mean correlation of the perturbation with itself, moved down, across and along both
    diagonals; negative ones count as none. A lattice is easy to see, and easy to estimate and
    subtract. A convolutional network of stride 16 draws one wherever a photo is flat.

    Args:
        unit: [B, 3, H, W] with H and W above ``period``.
        period: in pixels; a lattice of any divisor of it shows as well.
    """
    p = period
    whole, less, more = slice(None), slice(None, -p), slice(p, None)
    moves = [
        ((less, whole), (more, whole)),
        ((whole, less), (whole, more)),
        ((less, less), (more, more)),
        ((less, more), (more, less)),
    ]
    energy = unit.square().mean(dim=(1, 2, 3)) + _FLOOR
    correlations = [
        (unit[:, :, *one] * unit[:, :, *other]).mean(dim=(1, 2, 3)) / energy for one, other in moves
    ]
    return torch.stack(correlations).relu().mean(dim=0)
