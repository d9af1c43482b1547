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


def periodicity(unit: Tensor, near: int = 8) -> Tensor:
    """How much the perturbation repeats itself anywhere, [B], at least 0.

    ``log(1 + F / N)``, where N is the sum of the squared autocorrelation over moves of less than
    ``near`` pixels down and across, the grain of the perturbation, and F the sum over all others.
    Noise gives 0.3 to 0.7 whatever its grain, a lattice the logarithm of how many of its cells fit
    in. A lattice is easy to see, and easy to estimate and subtract; and a network of some stride
    draws one by itself where photos are flat, or when one pattern is good enough for all photos.

    Args:
        unit: [B, 3, H, W] with H and W above twice ``near``.
        near: in pixels.
    """
    height, width = unit.shape[2:]
    power = torch.fft.rfft2(unit).abs().square().sum(dim=1)
    product = torch.fft.irfft2(power, s=(height, width))
    square = (product / (product[:, :1, :1] + _FLOOR)).square()
    down, across = (torch.arange(side, device=unit.device) for side in (height, width))
    close_down = torch.minimum(down, height - down)[:, None] < near
    close_across = torch.minimum(across, width - across)[None] < near
    grain = (square * (close_down & close_across)).sum(dim=(1, 2))
    return torch.log1p((square.sum(dim=(1, 2)) - grain) / (grain + _FLOOR))
