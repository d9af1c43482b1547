"""How sure a mean is: bootstrap intervals over identities.

Samples of one person are alike, and so are two trainings on the same person, so what is drawn again
is people, each with all that was measured on them (a cluster bootstrap: Field and Welsh, J. R.
Statist. Soc. B 69, 2007; Efron and Tibshirani, "An Introduction to the Bootstrap", 1993).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 2000
LEVEL = 0.95

Groups = Mapping[str, Sequence[float]]
"""What was measured, by identity; NaN counts as not measured."""


@dataclass(frozen=True)
class Interval:
    """A figure with its percentile bootstrap interval.

    Attributes:
        value: on all identities.
        low: lower end; NaN with fewer than two identities.
        high: upper end; the same.
        identities: how many were measured.
    """

    value: float
    low: float
    high: float
    identities: int

    def __str__(self) -> str:
        if self.value != self.value:
            return "-"
        if self.low != self.low:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap_mean(groups: Groups, draws: int = DRAWS, seed: int = 0) -> Interval:
    """The mean over everything measured, with its interval over identities.

    Args:
        groups: by identity.
        draws: how often identities are drawn anew, with replacement.
        seed: of the draws.
    """
    return bootstrap([groups], lambda means: means[0], draws, seed)


def bootstrap(
    quantities: Sequence[Groups],
    statistic: Callable[[Sequence[float]], float],
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """A statistic of several means, with the same identities drawn for all of them.

    Args:
        quantities: several things measured on the same identities. An identity counts where each
            of them has at least one value that is not NaN.
        statistic: of their means, such as a ratio; NaN where it has none.
        draws: how often identities are drawn anew.
        seed: of the draws.
    """
    tables = [{name: _finite(values) for name, values in groups.items()} for groups in quantities]
    names = sorted(name for name in tables[0] if all(table.get(name) for table in tables))
    if not names:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    sums = np.array([[sum(table[name]) for name in names] for table in tables])
    counts = np.array([[len(table[name]) for name in names] for table in tables])

    def on(picked: np.ndarray) -> float:
        return statistic((sums[:, picked].sum(axis=1) / counts[:, picked].sum(axis=1)).tolist())

    value = on(np.arange(len(names)))
    if len(names) < 2:
        return Interval(value, float("nan"), float("nan"), len(names))
    rng = np.random.default_rng(seed)
    found = np.array([on(rng.integers(len(names), size=len(names))) for _ in range(draws)])
    found = found[~np.isnan(found)]
    if not len(found):
        return Interval(value, float("nan"), float("nan"), len(names))
    return Interval(value, *_ends(found), len(names))


def bootstrap_ratio(above: Groups, below: Groups, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Ratio of two means; NaN where the lower one is zero or negative, an effect that is none.

    Resamples without a ratio are left out of the interval, which is then too narrow: read it
    beside the interval of the lower quantity.
    """

    def ratio(means: Sequence[float]) -> float:
        return means[0] / means[1] if means[1] > 0 else float("nan")

    return bootstrap([above, below], ratio, draws, seed)


def ratio_interval(
    above: np.ndarray, below: np.ndarray, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Ends of the interval of a ratio of two means, with the same images drawn for both.

    Args:
        above: of each image, [N].
        below: of the same images, [N], not negative.
        draws: how often images are drawn anew, with replacement.
        seed: of the draws.
    """
    picked = np.random.default_rng(seed).integers(len(above), size=(draws, len(above)))
    return _ends(above[picked].mean(axis=1) / np.maximum(below[picked].mean(axis=1), 1e-12))


def _ends(found: np.ndarray) -> tuple[float, float]:
    """The middle :data:`LEVEL` of what was found."""
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _finite(values: Sequence[float]) -> list[float]:
    return [float(value) for value in values if value == value]
