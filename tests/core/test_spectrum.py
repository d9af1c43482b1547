from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image

from rid_core.channel import blur
from rid_core.evaluation.spectrum import plot_spectra, power_spectrum, spectral_peak


def test_a_grid_stands_out_and_coloured_noise_does_not() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(8, 3, 128, 128, generator=generator)
    coloured = blur(noise, 1.5)
    cell = torch.randn(1, 3, 8, 8, generator=generator).repeat(8, 1, 16, 16)
    grid = noise + 0.3 * cell
    peaks = [spectral_peak(power_spectrum(x)) for x in (noise, coloured, grid)]
    assert peaks[0] < 5
    assert peaks[1] < 7
    assert peaks[2] > 12


def test_power_sits_where_the_wave_is() -> None:
    x = torch.arange(64).float()
    wave = torch.cos(2 * torch.pi * x / 8).expand(1, 3, 64, 64)
    power = power_spectrum(wave)
    row, column = divmod(int(power.argmax()), 64)
    assert (row, abs(column - 32)) == (32, 8)


def test_pictures_are_written_whole(tmp_path: Path) -> None:
    power = power_spectrum(torch.randn(1, 3, 32, 32))
    plot_spectra({"one": power, "other": power}, tmp_path / "spectra.png")
    assert Image.open(tmp_path / "spectra.png").width > 400
    assert [p.name for p in tmp_path.iterdir()] == ["spectra.png"]
