"""What an artefact's perturbation still does to a surrogate, beside what the float network's does.

Fidelity in dB says that two perturbations are alike; this says that they are alike where it counts.
It holds for the surrogate it was measured on, and for no other.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rid_core.budget import Budget

if TYPE_CHECKING:
    from torch import Tensor


class LatentShift:
    """``shift(portrait, unit)``: the relative latent shift of the protected, saved portrait.

    See :func:`rid_core.surrogates.relative_shift`. The portrait is protected in whole 8-bit levels,
    as it would be published.
    """

    def __init__(self, surrogate: Path, levels: int) -> None:
        """Load the surrogate.

        Args:
            surrogate: file of the encoder of a TAESD-family autoencoder.
            levels: the bound.

        Raises:
            RidError: the file is missing, damaged, or holds another network.
        """
        from rid_core.surrogates import load_surrogate

        self._encoder = load_surrogate("tiny-autoencoder", path=surrogate)
        self.name = self._encoder.name
        self._budget = Budget(levels)
        # Many pictures come again: the clean portraits, and what the float network makes of them.
        self._latents: dict[bytes, Tensor] = {}

    def _encode(self, pixels: np.ndarray) -> Tensor:
        import torch

        key = hashlib.sha256(pixels.tobytes()).digest()
        if key not in self._latents:
            batch = torch.from_numpy(pixels.astype(np.float32) / np.float32(255))
            with torch.inference_mode():
                self._latents[key] = self._encoder.encode(batch.permute(2, 0, 1)[None])
        return self._latents[key]

    def __call__(self, portrait: np.ndarray, unit: np.ndarray) -> float:
        """Shift for a float32 portrait [H, W, 3] in [0, 1] and its unit perturbation."""
        from rid_core.surrogates import relative_shift

        pixels = np.rint(portrait * 255).astype(np.uint8)
        saved = self._budget.apply_uint8(pixels, unit)
        return float(relative_shift(self._encode(pixels), self._encode(saved))[0])
