"""Relative latent shift of protected portraits, with what it is worth only beside: the shift by
random signs and by slow PGD at the same bound, after the channel, and how visible each is.

The shift is a proxy: it says how far an encoder's latent moved, not what personalization makes of
it, and it holds for the encoders it was measured on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rid_core.budget import Budget
from rid_core.channel import Step, real_jpeg, resize_and_back, round_to_levels
from rid_core.defenders import Defender
from rid_core.evaluation.spectrum import power_spectrum, spectral_peak
from rid_core.imagewise.pgd import encoder_pgd
from rid_core.objectives import bordering, cellularity, dissimilarity
from rid_core.surrogates import Surrogate, relative_shift
from rid_core.training.data import list_portraits, load_rgb, to_tensor

_LEAST = 1e-10
"""Mean squares below this are no change: 100 dB."""

Protection = Callable[[Tensor], Tensor]
"""[1, 3, H, W] in [0, 1] -> unit perturbation."""

CHANNELS: dict[str, Step] = {
    "plain": lambda image: image,
    "jpeg75": lambda image: real_jpeg(image, 75),
    "half": lambda image: resize_and_back(image, 0.5),
}


@dataclass(frozen=True)
class Shift:
    """Effect on one encoder after one step of the channel, means over the images.

    Attributes:
        against_original: shift from the latent of the clean original.
        against_same_channel: shift from the latent of the clean photo after the same step, which
            leaves out what the step does by itself.
    """

    against_original: float
    against_same_channel: float


@dataclass(frozen=True)
class Row:
    """One protection.

    Attributes:
        psnr: dB to the original, mean over images; 100 for no change at all.
        ssim: to the original, mean over images.
        rms_levels: root mean square of the change, in 8-bit levels.
        spectral_peak_db: see :func:`rid_core.evaluation.spectrum.spectral_peak`.
        cellularity: see :func:`rid_core.objectives.cellularity`.
        bordering: see :func:`rid_core.objectives.bordering`.
        shift: by encoder, then by step of the channel.
    """

    psnr: float
    ssim: float
    rms_levels: float
    spectral_peak_db: float
    cellularity: float
    bordering: float
    shift: dict[str, dict[str, Shift]] = field(default_factory=dict)


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


def pgd_protection(surrogate: Surrogate, budget: Budget, steps: int) -> Protection:
    """PGD on one surrogate's encoder as a protection."""
    return lambda image: encoder_pgd(image, surrogate, budget, steps)


def load_images(
    folder: Path, pattern: str, size: int, limit: int | None = None
) -> dict[str, Tensor]:
    """Portraits by path below ``folder``, scaled and cropped to a square, [1, 3, size, size]."""
    paths = [p for p in list_portraits(folder, []) if p.match(pattern)]
    images = {}
    for path in paths[:limit]:
        image = load_rgb(path, size)
        left, top = (image.width - size) // 2, (image.height - size) // 2
        name = path.relative_to(folder).as_posix()
        images[name] = to_tensor(image.crop((left, top, left + size, top + size)))[None]
    return images


def measure(
    protection: Protection,
    images: Sequence[Tensor],
    surrogates: Sequence[Surrogate],
    budget: Budget,
    on_image: Callable[[], None] = lambda: None,
) -> tuple[Row, np.ndarray]:
    """Measure one protection on 8-bit results.

    Args:
        protection: what makes the perturbation.
        images: [1, 3, H, W] in [0, 1], one size.
        surrogates: encoders to measure on.
        budget: the bound.
        on_image: called after each image.

    Returns:
        The row, and the mean power spectrum of the perturbation.
    """
    squares, similarities, units = [], [], []
    shifts: dict[str, dict[str, list[tuple[float, float]]]] = {
        s.name: {name: [] for name in CHANNELS} for s in surrogates
    }
    for image in images:
        unit = protection(image)
        protected = round_to_levels(budget.apply(image, unit))
        units.append(unit.cpu())
        squares.append((protected - image).square().mean().item())
        similarities.append(1 - dissimilarity(image, protected).item())
        with torch.inference_mode():
            for surrogate in surrogates:
                original = surrogate.encode(image)
                for name, step in CHANNELS.items():
                    after = surrogate.encode(step(protected))
                    pair = (
                        relative_shift(original, after).item(),
                        relative_shift(surrogate.encode(step(image)), after).item(),
                    )
                    shifts[surrogate.name][name].append(pair)
        on_image()
    perturbations = torch.cat(units)
    power = power_spectrum(perturbations)
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(0)
        cells, border = cellularity(perturbations).item(), bordering(perturbations).item()
    row = Row(
        psnr=float(np.mean([-10 * np.log10(max(s, _LEAST)) for s in squares])),
        ssim=float(np.mean(similarities)),
        rms_levels=float(np.sqrt(np.mean(squares)) * 255),
        spectral_peak_db=spectral_peak(power),
        cellularity=cells,
        bordering=border,
        shift={
            encoder: {
                name: Shift(*(float(v) for v in np.mean(pairs, axis=0)))
                for name, pairs in by_channel.items()
            }
            for encoder, by_channel in shifts.items()
        },
    )
    return row, power


def table(rows: dict[str, Row], floor: str = "random") -> str:
    """Rows as text; after each shift, in brackets, how many times the floor's it is."""
    base = rows[floor]
    encoders = list(base.shift)
    head = ["protection", "PSNR", "SSIM", "peak dB", "cells", "border"]
    head += [f"{encoder} {name}" for encoder in encoders for name in CHANNELS]
    lines = [head]
    for label, row in rows.items():
        cells = [label, f"{row.psnr:.2f}", f"{row.ssim:.3f}", f"{row.spectral_peak_db:.1f}"]
        cells += [f"{row.cellularity:.2f}", f"{row.bordering:.2f}"]
        for encoder in encoders:
            for name in CHANNELS:
                value, least = row.shift[encoder][name], base.shift[encoder][name]
                ratio = value.against_same_channel / least.against_same_channel
                total = value.against_original / least.against_original
                cells.append(
                    f"{value.against_same_channel:.3f} (x{ratio:.1f})"
                    if name == "plain"
                    else f"{value.against_same_channel:.3f} (x{ratio:.1f}, x{total:.1f})"
                )
        lines.append(cells)
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
