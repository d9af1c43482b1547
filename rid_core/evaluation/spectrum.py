"""The spectrum of a perturbation: a grid that repeats shows as peaks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rid_core.files import replacing

_REACH = 7


def power_spectrum(unit: Tensor) -> np.ndarray:
    """Mean power over images and colours, [H, W] float64, zero frequency in the centre.

    Args:
        unit: [B, 3, H, W]; a Hann window keeps the border from leaking into the axes.
    """
    height, width = unit.shape[2:]
    window = torch.outer(
        torch.hann_window(height, periodic=False), torch.hann_window(width, periodic=False)
    )
    power = torch.fft.fft2(unit.double() * window.double()).abs().square().mean(dim=(0, 1))
    shifted: np.ndarray = torch.fft.fftshift(power).numpy()
    return shifted


def spectral_peak(power: np.ndarray) -> float:
    """How far the strongest frequency stands out from its neighbours, in dB.

    Each bin is divided by the median of the 15 x 15 bins around it, so that a perturbation may put
    its energy at whatever scale and direction it likes without counting as a grid, while a pattern
    that repeats is a single bright bin. Random signs on 16 images give 4 to 5 dB: that is chance.
    """
    side = 2 * _REACH + 1
    around = np.lib.stride_tricks.sliding_window_view(
        np.pad(power, _REACH, mode="wrap"), (side, side)
    )
    median = np.median(around.reshape(*power.shape, -1), axis=2)
    row, column = np.ogrid[: power.shape[0], : power.shape[1]]
    radius = np.hypot(row - power.shape[0] // 2, column - power.shape[1] // 2)
    # The mean and the slowest waves are no grid, and the window smears them into each other.
    ratio = np.where(radius > _REACH, power / np.maximum(median, 1e-30), 1)
    return 10 * float(np.log10(ratio.max()))


def plot_spectra(spectra: dict[str, np.ndarray], path: str | Path) -> None:
    """Draw spectra side by side on one scale in dB, each with its peak in the title."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(spectra), 4.4), layout="constrained")
    axes = figure.subplots(1, len(spectra), squeeze=False)[0]
    for axis, (name, power) in zip(axes, spectra.items(), strict=True):
        decibels = 10 * np.log10(power / power.mean() + 1e-12)
        shown = axis.imshow(
            decibels, vmin=-20, vmax=20, cmap="magma", extent=(-0.5, 0.5, -0.5, 0.5)
        )
        axis.set_title(f"{name}\npeak {spectral_peak(power):.1f} dB over its surroundings")
        axis.set_xlabel("cycles per pixel")
    figure.colorbar(shown, ax=list(axes), label="power over its mean, dB", shrink=0.8)
    with replacing(path) as fresh:
        figure.savefig(fresh, dpi=110)
