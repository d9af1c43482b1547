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


def periodicity(unit: Tensor, period: int = 8) -> Tensor:
    """Share of the perturbation's energy that repeats every ``period`` pixels, [B], in [0, 1].

    A pattern that is the same in every cell is easy to see, and easy to estimate and subtract.

    Args:
        unit: [B, 3, H, W]; what H and W exceed a multiple of ``period`` is left out.
        period: in pixels.
    """
    batch, colours, height, width = unit.shape
    rows, columns = height // period, width // period
    cells = unit[:, :, : rows * period, : columns * period]
    cells = cells.reshape(batch, colours, rows, period, columns, period)
    pattern = cells.mean(dim=(2, 4))
    energy = unit.square().mean(dim=(1, 2, 3))
    # A pattern of pure chance keeps 1 / cells of the energy: that much costs nothing.
    share = pattern.square().mean(dim=(1, 2, 3)) / (energy + _FLOOR)
    return torch.relu(share - 1 / (rows * columns))
