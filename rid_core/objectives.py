"""What a defender is trained for, and what it costs to see it.

Objectives return one value per image, lower is better, so that the caller weighs and averages.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rid_core.surrogates import DiffusionSurrogate, relative_shift

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


def feature_shift(references: Sequence[Tensor], shifted: Sequence[Tensor]) -> Tensor:
    """:func:`encoder_shift` over several layers of an encoder, averaged, [B].

    What disturbs inner layers transfers better to other encoders than what disturbs the last one
    (feature-level attacks: Naseer et al., arXiv 1811.09020; Huang et al., arXiv 1907.10823).

    Args:
        references: features of the clean photos by layer, [B, ...] each.
        shifted: features of the same, protected; carry the gradient.
    """
    pairs = zip(references, shifted, strict=True)
    return torch.stack([encoder_shift(one, other) for one, other in pairs]).mean(dim=0)


def targeted_latent(latent: Tensor, target: Tensor) -> Tensor:
    """Pull the latent to a target's: mean squared distance, [B].

    The targeted encoder attack of PhotoGuard (target 0, arXiv 2302.06588) and the textural loss of
    Mist (the latent of a picture, arXiv 2305.12683).

    Args:
        latent: of the protected photos, [B, C, h, w]; carries the gradient.
        target: what they shall become, [1, C, h, w] or [B, C, h, w].
    """
    return (latent - target).square().mean(dim=(1, 2, 3))


def adversarial_score_distillation(
    surrogate: DiffusionSurrogate, latent: Tensor, noise: Tensor, t: Tensor
) -> Tensor:
    """Adv-SDS, equation 9 of the RID paper (arXiv 2412.09844), [B].

    With ``z_t`` the noised latent, ``e_hat`` the predicted noise and ``w`` the share of the noise,
    ``0.5 * mean((z_t - stopgrad(z_t + w (e_hat - e)))**2)``. Descending it moves the latent along
    ``e_hat - e``, away from what the model finds likely: score distillation upside down. The
    network is never differentiated; the gradient reaches the photo through the encoder alone, and
    is ``signal_t * w * (e - e_hat)`` per latent value, over their number.

    Args:
        surrogate: which model.
        latent: of the protected photos, [B, C, h, w]; carries the gradient.
        noise: standard normal, like ``latent``.
        t: timesteps, int64 [B].
    """
    noisy = surrogate.add_noise(latent, noise, t)
    fixed = noisy.detach()
    weight = surrogate.noise_variance(t).to(latent)
    target = fixed + weight * (surrogate.predict_noise(fixed, t) - noise)
    return 0.5 * (noisy - target).square().mean(dim=(1, 2, 3))


def denoising_failure(
    surrogate: DiffusionSurrogate, latent: Tensor, noise: Tensor, t: Tensor
) -> Tensor:
    """Minus the model's training loss, differentiated through the network, [B].

    The objective of AdvDM (Liang et al., arXiv 2302.04578), and of Anti-DreamBooth's attack steps.

    Args:
        surrogate: which model.
        latent: of the protected photos, [B, C, h, w]; carries the gradient.
        noise: standard normal, like ``latent``.
        t: timesteps, int64 [B].
    """
    return -surrogate.denoising_loss(latent, noise, t)


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
    ``near`` pixels down and across, the grain of the perturbation, and F the sum over all others;
    of the perturbation itself plus of its outlines. The second catches cells that differ in colour
    and sign but lie on a lattice: their borders repeat, and the eye sees borders first. Noise gives
    0.3 to 0.7 each, whatever its grain, a lattice the logarithm of how many of its cells fit in.
    A lattice is easy to see, and easy to estimate and subtract; and a network of some stride draws
    one by itself where photos are flat, or when one pattern is good enough for all photos.

    Args:
        unit: [B, 3, H, W] with H and W above twice ``near``.
        near: in pixels.
    """
    return _repetition(unit, near) + _repetition(_outlines(unit), near)


def _outlines(unit: Tensor) -> Tensor:
    """Length of the local gradient over all colours, its mean removed, [B, 1, H - 1, W - 1]."""
    corner = unit[..., 1:, 1:]
    down, across = corner - unit[..., :-1, 1:], corner - unit[..., 1:, :-1]
    length = ((down.square() + across.square()).sum(dim=1, keepdim=True) + _FLOOR).sqrt()
    return length - length.mean(dim=(2, 3), keepdim=True)


def _repetition(signal: Tensor, near: int) -> Tensor:
    """``log(1 + F / N)`` of :func:`periodicity` for a signal, [B, C, H, W] -> [B]."""
    height, width = signal.shape[2:]
    power = torch.fft.rfft2(signal).abs().square().sum(dim=1)
    product = torch.fft.irfft2(power, s=(height, width))
    square = (product / (product[:, :1, :1] + _FLOOR)).square()
    down, across = (torch.arange(side, device=signal.device) for side in (height, width))
    close_down = torch.minimum(down, height - down)[:, None] < near
    close_across = torch.minimum(across, width - across)[None] < near
    grain = (square * (close_down & close_across)).sum(dim=(1, 2))
    return torch.log1p((square.sum(dim=(1, 2)) - grain) / (grain + _FLOOR))
