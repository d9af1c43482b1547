"""A picture to judge a protected photo by: original, protected, amplified perturbation."""

from __future__ import annotations

import numpy as np

from rid_core.errors import RidError
from rid_core.image import tiling

AMPLIFICATION = 16
"""How many times the change is enlarged; 8 levels then reach from black to white."""
PANEL_SIDE = 768
"""Longest side of a panel, in pixels; smaller photos are not enlarged."""


def sheet(original: np.ndarray, protected: np.ndarray) -> np.ndarray:
    """Original, protected and ``128 + AMPLIFICATION * (protected - original)``, side by side.

    Photos are scaled down as an attacker does it, and the change before it is amplified: the third
    panel shows what is left at this size, and grey is no change.

    Args:
        original: uint8 RGB [H, W, 3].
        protected: uint8, same shape.

    Returns:
        uint8 [h, 3 w, 3], the longer of h and w at most ``PANEL_SIDE``.

    Raises:
        RidError: other shapes or dtypes.
    """
    if original.dtype != np.uint8 or protected.dtype != np.uint8:
        raise RidError("a comparison is made of 8-bit images; convert both to uint8 first")
    if original.shape != protected.shape or original.ndim != 3:
        raise RidError(f"images differ in shape: {original.shape} and {protected.shape}")
    height, width = original.shape[:2]
    longest = max(height, width)
    if longest > PANEL_SIDE:
        height, width = (
            max((2 * side * PANEL_SIDE + longest) // (2 * longest), 1) for side in (height, width)
        )
    before = tiling.resample(original, height, width)
    after = tiling.resample(protected, height, width)
    panels = np.concatenate([before, after, 128 + AMPLIFICATION * (after - before)], axis=1)
    result: np.ndarray = np.floor(panels + np.float32(0.5)).clip(0, 255).astype(np.uint8)
    return result
