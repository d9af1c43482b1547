"""What a defender is trained for, and what it costs to see it.

Objectives return one value per image, lower is better, so that the caller weighs and averages.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from rid_core.surrogates import DiffusionSurrogate, relative_shift

_FLOOR = 1e-4
_FAINT = 1e-3  # power per pixel
_NOISE = 2.0  # mean square of an exponential variable of mean 1: a bin of white noise's power
_NEAR = 7  # bins to each side that a bin of the spectrum is held against


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
    """How regular the perturbation is, [B], at least 0: a grid is easy to see, and to subtract.

    Two measures, each of the perturbation and of its outlines (cells that differ in colour and sign
    but lie on a lattice have borders that repeat, and the eye sees borders first):

    - In the spectrum, how far single frequencies stand out. Each bin of the power is divided by the
      mean of the 15 x 15 bins around it; noise of any grain has ratios whose mean square is 2 or
      less, and the logarithm of how many times more it is counts. Dividing keeps large blotches,
      whose power lies in low frequencies, from hiding a lattice.
    - In the autocorrelation, how far it reaches: ``log(1 + F / N)``, where N is the sum of its
      square over moves of less than ``near`` pixels, the grain, and F that over all others. It sees
      long stripes, which have broad peaks in the spectrum.

    Noise gives 1 to 1.4 in total, PGD against an encoder 1.5 to 2.4 (where photos repeat, it
    does), a repeated cell 12 and more. A network of some stride draws a lattice by itself where
    photos are flat, or when one pattern is good enough for all photos.

    Args:
        unit: [B, 3, H, W] with H and W of 32 or more.
        near: in pixels.
    """
    signals = unit, _outlines(unit)
    return torch.stack([_peakedness(s) + _reach(s, near) for s in signals]).sum(dim=0)


def cellularity(unit: Tensor, cell: int = 16) -> Tensor:
    """How much the perturbation depends on the place within a cell of the network, scalar.

    A network of some stride draws cell by cell. Its cells may all differ, so that nothing repeats
    (:func:`periodicity` is content), and still be told apart by what lies where in them: bars along
    their borders, stripes in the middle. Without cells a perturbation is stationary: what a filter
    makes of it is equally strong at every place. So random filters of many sizes and colours are
    run over it, the absolute response is averaged over all cells of all photos, place by place, and
    the coefficient of variation of the places counts, as the mean over the filters.

    400 cells give 0.03 to 0.05 for noise of any grain and for PGD, which has no cells, and gave
    0.23 to 0.36 for our networks when they were trained without this price. The filters come from
    torch's global generator, anew in every call: no fixed set of them can be satisfied alone.

    Args:
        unit: [B, 3, H, W] with H and W of at least ``cell`` + 8.
        cell: in pixels; the network's stride or a multiple of it. Its divisors are seen too.
    """
    return _variation(F.conv2d(unit, _random_filters(unit.device)), cell)


def bordering(unit: Tensor, cell: int = 16) -> Tensor:
    """:func:`cellularity` of the outermost cells alone, mean over the four sides, scalar.

    Along the borders of a photo a convolution sees its own padding, the same everywhere: cells can
    be equal there, a row of beads, though all others differ. They are too few to count in the
    whole. 40 cells a side give 0.13 to 0.15 for noise and for PGD; our networks had 0.35 and 0.42
    on the lower and the right side when they were trained without this price.

    Args:
        unit: [B, 3, H, W], multiples of ``cell``, at least ``cell`` + 8.
        cell: see :func:`cellularity`.
    """
    filters = _random_filters(unit.device)
    margin = filters.shape[-1] // 2
    padded = F.pad(unit, [margin] * 4, mode="reflect")
    sides = (torch.rot90(padded, turns, (2, 3))[:, :, : cell + 2 * margin] for turns in range(4))
    return torch.stack([_variation(F.conv2d(side, filters), cell) for side in sides]).mean()


def _variation(response: Tensor, cell: int) -> Tensor:
    """Coefficient of variation of the mean absolute response over the places in a cell, scalar."""
    rows, columns = response.shape[2] // cell, response.shape[3] // cell
    whole = response[:, :, : rows * cell, : columns * cell].abs()
    places = whole.reshape(len(whole), -1, rows, cell, columns, cell)
    places = places.mean(dim=(0, 2, 4)).flatten(1)
    deviation = (places.var(dim=1, correction=0) + _FLOOR**2).sqrt()
    variation: Tensor = (deviation / (places.mean(dim=1) + 100 * _FLOOR)).mean()
    return variation


def _random_filters(device: torch.device, count: int = 32, size: int = 9) -> Tensor:
    """Noise of random grain in Gaussian windows from pixels to the whole ``size``, [N, 3, S, S]."""
    at = torch.arange(size, device=device) - size // 2

    def bells(widths: Tensor) -> Tensor:
        row = torch.exp(-at.square() / (2 * widths[:, None].square()))
        return row[:, :, None] * row[:, None, :]

    window = torch.logspace(-0.2, 0.5, count, device=device)
    grain = 0.3 + 0.5 * window * torch.rand(count, device=device)
    noise = torch.randn(1, 3 * count, size, size, device=device)
    kernel = bells(grain).repeat_interleave(3, dim=0)[:, None]
    grained = F.conv2d(noise, kernel, padding=size // 2, groups=3 * count)
    filters = grained.reshape(count, 3, size, size) * bells(window)[:, None]
    normal: Tensor = filters / filters.flatten(1).norm(dim=1)[:, None, None, None]
    return normal


def universality(unit: Tensor) -> Tensor:
    """How alike the perturbations of different photos are: mean cosine of all pairs, scalar.

    What is the same on every photo can be estimated by averaging protected photos, and subtracted
    from all of them; and what does not look at the photo cannot do as much to it. 0 for a batch of
    one, and where perturbations oppose each other.

    Args:
        unit: [B, 3, H, W].
    """
    if len(unit) < 2:
        return unit.new_zeros(())
    rows = F.normalize(unit.flatten(1), dim=1, eps=1e-3)
    return (
        (rows.sum(dim=0).square().sum() - rows.square().sum()) / (len(unit) * (len(unit) - 1))
    ).clamp(min=0)


def _outlines(unit: Tensor) -> Tensor:
    """Length of the local gradient over all colours, [B, 1, H - 1, W - 1]."""
    corner = unit[..., 1:, 1:]
    down, across = corner - unit[..., :-1, 1:], corner - unit[..., 1:, :-1]
    return ((down.square() + across.square()).sum(dim=1, keepdim=True) + _FLOOR).sqrt()


def _peakedness(signal: Tensor) -> Tensor:
    """Log of the mean square of the whitened power spectrum over noise's, [B, C, H, W] -> [B]."""
    height, width = signal.shape[2:]
    # The window keeps the image's border, which does not repeat, out of the spectrum's axes.
    rows, columns = (
        torch.hann_window(side, periodic=False, device=signal.device) for side in (height, width)
    )
    centred = signal - signal.mean(dim=(2, 3), keepdim=True)
    spectrum = torch.fft.fft2(centred * rows[:, None] * columns)
    power = spectrum.abs().square().sum(dim=1, keepdim=True)
    around = F.avg_pool2d(F.pad(power, (_NEAR,) * 4, mode="circular"), 2 * _NEAR + 1, stride=1)
    # What is 25 dB below full scale is too faint to matter, and too faint to take ratios of.
    ratio = power / (around + _FAINT * height * width)
    return torch.log(ratio.square().mean(dim=(1, 2, 3)).clamp(min=_NOISE) / _NOISE)


def _reach(signal: Tensor, near: int) -> Tensor:
    """``log(1 + F / N)`` of :func:`periodicity`, [B, C, H, W] -> [B]."""
    height, width = signal.shape[2:]
    centred = signal - signal.mean(dim=(2, 3), keepdim=True)
    power = torch.fft.rfft2(centred).abs().square().sum(dim=1)
    product = torch.fft.irfft2(power, s=(height, width))
    square = (product / (product[:, :1, :1] + _FLOOR)).square()
    down, across = (torch.arange(side, device=signal.device) for side in (height, width))
    close_down = torch.minimum(down, height - down)[:, None] < near
    close_across = torch.minimum(across, width - across)[None] < near
    grain = (square * (close_down & close_across)).sum(dim=(1, 2))
    return torch.log1p((square.sum(dim=(1, 2)) - grain) / (grain + _FLOOR))
