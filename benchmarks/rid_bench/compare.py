"""Two results of one machine: what became slower beyond the noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from rid_bench.portable.records import Measured, Run, label, measured
from rid_bench.portable.timing import percentile

LEAST = 0.05
"""Differences up to this are never called slower, however quiet the machine."""
_KEYS = ("name", "format", "precision", "resolution", "runtime_key", "kernels", "threads")


@dataclass(frozen=True)
class Change:
    """One cell in both results.

    Attributes:
        label: for people.
        before: median of the network's time, in seconds.
        after: the same, later.
        margin: relative difference that noise alone explains.
        doubt: why nothing can be told, or None.
    """

    label: str
    before: float
    after: float
    margin: float
    doubt: str | None = None

    @property
    def relative(self) -> float:
        """0.1 is 10 % slower."""
        return self.after / self.before - 1

    @property
    def slower(self) -> bool:
        """Beyond the noise."""
        return self.doubt is None and self.relative > self.margin

    @property
    def faster(self) -> bool:
        """Beyond the noise."""
        return self.doubt is None and self.relative < -self.margin


@dataclass(frozen=True)
class Comparison:
    """Two results side by side.

    Attributes:
        changes: cells that both have.
        missing: labels of cells that only the old one has.
        new: labels of cells that only the new one has.
        warnings: why the two may not be comparable.
    """

    changes: tuple[Change, ...]
    missing: tuple[str, ...]
    new: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def slower(self) -> list[Change]:
        """What became slower beyond the noise."""
        return [change for change in self.changes if change.slower]


def compare(old: Sequence[Run], new: Sequence[Run]) -> Comparison:
    """Match cells by machine, network, runtime and threads, and compare them.

    Noise is taken from the rounds of the two runs: their medians vary by what the machine does
    from minute to minute. Three standard errors of the difference, and at least :data:`LEAST`.
    """
    before, after = _index(old), _index(new)
    machines = [{(run.machine.cpu, run.machine.cores) for run in side} for side in (old, new)]
    warnings = []
    if machines[0] != machines[1]:
        names = [", ".join(sorted(f"{cpu} with {n} cores" for cpu, n in side)) for side in machines]
        warnings.append(f"different machines: {names[0]} before, {names[1]} after")
        single = len(old) == len(new) == 1
        if single:  # then it is clear at least which belongs to which
            before = {("", *key[1:]): cell for key, cell in before.items()}
            after = {("", *key[1:]): cell for key, cell in after.items()}
    changes = [_change(before[key], after[key]) for key in before if key in after]
    return Comparison(
        tuple(changes),
        tuple(label(cell) for key, cell in before.items() if key not in after),
        tuple(label(cell) for key, cell in after.items() if key not in before),
        tuple(warnings),
    )


def _index(runs: Sequence[Run]) -> dict[tuple[object, ...], Measured]:
    return {
        (run.machine.cpu, *(getattr(cell, key) for key in _KEYS)): cell
        for run in runs
        for cell in measured(run.cells)
    }


def _change(old: Measured, new: Measured) -> Change:
    errors = [_standard_error(cell.rounds) for cell in (old, new)]
    return Change(
        label(new),
        median(old.rounds),
        median(new.rounds),
        max(LEAST, 3 * (errors[0] ** 2 + errors[1] ** 2) ** 0.5),
        old.doubt or new.doubt,
    )


def _standard_error(rounds: Sequence[float]) -> float:
    """Of the median of ``rounds``, relative to it; robust against single outliers."""
    ordered = sorted(rounds)
    if len(ordered) < 2:
        return LEAST
    # The middle half of a normal distribution is 1.35 deviations wide; a median's error is 1.25
    # times a mean's.
    deviation = (percentile(ordered, 0.75) - percentile(ordered, 0.25)) / 1.35
    middle = median(ordered)
    return float(1.25 * deviation / len(ordered) ** 0.5 / middle) if middle else 0.0
