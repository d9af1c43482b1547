"""Measure many things side by side: A B B A, so that drift of the machine cancels."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from .machine import usable_cores
from .records import Cell, Measured, label
from .timing import middle, short, summarize
from .worker import Job, Memory, Worker, WorkerError

_REST = 0.25
"""Seconds between the turns of two workers: threads of torch and of BLAS go on spinning for up to
0.2 s after their last product, and whoever comes next would have half the cores."""
_LONG = 0.05
"""Seconds; a repetition that takes longer needs no unmeasured one before it."""

Notify = Callable[[str], None]


class _Series:
    """Samples of one job as they come in."""

    def __init__(self, worker: Worker) -> None:
        self.job = worker.job
        self.worker = worker
        self.opened = worker.open()
        self.pre: list[float] = []
        self.network: list[float] = []
        self.post: list[float] = []
        self.rounds: list[float] = []
        self.hertz: list[float] = []
        self.joules: list[float] = []
        self.cpu: list[float] = []
        self.memory = Memory(None, None)
        self.error: str | None = None
        self.count = 1
        self.discard = 0

    def warm_up(self, batch: float) -> None:
        """Run until the time of a repetition is known, and choose how many make a batch."""
        spent, runs = 0.0, 0
        while runs < 3 and spent < max(batch, 0.2) * 3:
            answer = self.worker.run(1)
            spent += answer.pre[0] + answer.network[0] + answer.post[0]
            runs += 1
        each = spent / runs
        self.count = max(1, min(100, round(batch / each) if each else 100))
        self.discard = 1 if each < _LONG else 0

    def repeat(self) -> None:
        """One batch."""
        count = self.count + self.discard
        answer = self.worker.run(count)
        network = answer.network[self.discard :]
        self.pre += answer.pre[self.discard :]
        self.network += network
        self.post += answer.post[self.discard :]
        self.rounds.append(short(middle(network) or 0.0))
        if answer.hertz is not None:
            self.hertz.append(answer.hertz)
        if answer.cpu is not None:
            self.cpu.append(answer.cpu / min(self.job.cell.threads, usable_cores()))
        if answer.joules is not None:
            self.joules.append(answer.joules / count)

    def result(self) -> Cell:
        """Figures, or what went wrong before there were any."""
        row = {**vars(self.job.cell), "error": self.error, "runtime": self.opened.runtime}
        if not self.rounds:
            return Cell(**row)
        return Measured(
            **row,
            **vars(self.memory),
            load_s=self.opened.load_s,
            first_s=self.opened.first_s,
            pre=summarize(self.pre),
            network=summarize(self.network),
            post=summarize(self.post),
            total=summarize([sum(times) for times in zip(self.pre, self.network, self.post)]),  # noqa: B905 - strict= came with 3.10
            rounds=tuple(self.rounds),
            hertz=middle(self.hertz),
            cpu_share=middle(self.cpu),
            joules=middle(self.joules),
        )


def measure(
    jobs: Sequence[Job],
    *,
    rounds: int = 10,
    batch: float = 0.1,
    max_seconds: float = 600.0,
    notify: Notify = lambda line: None,
    on_round: Callable[[list[Cell]], None] = lambda results: None,
) -> tuple[list[Cell], str | None]:
    """Measure all jobs, interleaved.

    Args:
        jobs: what to measure; those that cannot be opened become results with an ``error``.
        rounds: how often each has its turn; the order turns around every time.
        batch: seconds of a turn; at least one repetition.
        max_seconds: no further round begins after that.
        notify: called with lines for people.
        on_round: called with the results so far after every round, to keep them.

    Returns:
        One result per job in order, and why it stopped early, or None.
    """
    begin = time.monotonic()
    series: dict[int, _Series] = {}
    failed = {n: replace(job.cell, error="not reached") for n, job in enumerate(jobs)}
    stopped: str | None = None

    def collect() -> list[Cell]:
        return [series[n].result() if n in series else failed[n] for n in range(len(jobs))]

    try:
        for number, job in enumerate(jobs):
            worker = Worker(job)
            try:
                one = _Series(worker)
                one.warm_up(batch)
                series[number] = one
                notify(f"opened {label(job.cell)} in {one.opened.load_s:.2f} s")
            except WorkerError as error:
                failed[number] = replace(job.cell, error=str(error), missing=error.missing)
                notify(f"not measured: {label(job.cell)}: {error}")
            finally:
                if number not in series:
                    worker.close()
        alive = list(series.values())
        for number in range(rounds):
            if number and time.monotonic() - begin > max_seconds:
                stopped = f"stopped after {number} of {rounds} rounds: {max_seconds:g} s were over"
                break
            for one in alive if number % 2 == 0 else alive[::-1]:
                wanted = one.job.rounds or rounds
                # A slow one takes part in some rounds, spread over the run.
                turn = (number + 1) * wanted // rounds > number * wanted // rounds
                if one.error is None and turn:
                    time.sleep(_REST)
                    try:
                        one.repeat()
                    except WorkerError as error:
                        one.error = str(error)
                        notify(f"lost: {label(one.job.cell)}: {error}")
            on_round(collect())
            notify(f"round {number + 1} of {rounds}")
        for one in alive:
            if one.error is None:
                one.memory = one.worker.memory()
    except (KeyboardInterrupt, SystemExit) as stop:
        stopped = "interrupted" if isinstance(stop, KeyboardInterrupt) else "terminated"
    finally:
        final = collect()
        for one in series.values():
            one.worker.close()
    return final, stopped
