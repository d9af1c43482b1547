"""Measure many cells side by side: A B B A, so that drift of the machine cancels.

A cell is a plain dictionary: ``opener``, ``path``, ``about`` (metadata of the file), ``threads``,
``kernels``, ``photo`` (an .npy file), ``labels`` (copied to the result), and, for what is slow,
``rounds`` (the most that are wanted).
"""

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
from typing import IO, Any

from .machine import usable_cores
from .timing import percentile, summarize, threads_text

_REST = 0.25
"""Seconds between the turns of two workers: threads of torch and of BLAS go on spinning for up to
0.2 s after their last product, and whoever comes next would have half the cores."""
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_STEPS = ("pre", "network", "post")
_LONG = 0.05
"""Seconds; a repetition that takes longer needs no unmeasured one before it."""

Notify = Callable[[str], None]


class Worker:
    """A cell's process.

    Raises:
        WorkerError: from every call, when the process refuses or is gone.
    """

    def __init__(self, cell: dict[str, Any]) -> None:
        """Start the process; :meth:`open` makes it load the network."""
        self.cell = cell
        environment = dict(os.environ)
        for name in _THREAD_VARIABLES:
            environment[name] = str(cell["threads"])
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

    def ask(self, **request: Any) -> dict[str, Any]:
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

    def open(self) -> dict[str, Any]:
        """Load the network; runtime, load time and first run."""
        return self.ask(do="open", cell=self.cell)

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
    """Samples of one cell as they come in."""

    def __init__(self, cell: dict[str, Any], worker: Worker, opened: dict[str, Any]) -> None:
        self.cell = cell
        self.worker = worker
        self.opened = opened
        self.samples: dict[str, list[float]] = {step: [] for step in _STEPS}
        self.rounds: list[float] = []
        self.hertz: list[float] = []
        self.joules: list[float] = []
        self.cpu: list[float] = []
        self.memory: dict[str, Any] = {}
        self.error: str | None = None
        self.count = 1
        self.discard = 0

    def warm_up(self, batch: float) -> None:
        """Run until the time of a repetition is known, and choose how many make a batch."""
        spent, runs = 0.0, 0
        while runs < 3 and spent < max(batch, 0.2) * 3:
            answer = self.worker.ask(do="run", count=1)
            spent += sum(answer[step][0] for step in _STEPS)
            runs += 1
        each = spent / runs
        self.count = max(1, min(100, round(batch / each) if each else 100))
        self.discard = 1 if each < _LONG else 0

    def repeat(self) -> None:
        """One batch."""
        answer = self.worker.ask(do="run", count=self.count + self.discard)
        for step in _STEPS:
            self.samples[step] += answer[step][self.discard :]
        network = sorted(answer["network"][self.discard :])
        self.rounds.append(percentile(network, 0.5))
        if answer["hertz"] is not None:
            self.hertz.append(answer["hertz"])
        if answer["cpu"] is not None:
            self.cpu.append(answer["cpu"] / min(self.cell["threads"], usable_cores()))
        if answer["joules"] is not None:
            self.joules.append(answer["joules"] / (self.count + self.discard))

    def result(self) -> dict[str, Any]:
        """Figures, for JSON."""
        result: dict[str, Any] = dict(self.cell.get("labels") or {})
        result.update(threads=self.cell["threads"], error=self.error, **self.opened, **self.memory)
        if self.rounds:
            parts = [self.samples[step] for step in _STEPS]
            for step, values in zip(_STEPS, parts):  # noqa: B905 - strict= came with 3.10
                result[step] = summarize(values).to_dict()
            total = [sum(times) for times in zip(*parts)]  # noqa: B905
            result["total"] = summarize(total).to_dict()
            result["rounds"] = [float(f"{value:.7g}") for value in self.rounds]
            result["hertz"] = percentile(sorted(self.hertz), 0.5) if self.hertz else None
            result["cpu_share"] = percentile(sorted(self.cpu), 0.5) if self.cpu else None
            result["joules"] = percentile(sorted(self.joules), 0.5) if self.joules else None
        return result


def measure(
    cells: Sequence[dict[str, Any]],
    *,
    rounds: int = 10,
    batch: float = 0.1,
    max_seconds: float = 600.0,
    notify: Notify = lambda line: None,
    on_round: Callable[[list[dict[str, Any]]], None] = lambda results: None,
) -> tuple[list[dict[str, Any]], str | None]:
    """Measure all cells, interleaved.

    Args:
        cells: what to measure; those that cannot be opened become results with an ``error``.
        rounds: how often each cell has its turn; the order turns around every time.
        batch: seconds of a turn; at least one repetition.
        max_seconds: no further round begins after that.
        notify: called with lines for people.
        on_round: called with the results so far after every round, to keep them.

    Returns:
        One result per cell in order, and why it stopped early, or None.
    """
    begin = time.monotonic()
    series: list[_Series | None] = []
    results: list[dict[str, Any]] = []
    stopped: str | None = None

    def collect() -> list[dict[str, Any]]:
        return [one.result() if one else dict(r) for one, r in zip(series, results)]  # noqa: B905

    try:
        for cell in cells:
            labels = dict(cell.get("labels") or {}, threads=cell["threads"])
            results.append(dict(labels, error="not reached"))
            series.append(None)
            worker = Worker(cell)
            try:
                opened = worker.open()
                one = _Series(cell, worker, opened)
                series[-1] = one
                one.warm_up(batch)
                notify(f"opened {_label(cell)} in {opened['load_s']:.2f} s")
            except WorkerError as error:
                results[-1]["error"] = str(error)
                results[-1]["missing"] = error.missing
                series[-1] = None
                worker.close()
                notify(f"not measured: {_label(cell)}: {error}")
            except BaseException:
                worker.close() if series[-1] is None else None
                raise
        alive = [one for one in series if one is not None]
        for number in range(rounds):
            if number and time.monotonic() - begin > max_seconds:
                stopped = f"stopped after {number} of {rounds} rounds: {max_seconds:g} s were over"
                break
            for one in alive if number % 2 == 0 else alive[::-1]:
                wanted = one.cell.get("rounds") or rounds
                # A slow cell takes part in some rounds, spread over the run.
                turn = (number + 1) * wanted // rounds > number * wanted // rounds
                if one.error is None and turn:
                    time.sleep(_REST)
                    try:
                        one.repeat()
                    except WorkerError as error:
                        one.error = str(error)
                        notify(f"lost: {_label(one.cell)}: {error}")
            on_round(collect())
            notify(f"round {number + 1} of {rounds}")
        for one in alive:
            if one.error is None:
                one.memory = one.worker.ask(do="memory")
    except (KeyboardInterrupt, SystemExit) as stop:
        stopped = "interrupted" if isinstance(stop, KeyboardInterrupt) else "terminated"
    finally:
        final = collect()
        for done in series:
            if done is not None:
                done.worker.close()
    return final, stopped


def _label(cell: dict[str, Any]) -> str:
    labels = cell.get("labels") or {}
    keys = ("name", "format", "precision", "peak")
    words = [str(labels[key]) for key in keys if labels.get(key)]
    return f"{' '.join(words) or cell['path']}, {threads_text(cell['threads'])}"
