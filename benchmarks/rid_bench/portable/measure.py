"""Measure many things side by side: A B B A, so that drift of the machine cancels."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import IO, Any

from .machine import usable_cores
from .records import Cell, Measured, label
from .timing import middle, short, summarize
from .worker import Batch, Memory, Opened

_REST = 0.25
"""Seconds between the turns of two workers: threads of torch and of BLAS go on spinning for up to
0.2 s after their last product, and whoever comes next would have half the cores."""
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_LONG = 0.05
"""Seconds; a repetition that takes longer needs no unmeasured one before it."""

Notify = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """What to measure.

    Attributes:
        opener: a library of :data:`rid_core.runtimes.LIBRARIES`, or ``module:class``.
        cell: what the result says of it; its threads and kernels are used.
        photo: an ``.npy`` file, uint8 RGB [H, W, 3].
        path: of the file.
        rounds: the most that are wanted, for what is slow.
        options: further ones of ``module:class``, as JSON knows them.
    """

    opener: str
    cell: Cell
    photo: str
    path: str = ""
    rounds: int | None = None
    options: dict[str, Any] = field(default_factory=dict)


class Worker:
    """A job's process.

    Raises:
        WorkerError: from every call, when the process refuses or is gone.
    """

    def __init__(self, job: Job) -> None:
        """Start the process; :meth:`open` makes it load the network."""
        self.job = job
        environment = dict(os.environ)
        for name in _THREAD_VARIABLES:
            environment[name] = str(job.cell.threads)
        environment["PYTHONPATH"] = os.pathsep.join(entry for entry in sys.path if entry)
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives with the process
        # An emulated Python cannot start another by itself; see benchmarks/arm64.
        python = os.environ.get("RID_BENCH_PYTHON") or sys.executable
        command = [python, "-m", f"{__package__}.worker"]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            text=True,
            # Ctrl-C is for the driver alone: it keeps what was measured.
            start_new_session=True,
        )

    def _ask(self, **request: object) -> dict[str, Any]:
        """Send one request and wait for its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerError(self._obituary())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"], bool(answer.get("missing")))
        return answer

    def open(self) -> Opened:
        """Load the network."""
        job = self.job
        cell = {"threads": job.cell.threads, "kernels": job.cell.kernels, "options": job.options}
        request = {"opener": job.opener, "path": job.path, "photo": job.photo} | cell
        return Opened(**self._ask(do="open", job=request))

    def run(self, count: int) -> Batch:
        """So many repetitions."""
        return Batch(**self._ask(do="run", count=count))

    def memory(self) -> Memory:
        """What it took so far."""
        return Memory(**self._ask(do="memory"))

    def delta(self, photo: str) -> str:
        """The ``.npy`` file of a photo's perturbation, which lies beside the photo's."""
        return str(self._ask(do="delta", photo=photo)["file"])

    def close(self) -> None:
        """End the process."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _obituary(self) -> str:
        code = self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        last = lines[-1].strip()[:200] if lines else "it printed nothing"
        if code < 0:
            try:
                name = signal.Signals(-code).name
            except ValueError:
                name = f"signal {-code}"
            hint = " (out of memory?)" if name == "SIGKILL" else ""
            return f"its process died of {name}{hint}: {last}"
        return f"its process ended with {code}: {last}"


class WorkerError(Exception):
    """What a worker refused, in one line.

    Attributes:
        missing: whether its runtime is not installed.
    """

    def __init__(self, text: str, missing: bool = False) -> None:
        super().__init__(text)
        self.missing = missing


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
