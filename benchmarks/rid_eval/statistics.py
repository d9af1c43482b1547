"""How sure a mean is: bootstrap intervals over identities, or over images.

Samples of one person are alike, and so are two trainings on the same person, so what is drawn again
is people, each with all that was measured on them (a cluster bootstrap: Field and Welsh, J. R.
Statist. Soc. B 69, 2007; Efron and Tibshirani, "An Introduction to the Bootstrap", 1993).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rid_eval.results import Number

DRAWS = 2000
LEVEL = 0.95

Groups = Mapping[str, Sequence[float]]
"""What was measured, by identity or image; NaN counts as not measured."""

Statistic = Callable[[np.ndarray], np.ndarray]
"""Means of several quantities, [Q, draws] -> a figure of them, [draws]; NaN where it has none."""


@dataclass(frozen=True)
class Interval:
    """A figure with its percentile bootstrap interval.

    Attributes:
        value: on all identities.
        low: lower end; NaN with fewer than two identities.
        high: upper end; the same.
        identities: how many were measured.
    """

    value: Number
    low: Number
    high: Number
    identities: int

    def __str__(self) -> str:
        return self.text(3)

    def text(self, digits: int = 2) -> str:
        """For people: ``0.47 [0.46, 0.48]``; a dash for none, no ends where there are none."""
        if math.isnan(self.value):
            return "–"
        if math.isnan(self.low):
            return f"{self.value:.{digits}f}"
        return f"{self.value:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def bootstrap_mean(groups: Groups) -> Interval:
    """The mean over everything measured, with its interval over identities."""
    return bootstrap([groups], lambda means: means[0])


def bootstrap_difference(one: Groups, other: Groups) -> Interval:
    """Difference of two means."""
    return bootstrap([one, other], lambda means: means[0] - means[1])


def bootstrap_ratio(above: Groups, below: Groups) -> Interval:
    """Ratio of two means; NaN where the lower one is zero or negative, an effect that is none.

    Resamples without a ratio are left out of the interval, which is then too narrow: read it
    beside the interval of the lower quantity.
    """
    return bootstrap([above, below], lambda means: np.divide(
        means[0], means[1], out=np.full_like(means[0], np.nan), where=means[1] > 0
    ))  # fmt: skip


def ratio_over_images(above: np.ndarray, below: np.ndarray) -> Interval:
    """Ratio of two means over images, [N] each, with the same images drawn for both."""
    groups = [{f"{number:06d}": [float(value)] for number, value in enumerate(values)}
              for values in (above, below)]  # fmt: skip
    return bootstrap_ratio(*groups)


def bootstrap(quantities: Sequence[Groups], statistic: Statistic) -> Interval:
    """A statistic of several means, with the same identities drawn for all of them.

    Args:
        quantities: several things measured on the same identities. An identity counts where each
            of them has at least one value that is not NaN.
        statistic: of their means, such as a ratio.
    """
    tables = [{name: [float(value) for value in values if not math.isnan(value)]
               for name, values in groups.items()} for groups in quantities]  # fmt: skip
    names = sorted(name for name in tables[0] if all(table.get(name) for table in tables))
    if not names:
        return Interval(math.nan, math.nan, math.nan, 0)
    sums = np.array([[sum(table[name]) for name in names] for table in tables])
    counts = np.array([[len(table[name]) for name in names] for table in tables])

    def on(picked: np.ndarray) -> np.ndarray:
        """Of identities drawn, [draws, N]."""
        return statistic(sums[:, picked].sum(axis=2) / counts[:, picked].sum(axis=2))

    value = float(on(np.arange(len(names))[None])[0])
    picked = np.random.default_rng(0).integers(len(names), size=(DRAWS, len(names)))
    found = on(picked)
    found = found[~np.isnan(found)]
    if len(names) < 2 or not len(found):
        return Interval(value, math.nan, math.nan, len(names))
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high), len(names))
