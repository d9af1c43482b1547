"""Relative latent shift of protected portraits, with what it is worth only beside: the shift by
random signs and by slow methods at the same bound, after the channel, and how visible each is.

The shift is a proxy: it says how far an encoder's latent moved, not what personalization makes of
it, and it holds for the encoders it was measured on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rid_core.budget import Budget
from rid_core.channel import Step, real_jpeg, resize_and_back, round_to_levels
from rid_core.defenders import Defender
from rid_core.evaluation.metrics import training_loss
from rid_core.evaluation.spectrum import power_spectrum, spectral_peak
from rid_core.imagewise import protect
from rid_core.objectives import bordering, cellularity, dissimilarity
from rid_core.surrogates import Ensemble, Surrogate, has_denoiser, relative_shift
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
        denoising: by diffusion model, how many times its clean value the training loss is, see
            :func:`rid_core.evaluation.metrics.denoising_rise`; mean over images.
    """

    psnr: float
    ssim: float
    rms_levels: float
    spectral_peak_db: float
    cellularity: float
    bordering: float
    shift: dict[str, dict[str, Shift]] = field(default_factory=dict)
    denoising: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """One protection against another, at the same bound on the same photos.

    Attributes:
        shift: from the clean photo after the same step, as a multiple of the other's; by encoder,
            then by step of the channel.
        ssim: this one's less the other's.
        denoising: the rise of the training loss above its clean value as a share of the other's, by
            diffusion model; NaN where the other does not raise it.
    """

    shift: dict[str, dict[str, float]]
    ssim: float
    denoising: dict[str, float]


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


def slow_protection(
    method: str, surrogate: Surrogate, budget: Budget, settings: Mapping[str, Any]
) -> Protection:
    """A slow method of :mod:`rid_core.imagewise` on one surrogate as a protection."""
    ensemble = Ensemble([surrogate])
    return lambda image: protect(method, image, ensemble, budget, **settings)


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


@dataclass(frozen=True)
class _Clean:
    """A photo with what every protection of it is held against.

    Attributes:
        image: [1, 3, H, W] in [0, 1].
        latents: after each step of the channel, by encoder.
        losses: training loss by diffusion model.
    """

    image: Tensor
    latents: dict[str, dict[str, Tensor]]
    losses: dict[str, float]

    @classmethod
    def of(cls, image: Tensor, surrogates: Sequence[Surrogate]) -> _Clean:
        """Encode it."""
        return cls(
            image,
            {s.name: _encode_after(s, image) for s in surrogates},
            {s.name: training_loss(s, image) for s in surrogates if has_denoiser(s)},
        )


@dataclass
class _Samples:
    """What is measured of one protection, an entry per image."""

    units: list[Tensor] = field(default_factory=list)
    squares: list[float] = field(default_factory=list)
    similarities: list[float] = field(default_factory=list)
    shifts: list[dict[str, dict[str, tuple[float, float]]]] = field(default_factory=list)
    rises: list[dict[str, float]] = field(default_factory=list)

    def add(
        self, clean: _Clean, unit: Tensor, budget: Budget, surrogates: Sequence[Surrogate]
    ) -> None:
        """Measure one protected photo, in 8 bits."""
        protected = round_to_levels(budget.apply(clean.image, unit))
        self.units.append(unit.cpu())
        self.squares.append((protected - clean.image).square().mean().item())
        self.similarities.append(1 - dissimilarity(clean.image, protected).item())
        shifts = {}
        for s in surrogates:
            before = clean.latents[s.name]
            shifts[s.name] = {
                step: (relative_shift(before["plain"], latent).item(),
                       relative_shift(before[step], latent).item())
                for step, latent in _encode_after(s, protected).items()
            }  # fmt: skip
        self.shifts.append(shifts)
        self.rises.append({
            s.name: training_loss(s, protected) / clean.losses[s.name]
            for s in surrogates if has_denoiser(s)
        })  # fmt: skip

    def row(self) -> tuple[Row, np.ndarray]:
        """Means over the images, and the mean power spectrum of the perturbation."""
        perturbations = torch.cat(self.units)
        power = power_spectrum(perturbations)
        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            torch.manual_seed(0)
            cells, border = cellularity(perturbations).item(), bordering(perturbations).item()
        row = Row(
            psnr=float(np.mean([-10 * np.log10(max(s, _LEAST)) for s in self.squares])),
            ssim=float(np.mean(self.similarities)),
            rms_levels=float(np.sqrt(np.mean(self.squares)) * 255),
            spectral_peak_db=spectral_peak(power),
            cellularity=cells,
            bordering=border,
            shift={
                encoder: {
                    step: Shift(*np.mean([one[encoder][step] for one in self.shifts], 0).tolist())
                    for step in CHANNELS
                }
                for encoder in self.shifts[0]
            },
            denoising={
                model: float(np.mean([one[model] for one in self.rises])) for model in self.rises[0]
            },
        )
        return row, power


