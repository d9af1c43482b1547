"""Ranges of activations: what an integer tensor has to reach from, and to.

The whole range, from the smallest to the largest value seen, spends most of 256 steps on a few
outliers. The range that is chosen here makes the mean square error smallest: rounding errors of the
many against clipping errors of the few. Errors may be weighted, by what becomes of them further on.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

_PER_IMAGE = 4096
_BINS = 2048
_COARSE = np.linspace(0.1, 1.0, 10)
_FINE = np.linspace(-0.08, 0.08, 5)


@dataclass
class _Samples:
    low: float = 0.0
    high: float = 0.0
    total: np.ndarray | float = 0.0
    values: list[np.ndarray] = field(default_factory=list)
    weights: list[np.ndarray] = field(default_factory=list)


class RangeCollector:
    """Collects what tensors hold over the calibration images, in bounded memory.

    Of every tensor and image a fixed number of values is kept; smallest and largest are exact.
    """

    def __init__(self) -> None:
        self._seen: dict[str, _Samples] = {}
        self._random = np.random.default_rng(0)

    def add(
        self, name: str, values: np.ndarray, channel: int = -1, weights: np.ndarray | None = None
    ) -> None:
        """Add one image's values of a tensor.

        Args:
            name: of the tensor.
            values: any shape.
            channel: axis of channels.
            weights: what a squared error of each value counts, same shape; all the same if None.
        """
        flat = values.reshape(-1)
        seen = self._seen.setdefault(name, _Samples())
        others = tuple(axis for axis in range(values.ndim) if axis != channel % values.ndim)
        seen.total = seen.total + values.mean(axis=others, dtype=np.float64)
        seen.low, seen.high = min(seen.low, float(flat.min())), max(seen.high, float(flat.max()))
        chosen = np.arange(flat.size)
        if flat.size > _PER_IMAGE:
            # At random: even steps would meet the same channels again and again.
            chosen = self._random.integers(0, flat.size, _PER_IMAGE)
        seen.values.append(flat[chosen].astype(np.float32))
        if weights is not None:
            seen.weights.append(weights.reshape(-1)[chosen].astype(np.float32))

    def means(self, name: str) -> np.ndarray:
        """Mean of every channel of a tensor."""
        seen = self._seen[name]
        return np.asarray(seen.total / len(seen.values))

    def ranges(self, bits: int) -> dict[str, tuple[float, float]]:
        """Lowest and highest value that each tensor should reach; 0 always lies between.

        Args:
            bits: of the integers; 16 have steps to spare for the whole range.
        """
        found = {}
        for name, seen in self._seen.items():
            if bits > 8 or seen.low == seen.high:
                found[name] = (seen.low, seen.high)
            else:
                weights = np.concatenate(seen.weights) if seen.weights else None
                found[name] = best_range(np.concatenate(seen.values), seen.low, seen.high, weights)
        return found


def best_range(
    values: np.ndarray,
    low: float,
    high: float,
    weights: np.ndarray | None = None,
    levels: int = 256,
) -> tuple[float, float]:
    """The range of least mean square error, searched in shares of ``low`` and ``high``.

    Args:
        values: a sample, any number of them.
        low: smallest value seen, at most 0.
        high: largest, at least 0.
        weights: what a squared error of each value counts.
        levels: number of integers.

    Returns:
        A range inside ``low .. high`` that holds 0.
    """
    if weights is not None and not weights.any():
        weights = None
    counts, edges = np.histogram(values, _BINS, (low, high), weights=weights)
    used = counts > 0
    counts, centres = counts[used], ((edges[:-1] + edges[1:]) / 2)[used]

    def error(shares: tuple[float, float]) -> float:
        bottom, top = low * shares[0], high * shares[1]
        scale = (top - bottom) / (levels - 1)
        zero = np.rint(-bottom / scale)
        stored = np.clip(np.rint(centres / scale) + zero, 0, levels - 1)
        return float(counts @ np.square((stored - zero) * scale - centres))

    def around(least: float, steps: np.ndarray, used: bool) -> np.ndarray:
        return np.clip(least + steps, 0.02, 1.0) if used else np.ones(1)

    best = (0.0, 0.0)
    for steps in (_COARSE, _FINE):
        first, second = around(best[0], steps, low < 0), around(best[1], steps, high > 0)
        best = min(((float(a), float(b)) for a in first for b in second), key=error)
    return low * best[0], high * best[1]
