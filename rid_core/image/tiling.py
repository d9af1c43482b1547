"""Geometry of photos that are not 512 x 512: scale, cover with tiles, blend, scale back.

Everything here is plain arithmetic on integers and float32 arrays, specified to the last rounding,
because the apps repeat it in Kotlin, Swift and TypeScript and are held against the same vectors.
``//`` is integer division rounding down. All pixel centres are at half-integers: pixel ``i`` covers
[i, i + 1) and its centre is i + 0.5 (what torch calls ``align_corners=False``).

**Scale** (:func:`working_size`). The short side becomes ``short``; the long side
``(2 * long * short + side) // (2 * side)``, ``side`` being the short side before.

**Filter** (:func:`taps`, :func:`resample`). The triangle filter, one axis after the other, from
``n`` to ``m`` samples: ``scale = n / m``, ``support = max(scale, 1)``, and for output ``i``:

* ``centre = (i + 0.5) * scale``
* taps are the ``j`` from ``max(floor(centre - support + 0.5), 0)`` to
  ``min(floor(centre + support + 0.5), n) - 1``
* ``weight(j) = max(1 - |j + 0.5 - centre| / support, 0)``, divided by the sum over the taps.

Going down this is the antialiased bilinear resize of Pillow and torchvision, which is what training
scripts apply to a photo; going up it is plain bilinear interpolation that repeats the edge; from
``n`` to ``n`` it copies. Weights are computed in float64 and stored in float32, sums run in float32
over ascending ``j``. A height that shrinks is done before the width, one that grows after it: the
array in between is then the smaller of the two choices.

**Sharpen** (:func:`sharpen`). Enlarging by plain interpolation and scaling down again with the
triangle filter leaves ``(x[i - 1] + 4 x[i] + x[i + 1]) / 6`` of a perturbation ``x``, on each axis.
So before it is enlarged, and only then, it is replaced by ``(5 x[i] - x[i - 1] - x[i + 1]) / 3``,
edges repeated, first along each column (``i`` counts rows), then along each row, and at the end
clipped to [-1, 1]. But for the clip, waves of three pixels and longer then come through with 0.98
to 1.13 of their strength.

**Tiles** (:func:`starts`). A side of ``length >= tile`` gets, with ``feather = tile // 8``:

* ``count = 1`` if ``length == tile``, else ``ceil((length - feather) / (tile - feather))``
* tile ``k`` starts at ``k * (length - tile) // (count - 1)``: the first touches one edge, the
  last the other, and neighbours overlap by ``feather`` or more.

**Blend** (:func:`weights`). Between tiles ``k`` and ``k + 1`` a linear ramp of ``feather`` pixels
runs in the middle of their overlap:

* ``ramp = (start[k] + tile + start[k + 1] - feather) // 2``
* at pixel ``x`` tile ``k + 1`` has ``w = clamp((x - ramp + 0.5) / feather, 0, 1)``, and tile
  ``k`` has ``1 - w``.

In two dimensions a tile's weight is that of its rows times that of its columns.
With ``tile = 512`` all weights are multiples of 1/128, so their sums are exactly 1 in float32 and a
blend of perturbations in [-1, 1] stays in [-1, 1].

The ramp is short on purpose. Two tiles predict different perturbations for the same pixel, and
where two unrelated patterns are mixed half and half, half of their energy is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_FEATHER_SHARE = 8
_STRIP = 64


def working_size(height: int, width: int, short: int = 512) -> tuple[int, int]:
    """Height and width at the working scale: the short side becomes ``short``.

    >>> working_size(3024, 4032)
    (512, 683)
    """
    side = min(height, width)

    def scale(length: int) -> int:
        return (2 * length * short + side) // (2 * side)

    return scale(height), scale(width)


def starts(length: int, tile: int = 512) -> list[int]:
    """First pixel of each tile along a side of ``length`` pixels.

    >>> starts(683)
    [0, 171]

    Raises:
        ValueError: the side is shorter than a tile.
    """
    if length < tile:
        raise ValueError(f"a side of {length} pixels holds no tile of {tile}")
    if length == tile:
        return [0]
    feather = tile // _FEATHER_SHARE
    count = -((feather - length) // (tile - feather))
    return [k * (length - tile) // (count - 1) for k in range(count)]


def weights(length: int, tile: int = 512) -> list[np.ndarray]:
    """Blending weights along a side, one float32 array [tile] in [0, 1] per tile.

    Laid out at :func:`starts` they add up to 1 at every pixel.
    """
    first = starts(length, tile)
    feather = tile // _FEATHER_SHARE
    result = [np.ones(tile, np.float32) for _ in first]
    for k in range(len(first) - 1):
        ramp = (first[k] + tile + first[k + 1] - feather) // 2
        x = np.arange(length, dtype=np.float32)
        rise = ((x - ramp + np.float32(0.5)) / np.float32(feather)).clip(0, 1)
        # Ramps never meet (see the tests), so of two factors one is always exactly 1.
        result[k] *= 1 - rise[first[k] : first[k] + tile]
        result[k + 1] *= rise[first[k + 1] : first[k + 1] + tile]
    return result


@dataclass(frozen=True)
class Tile:
    """One tile of a tiling.

    Attributes:
        rows: its rows in the image.
        columns: its columns in the image.
        weight: its share of the blend, float32 [tile, tile, 1] in [0, 1].
    """

    rows: slice
    columns: slice
    weight: np.ndarray


def tiles(height: int, width: int, tile: int = 512) -> Iterator[Tile]:
    """Squares of ``tile`` x ``tile`` that cover an image, row by row from the top left.

    Raises:
        ValueError: a side is shorter than a tile.
    """
    columns = list(zip(starts(width, tile), weights(width, tile), strict=True))
    for top, down in zip(starts(height, tile), weights(height, tile), strict=True):
        for left, across in columns:
            weight = (down[:, None] * across)[:, :, None]
            yield Tile(slice(top, top + tile), slice(left, left + tile), weight)


def taps(n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    """The triangle filter from ``n`` to ``m`` samples.

    Returns:
        Indices int64 [m, K] into the ``n`` samples and weights float32 [m, K]. A row with fewer
        than K taps is filled up with weight 0.
    """
    scale = n / m
    support = max(scale, 1.0)
    centre = (np.arange(m) + 0.5) * scale
    low = np.maximum(np.floor(centre - support + 0.5), 0).astype(np.int64)
    high = np.minimum(np.floor(centre + support + 0.5), n).astype(np.int64)
    index = low[:, None] + np.arange(int((high - low).max()))
    weight = np.maximum(1 - np.abs(index + 0.5 - centre[:, None]) / support, 0)
    weight[index >= high[:, None]] = 0
    weight /= weight.sum(axis=1, keepdims=True)
    used = int((weight > 0).any(axis=0).nonzero()[0].max()) + 1
    return np.minimum(index, n - 1)[:, :used], weight[:, :used].astype(np.float32)


def resample(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Scale an image with the triangle filter.

    Args:
        image: uint8 or float32 [H, W, C].
        height: wanted height.
        width: wanted width.

    Returns:
        float32 [height, width, C] in the units of ``image``.
    """
    result = np.empty((height, width, image.shape[2]), np.float32)
    for rows, strip in resample_strips(image, height, width):
        result[rows] = strip
    return result


