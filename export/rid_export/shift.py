"""What an artefact's perturbation still does to a surrogate, beside what the float network's does.

Fidelity in dB says that two perturbations are alike; this says that they are alike where it counts.
It holds for the surrogate it was measured on, and for no other.
"""

from __future__ import annotations

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
        # Most calls repeat: the clean portrait, and the float network's perturbation of it.
        self._known: dict[tuple[int, int], tuple[np.ndarray, np.ndarray, float]] = {}
        self._clean: dict[int, tuple[np.ndarray, Tensor]] = {}

    def _encode(self, pixels: np.ndarray) -> Tensor:
        import torch

        batch = torch.from_numpy(pixels.astype(np.float32) / np.float32(255))
        with torch.inference_mode():
            return self._encoder.encode(batch.permute(2, 0, 1)[None])

    def __call__(self, portrait: np.ndarray, unit: np.ndarray) -> float:
        """Shift for a float32 portrait [H, W, 3] in [0, 1] and its unit perturbation."""
        from rid_core.surrogates import relative_shift

        key = (id(portrait), id(unit))
        if key in self._known:  # what is kept alive here cannot lend its id to anything else
            return self._known[key][2]
        pixels = np.rint(portrait * 255).astype(np.uint8)
        if id(portrait) not in self._clean:
            self._clean[id(portrait)] = (portrait, self._encode(pixels))
        clean = self._clean[id(portrait)][1]
        saved = self._budget.apply_uint8(pixels, unit)
        found = float(relative_shift(clean, self._encode(saved))[0])
        self._known[key] = (portrait, unit, found)
        return found
