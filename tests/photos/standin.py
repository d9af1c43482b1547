"""Defenders of one line in the place of a network, so that tests are about photos and paths."""

from __future__ import annotations

import numpy as np


class Checkerboard:
    """Changes every value by the whole bound, up or down."""

    name = "checkerboard"
    preset = "checkerboard"
    levels = 8
    stride = 16
    fixed_size = 64

    def perturb(self, image: np.ndarray) -> np.ndarray:
        y, x = np.mgrid[:64, :64]
        signs = np.where((x // 8 + y // 8) % 2, 1, -1).astype(np.float32)
        return np.repeat(signs[:, :, None], 3, 2)


class Untrained(Checkerboard):
    """Changes nothing, as a network does before its first step."""

    name = preset = "untrained"

    def perturb(self, image: np.ndarray) -> np.ndarray:
        return np.zeros_like(image)
