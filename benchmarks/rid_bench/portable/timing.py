"""From samples to figures. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

NOISY = 0.25
"""A spread above this is too much to tell two runs apart."""
STARVED = 0.6
"""A network that got less of its cores than this shared them with others."""


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

    def to_dict(self) -> dict[str, Any]:
        """For JSON, to seven digits."""
        return {key: _short(value) for key, value in asdict(self).items()}


def _short(value: Any) -> Any:
    return float("%.7g" % value) if isinstance(value, float) else value  # noqa: UP031


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


def summarize(samples: Sequence[float]) -> Summary:
    """Figures of ``samples`` (seconds, in any order).

    Raises:
        ValueError: no samples.
    """
    ordered: list[float] = sorted(samples)
    median = percentile(ordered, 0.5)
    p90 = percentile(ordered, 0.9)
    width = p90 - percentile(ordered, 0.1)
    return Summary(
        count=len(ordered),
        minimum=percentile(ordered, 0),
        median=median,
        p90=p90,
        p99=percentile(ordered, 0.99),
        mean=sum(ordered) / len(ordered),
        spread=width / median if median else 0.0,
    )


def doubt(cell: dict[str, Any]) -> str | None:
    """Why the figures of a measured cell mean little, or None.

    A restless machine shows in the spread. One that is busy all the time with something else does
    not, but the process then got less of its cores than it could use: networks keep all their
    threads busy, waiting ones included.
    """
    spread, share = cell["total"]["spread"], cell.get("cpu_share")
    if share is not None and share < STARVED:
        return f"the machine is busy with something else: it got {share:.0%} of its cores"
    if spread > NOISY:
        return f"the machine is too noisy to tell: samples spread over {spread:.0%} of the median"
    return None