def resample_strips(
    image: np.ndarray, height: int, width: int
) -> Iterator[tuple[slice, np.ndarray]]:
    """:func:`resample` from top to bottom, a strip of rows at a time.

    Yields:
        The rows and their float32 [rows, width, C].
    """
    across = taps(image.shape[1], width)
    down = taps(image.shape[0], height)
    shrinks = height < image.shape[0]
    source = image if shrinks else _filter_columns(image, *across)
    for top in range(0, height, _STRIP):
        rows = slice(top, min(top + _STRIP, height))
        strip = _filter_rows(source, down[0][rows], down[1][rows])
        yield rows, _filter_columns(strip, *across) if shrinks else strip


def sharpen(unit: np.ndarray) -> np.ndarray:
    """Make up for what enlarging and scaling down again takes from a perturbation.

    Args:
        unit: float32 [H, W, C] in [-1, 1].

    Returns:
        The same shape and range.
    """
    padded = np.pad(unit, ((1, 1), (0, 0), (0, 0)), mode="edge")
    unit = (5 * unit - padded[:-2] - padded[2:]) / 3
    padded = np.pad(unit, ((0, 0), (1, 1), (0, 0)), mode="edge")
    unit = (5 * unit - padded[:, :-2] - padded[:, 2:]) / 3
    return unit.clip(-1, 1)


def _filter_rows(image: np.ndarray, index: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """[H, W, C] -> float32 [m, W, C] with taps [m, K]."""
    result = np.zeros((len(index), *image.shape[1:]), np.float32)
    for k in range(index.shape[1]):
        result += weight[:, k, None, None] * image[index[:, k]]
    return result


def _filter_columns(image: np.ndarray, index: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """[H, W, C] -> float32 [H, m, C] with taps [m, K]."""
    result = np.zeros((image.shape[0], len(index), image.shape[2]), np.float32)
    for top in range(0, len(image), _STRIP):
        rows = slice(top, top + _STRIP)
        for k in range(index.shape[1]):
            result[rows] += weight[None, :, k, None] * image[rows].take(index[:, k], axis=1)
    return result
