"""Noise that is held against a protection: of the same bound, and of the same spectrum too."""

from __future__ import annotations

import numpy as np

_ROUNDS = 30


def random_signs(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Independent signs at the full bound, float32 of -1 and 1: the floor."""
    drawn = np.random.default_rng([seed, 1]).integers(0, 2, shape)
    return (drawn * 2 - 1).astype(np.float32)


def random_phase(unit: np.ndarray, seed: int) -> np.ndarray:
    """Noise with a perturbation's spectrum and its very values, in other places.

    Phases are random, the same for the three colours, so that their relation stays; then spectrum
    and values are set in turn (iterated amplitude adjusted Fourier transform, Schreiber and
    Schmitz, Phys. Rev. Lett. 77, 1996), values last: bound and energy are exactly the
    perturbation's, the spectrum nearly. What it does less than the perturbation is what the
    perturbation knows of the photo and of the model.

    Args:
        unit: a perturbation in [-1, 1], [H, W, 3].
        seed: of the phases.

    Returns:
        float32, same shape; a rearrangement of the values of each colour.
    """
    height, width = unit.shape[:2]
    spectrum = np.fft.fft2(unit.astype(np.float64), axes=(0, 1))
    magnitude = np.abs(spectrum)
    # The transform of real noise has the symmetry that keeps the result real.
    white = np.random.default_rng([seed, 2]).standard_normal((height, width))
    turn = np.exp(1j * np.angle(np.fft.fft2(white)))[:, :, None]
    noise = np.fft.ifft2(spectrum * turn, axes=(0, 1)).real
    ordered = np.sort(unit.reshape(-1, 3).astype(np.float64), axis=0)
    for _ in range(_ROUNDS):
        noise = _with_values(noise, ordered)
        phase = np.angle(np.fft.fft2(noise, axes=(0, 1)))
        noise = np.fft.ifft2(magnitude * np.exp(1j * phase), axes=(0, 1)).real
    return _with_values(noise, ordered).astype(np.float32)


def _with_values(noise: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """The ranks of ``noise``, the values of ``ordered`` [H * W, 3]."""
    flat = noise.reshape(-1, 3)
    result = np.empty_like(flat)
    for colour in range(3):
        result[np.argsort(flat[:, colour], kind="stable"), colour] = ordered[:, colour]
    return result.reshape(noise.shape)