def _encode_after(surrogate: Surrogate, image: Tensor) -> dict[str, Tensor]:
    """Latents after each step of the channel."""
    return {name: surrogate.encode(step(image)) for name, step in CHANNELS.items()}


def measure(
    protections: Mapping[str, Protection],
    images: Sequence[Tensor],
    surrogates: Sequence[Surrogate],
    budget: Budget,
    on_image: Callable[[], None] = lambda: None,
) -> dict[str, tuple[Row, np.ndarray]]:
    """Measure protections on 8-bit results.

    Args:
        protections: what makes the perturbation, by label.
        images: [1, 3, H, W] in [0, 1], one size, one or more.
        surrogates: encoders to measure on; of whole diffusion models the training loss too.
        budget: the bound.
        on_image: called after each protection of each image.

    Returns:
        By label the row, and the mean power spectrum of the perturbation.
    """
    samples = {label: _Samples() for label in protections}
    for image in images:
        with torch.inference_mode():
            clean = _Clean.of(image, surrogates)
        for label, protection in protections.items():
            unit = protection(image)
            with torch.inference_mode():
                samples[label].add(clean, unit, budget, surrogates)
            on_image()
    return {label: found.row() for label, found in samples.items()}


def table(rows: dict[str, Row], floor: str = "random") -> str:
    """Rows as text; after each shift, in brackets, how many times the floor's it is."""
    base = rows[floor]
    encoders = list(base.shift)
    head = ["protection", "PSNR", "SSIM", "peak dB", "cells", "border"]
    head += [f"{encoder} {name}" for encoder in encoders for name in CHANNELS]
    head += [f"{model} denoising" for model in base.denoising]
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
        cells += [f"x{rise:.2f}" for rise in row.denoising.values()]
        lines.append(cells)
    return _aligned(lines)


def compare(row: Row, other: Row) -> Comparison:
    """Hold one protection against another."""
    return Comparison(
        shift={
            encoder: {
                name: own.against_same_channel / other.shift[encoder][name].against_same_channel
                for name, own in by_channel.items()
            }
            for encoder, by_channel in row.shift.items()
        },
        ssim=row.ssim - other.ssim,
        denoising={
            model: (rise - 1) / (other.denoising[model] - 1)
            if other.denoising[model] > 1
            else math.nan
            for model, rise in row.denoising.items()
        },
    )


def comparison_table(compared: Mapping[str, Comparison]) -> str:
    """Comparisons with one and the same other protection as text."""
    first = next(iter(compared.values()))
    head = ["protection", "SSIM"]
    head += [f"{encoder} {name}" for encoder in first.shift for name in CHANNELS]
    lines = [head + [f"{model} denoising" for model in first.denoising]]
    for label, one in compared.items():
        cells = [label, f"{one.ssim:+.3f}"]
        cells += [f"{one.shift[encoder][name]:.2f}" for encoder in one.shift for name in CHANNELS]
        lines.append(cells + [f"{share:.2f}" for share in one.denoising.values()])
    return _aligned(lines)


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    """Rows of cells as text, columns padded."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
