"""From samples to figures. Standard library only."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """Figures of one series of durations, in seconds.

    Attributes:
        count: of samples.
        minimum: the fastest.
        median: the middle one.
        p90: 90 % were at most as slow.
        p99: 99 %; with under 100 samples nearly the slowest.
        mean: the arithmetic mean.
        spread: (90th - 10th percentile) / median, without unit: how noisy the machine was.
    """

    count: int
    minimum: float
    median: float
    p90: float
    p99: float
    mean: float
    spread: float

    def scaled(self, factor: float) -> Summary:
        """Of a series whose every duration is ``factor`` times as long."""
        names = ("minimum", "median", "p90", "p99", "mean")
        return dataclasses.replace(self, **{name: getattr(self, name) * factor for name in names})


def threads_text(count: int) -> str:
    """``1 thread``, ``2 threads``."""
    return f"{count} thread{'' if count == 1 else 's'}"


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` (0 to 1) of the sorted ``values`` lie, interpolated.

    Raises:
        ValueError: no values.
    """
    if not values:
        raise ValueError("no samples")
    place = (len(values) - 1) * share
    below = int(place)
    above = min(below + 1, len(values) - 1)
    return values[below] + (values[above] - values[below]) * (place - below)


def middle(values: Sequence[float]) -> float | None:
    """The median of ``values`` in any order; None without any."""
    return percentile(sorted(values), 0.5) if values else None


def summarize(samples: Sequence[float]) -> Summary:
    """Figures of ``samples`` (seconds, in any order), to seven digits.

    Raises:
        ValueError: no samples.
    """
    ordered = sorted(samples)
    median, p90 = percentile(ordered, 0.5), percentile(ordered, 0.9)
    width = p90 - percentile(ordered, 0.1)
    return Summary(
        count=len(ordered),
        minimum=short(ordered[0]),
        median=short(median),
        p90=short(p90),
        p99=short(percentile(ordered, 0.99)),
        mean=short(sum(ordered) / len(ordered)),
        spread=short(width / median if median else 0.0),
    )


def short(value: float) -> float:
    """To seven digits."""
    return float(f"{value:.7g}")
