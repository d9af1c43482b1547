"""The engine: turns, faults, limits. Durations are never asserted beyond their order."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rid_bench.portable.measure import measure
from rid_bench.portable.records import Cell, Measured
from rid_bench.portable.worker import Job

Stub = Callable[..., Job]


def test_turns_are_a_b_b_a(stub: Stub, tmp_path: Path) -> None:
    log = tmp_path / "log"
    cells = [stub(letter=letter, log=str(log), seconds=0.06) for letter in "AB"]
    results, stopped = measure(cells, rounds=4, batch=0.0)
    assert stopped is None
    assert [len(r.rounds) for r in results] == [4, 4]
    turns = "".join(letter for letter, _ in itertools.groupby(log.read_text()[-8:]))
    assert log.read_text()[-8:] == "ABBAABBA"
    assert turns == "ABABA"


def test_results_have_the_figures(stub: Stub) -> None:
    (result,), _ = measure([stub(seconds=0.002)], rounds=3, batch=0.02)
    assert result.error is None
    assert result.network.count >= 3
    assert 0.002 <= result.network.minimum <= result.network.median
    assert result.network.median <= result.network.p90 <= result.network.p99
    assert result.total.median >= result.network.median
    assert result.load_s >= 0
    assert result.first_s >= 0.002
    assert result.runtime == "stub"


def test_memory_is_of_the_cell_alone(stub: Stub) -> None:
    cells = [stub(letter="small"), stub(letter="large", bytes=80_000_000)]
    small, large = measure(cells, rounds=1, batch=0.0)[0]
    if small.memory_bytes is None:
        pytest.skip("this system does not tell the memory of a process")
    assert large.memory_bytes - small.memory_bytes > 70e6
    assert small.memory_bytes < 30e6


def test_a_process_that_sleeps_is_told_from_one_that_computes(stub: Stub) -> None:
    cells = [stub(seconds=0.05, busy=True), stub(seconds=0.05, busy=False)]
    busy, idle = measure(cells, rounds=2, batch=0.05)[0]
    assert idle.cpu_share < 0.5
    assert idle.cpu_share < busy.cpu_share


def test_a_cell_that_cannot_be_opened_is_a_result(stub: Stub) -> None:
    cells = [stub("Missing"), stub(refuse="wrong schema"), stub(letter="good")]
    missing, refused, good = measure(cells, rounds=1, batch=0.0)[0]
    assert "pip install a_package_that_nobody_has" in missing.error
    assert missing.missing is True
    assert refused.error == "wrong schema"
    assert good.error is None
    assert good.total.count >= 1


def test_a_crash_takes_nobody_along(stub: Stub) -> None:
    cells = [stub(letter="dies", die_at=6), stub(letter="lives")]
    notes: list[str] = []
    dead, alive = measure(cells, rounds=8, batch=0.0, notify=notes.append)[0]
    assert "SIGKILL" in dead.error
    assert "out of memory?" in dead.error
    assert alive.error is None
    assert len(alive.rounds) == 8
    assert any("lost: dies" in note for note in notes)


def test_an_exception_while_running_is_told(stub: Stub) -> None:
    (result,), _ = measure([stub(raise_at=6)], rounds=8, batch=0.0)
    assert result.error == "numerical trouble"


def test_notices_do_not_disturb(stub: Stub) -> None:
    (result,), _ = measure([stub("Chatty")], rounds=2, batch=0.0)
    assert result.error is None
    assert len(result.rounds) == 2


def test_slow_cells_take_part_in_some_rounds(stub: Stub) -> None:
    cells = [stub(letter="slow", rounds=2), stub(letter="quick")]
    slow, quick = measure(cells, rounds=6, batch=0.0)[0]
    assert len(slow.rounds) == 2
    assert len(quick.rounds) == 6


def test_time_is_limited(stub: Stub) -> None:
    (result,), stopped = measure([stub(seconds=0.2)], rounds=100, batch=0.0, max_seconds=0.1)
    assert stopped is not None
    assert "of 100 rounds" in stopped
    assert 1 <= len(result.rounds) < 100


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interruption_keeps_what_was_measured(stub: Stub, stop: type[BaseException]) -> None:
    seen: list[int] = []

    def on_round(results: list[Cell]) -> None:
        assert isinstance(results[0], Measured)
        seen.append(len(results[0].rounds))
        if len(seen) == 2:
            raise stop

    results, stopped = measure([stub(), stub()], rounds=50, batch=0.0, on_round=on_round)
    assert stopped in ("interrupted", "terminated")
    assert seen == [1, 2]
    assert [len(r.rounds) for r in results] == [2, 2]


def test_labels_are_copied(stub: Stub) -> None:
    job = replace(stub(), cell=Cell("x", precision="int8", kernels="builtin"))
    (result,), _ = measure([job], rounds=1, batch=0.0)
    assert (result.name, result.precision, result.threads) == ("x", "int8", 1)
    assert result.kernels == "builtin"
