from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from rid_bench.compare import Comparison, compare
from rid_bench.portable.records import Machine, Measured, Run
from rid_bench.report import tables
from rid_core.report import terminal

Cell = Callable[..., Measured]


def run(machine: Machine, *cells: Measured) -> Run:
    return Run("2026", machine, cells=list(cells))


def table(found: Comparison) -> str:
    return terminal.text(tables.changes(found), terminal=False)


def noisy(median: float, spread: float, seed: int, count: int = 10) -> list[float]:
    draw = np.random.default_rng(seed)
    return [float(v) for v in median * (1 + spread * draw.standard_normal(count))]


@pytest.mark.parametrize(("factor", "slower", "faster"), [(1.3, 1, 0), (1.03, 0, 0), (0.7, 0, 1)])
def test_beyond_the_noise(
    machine: Machine, cell: Cell, factor: float, slower: int, faster: int
) -> None:
    old = run(machine, cell(rounds=noisy(0.01, 0.005, 1)))
    new = run(machine, cell(rounds=noisy(0.01 * factor, 0.005, 2)))
    found = compare([old], [new])
    assert len(found.slower) == slower
    assert sum(change.faster for change in found.changes) == faster
    assert ("SLOWER" in table(found)) == bool(slower)


def test_noise_of_the_machine_is_no_regression(machine: Machine, cell: Cell) -> None:
    """Equal networks on a restless machine: false alarms stay rare."""
    alarms = 0
    for seed in range(100):
        old = run(machine, cell(rounds=noisy(0.01, 0.08, seed)))
        new = run(machine, cell(rounds=noisy(0.01, 0.08, seed + 1000)))
        alarms += len(compare([old], [new]).slower)
    assert alarms <= 3


def test_a_busy_machine_cannot_tell(machine: Machine, cell: Cell) -> None:
    old = run(machine, cell())
    new = run(machine, cell(median=0.05, cpu_share=0.3))
    found = compare([old], [new])
    assert not found.slower
    assert "cannot tell" in table(found)


def test_only_like_is_compared_with_like(machine: Machine, cell: Cell) -> None:
    old = run(machine, cell(threads=1), cell(precision="int8"), cell(name="rid-n"))
    new = run(machine, cell(threads=2), cell(precision="fp32"), cell(name="rid-n"))
    found = compare([old], [new])
    assert [change.label for change in found.changes] == ["rid-n TFLite fp32, 2 threads"]
    assert len(found.missing) == 2
    assert "not measured any more" in table(found)
    assert found.new == ("rid-s TFLite fp32, 2 threads",) or len(found.new) == 1


def test_another_machine_is_said(machine: Machine, cell: Cell) -> None:
    found = compare([run(machine, cell())], [run(replace(machine, cpu="Other CPU"), cell())])
    assert "different machines" in found.warnings[0]
    assert len(found.changes) == 1
