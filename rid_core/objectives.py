"""What a defender is trained for.

Objectives return one value per image, lower is better, so that the caller weighs and averages.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rid_core.surrogates import DiffusionSurrogate, relative_shift

FLOOR = 1e-2
"""Shift below which an encoder is no longer pushed much harder than others."""


def log_shift(reference: Tensor, shifted: Tensor, floor: float = FLOOR) -> Tensor:
    """Push the latent away from the clean photo's: ``-log(relative shift + floor)``, [B].

    The encoder attack of PhotoGuard (Salman et al., arXiv 2302.06588), untargeted. The logarithm
    gives every image, every step of the channel and every encoder the same say, however hard it is
    to shift: encoders whose shifts differ ten times need no weights of their own.

    Args:
        reference: latents of the clean photos, as the attacker would have seen them, [B, ...].
        shifted: latents of the same, protected; carries the gradient.
        floor: relative shift that is added; positive.
    """
    return -torch.log(relative_shift(reference, shifted) + floor)


def feature_shift(references: Sequence[Tensor], shifted: Sequence[Tensor]) -> Tensor:
    """:func:`log_shift` over several layers of an encoder, averaged, [B].

    What disturbs inner layers transfers better to other encoders than what disturbs the last one
    (feature-level attacks: Naseer et al., arXiv 1811.09020; Huang et al., arXiv 1907.10823).

    Args:
        references: features of the clean photos by layer, [B, ...] each.
        shifted: features of the same, protected; carry the gradient.
    """
    pairs = zip(references, shifted, strict=True)
    return torch.stack([log_shift(one, other) for one, other in pairs]).mean(dim=0)


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
