"""Ways to look at few photos, so that ranges and int8 forms hold for many.

Crops, mirror images, exposures and tones: what a network sees in other light is where its 8-bit
grids end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rid_core.image import tiling

_SEED = 20250117


@dataclass(frozen=True)
class View:
    """A deterministic way to look at a portrait, different enough to be another test.

    Attributes:
        scale: side of the square that is cut out, as a share of the portrait's shorter side.
        x: where the square lies horizontally, from 0 (left) to 1 (right).
        y: where it lies vertically, from 0 (top) to 1 (bottom).
        flip: whether it is mirrored.
        exposure: factor in linear light, about ``value ** 2.2``; 1 changes nothing.
    """

    scale: float = 1.0
    x: float = 0.5
    y: float = 0.5
    flip: bool = False
    exposure: float = 1.0

    def apply(self, pixels: np.ndarray, side: int) -> np.ndarray:
        """uint8 RGB [H, W, 3] -> uint8 RGB [side, side, 3]."""
        height, width = pixels.shape[:2]
        size = max(round(min(height, width) * self.scale), 1)
        top, left = round((height - size) * self.y), round((width - size) * self.x)
        square = pixels[top : top + size, left : left + size]
        if self.flip:
            square = square[:, ::-1]
        if size != side:
            square = tiling.resample(np.ascontiguousarray(square), side, side)
        levels: np.ndarray = np.rint(square).clip(0, 255).astype(np.uint8)
        return np.ascontiguousarray(tone_curve(self.exposure)[levels])


def tone_curve(exposure: float, gamma: float = 1.0) -> np.ndarray:
    """uint8 [256]: what becomes of each 8-bit level by an exposure in linear light and a gamma."""
    unit = np.arange(256) / 255 * exposure ** (1 / 2.2)
    curve: np.ndarray = np.rint(255 * np.clip(unit, 0, 1) ** gamma).astype(np.uint8)
    return curve


def draw_tones(random: np.random.Generator) -> np.ndarray:
    """uint8 [3, 256], a curve per colour: exposure, contrast and colour temperature by chance."""
    exposure = np.exp(random.uniform(np.log(0.4), np.log(2.0)))
    gamma = float(np.exp(random.uniform(-0.3, 0.3)))
    warmth = np.exp(random.uniform(-0.25, 0.25))
    gains = (warmth, 1, 1 / warmth)
    return np.stack([tone_curve(float(exposure * gain), gamma) for gain in gains])


def spread(photos: Sequence[np.ndarray], count: int, side: int) -> np.ndarray:
    """Many views of few photos; the same photos give the same views.

    Args:
        photos: uint8 RGB [H, W, 3], of any sizes.
        count: how many views.
        side: their height and width in pixels.

    Returns:
        uint8 [count, side, side, 3]: every photo first as its centre square, then crops, mirror
        images, exposures and tones of the photos in turn.
    """
    views = np.empty((count, side, side, 3), np.uint8)
    random = np.random.default_rng(_SEED)
    for index in range(count):
        chosen = photos[index % len(photos)]
        if index < len(photos):
            views[index] = View().apply(chosen, side)
        else:
            views[index] = _augmented(chosen, side, random)
    return views


def _augmented(pixels: np.ndarray, side: int, random: np.random.Generator) -> np.ndarray:
    """A random crop, mirrored or not, of another tone."""
    view = View(
        scale=float(random.uniform(0.4, 1.0)),
        x=float(random.random()),
        y=float(random.random()),
        flip=bool(random.random() < 0.5),
    )
    square = view.apply(pixels, side)
    for colour, curve in enumerate(draw_tones(random)):
        square[..., colour] = curve[square[..., colour]]
    return square
