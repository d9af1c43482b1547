"""One measured thing in a process of its own, driven by JSON lines.

A process per cell is what makes memory a figure of that cell alone, and what lets a runtime crash
without taking the others along. It stays open while other cells run, so that repetitions can be
interleaved. Requests come on standard input, answers leave on what was standard output; whatever a
runtime prints goes to standard error.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from rid_core.runtimes import LIBRARIES, open_in

from . import machine
from .records import Cell

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class UnavailableError(Exception):
    """A runtime that is not there; the text says which pip line brings it."""


class Steps(Protocol):
    """What is measured; see :class:`rid_core.runtimes.base.ModelRuntime`."""

    name: str
    on_cpu: bool

    def encode(self, image: np.ndarray) -> None:
        """Make the input of a photo, uint8 RGB [H, W, 3]."""

    def infer(self) -> None:
        """Run the network on the input."""

    def decode(self) -> np.ndarray:
        """The result."""


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


@dataclass(frozen=True)
class LoadedModel:
    """The answer to ``open``: what runs it, and how long opening and its first run took."""

    runtime: str
    load_s: float
    first_s: float


@dataclass(frozen=True)
class Batch:
    """The answer to ``run``: seconds of each step, cores busy, frequency, energy."""

    pre: list[float]
    network: list[float]
    post: list[float]
    joules: float | None
    cpu: float | None
    hertz: float | None


@dataclass(frozen=True)
class Memory:
    """The answer to ``memory``: peak of the process, and what came after the runtime's import."""

    memory_peak_bytes: int | None
    memory_bytes: int | None


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
        command = [python, "-m", __name__]
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

    def open(self) -> LoadedModel:
        """Load the network."""
        return LoadedModel(**self._ask(do="open", job=dataclasses.asdict(self.job)))

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


class Bench:
    """Something that is open, and its figures."""

    def __init__(self, job: Job) -> None:
        """Open it and run it once.

        Raises:
            UnavailableError: its runtime is not installed.
        """
        opener = _import_package(job.opener)
        self._photo = np.load(job.photo)
        self._energy = machine.Energy()
        self._baseline = machine.memory_now()
        machine.reset_memory_peak()
        begin = time.perf_counter()
        self._steps = _open(opener, job)
        load = time.perf_counter() - begin
        self.opened = LoadedModel(self._steps.name, load, self.run(1).network[0])

    def run(self, count: int) -> Batch:
        """``count`` repetitions."""
        pre, network, post = [], [], []
        clock, steps = time.perf_counter, self._steps
        before = self._energy.read()
        spent = 0.0
        for _ in range(count):
            start = clock()
            steps.encode(self._photo)
            used = time.process_time()
            encoded = clock()
            steps.infer()
            inferred = clock()
            spent += time.process_time() - used
            steps.decode()
            pre.append(encoded - start)
            network.append(inferred - encoded)
            post.append(clock() - inferred)
        joules = self._energy.joules(before, self._energy.read())
        whole = sum(network)
        cpu = spent / whole if whole and steps.on_cpu else None
        return Batch(pre, network, post, joules, cpu, machine.current_hertz())

    def memory(self) -> Memory:
        """The peak so far."""
        peak = machine.memory_peak()
        known = peak is not None and self._baseline is not None
        return Memory(peak, max(0, (peak or 0) - (self._baseline or 0)) if known else None)

    def delta(self, file: str) -> str:
        """The perturbation of another photo (an ``.npy`` file), written beside it; the path."""
        self._steps.encode(np.load(file))
        self._steps.infer()
        target = file[: -len(".npy")] + ".delta.npy"
        np.save(target, self._steps.decode())
        return target


def _import_package(name: str) -> Any:
    """Import what an opener needs, so that it does not count as memory of the network.

    Returns:
        The class of ``module:class``; None for a library.

    Raises:
        UnavailableError: it is not installed.
    """
    found = None
    if name in LIBRARIES:
        package, distribution = LIBRARIES[name].package, LIBRARIES[name].distribution
    else:
        module, _, attribute = name.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        package = distribution = found.package
    try:
        importlib.import_module(package)
    except ImportError:
        raise UnavailableError(
            f"{package.split('.')[0]} is not installed: pip install {distribution}"
        ) from None
    return found


def _open(opener: Any, job: Job) -> Steps:
    steps: Steps
    if opener is not None:
        steps = opener(job.path, job.cell.threads, **job.options)
        return steps
    # Who sent the file has checked its digest: an app would not do it at every start either.
    options: dict[str, object] = {} if job.opener == "torch" else {"sealed": False}
    if job.opener == "litert":
        options["kernels"] = job.cell.kernels
    return open_in(job.opener, Path(job.path), threads=job.cell.threads, **options)


def _answer(bench: Bench | None, request: dict[str, Any]) -> tuple[Bench | None, dict[str, Any]]:
    what = request["do"]
    if what == "open":
        job = request["job"]
        bench = Bench(Job(**{**job, "cell": Cell(**job["cell"])}))
        return bench, dataclasses.asdict(bench.opened)
    if bench is None:
        raise ValueError("nothing is open")
    if what == "run":
        return bench, dataclasses.asdict(bench.run(request["count"]))
    if what == "delta":
        return bench, {"file": bench.delta(request["photo"])}
    return bench, dataclasses.asdict(bench.memory())


def serve() -> None:
    """Answer requests until standard input ends."""
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    bench: Bench | None = None
    for line in sys.stdin:
        try:
            bench, answer = _answer(bench, json.loads(line))
        except Exception as error:  # noqa: BLE001 - told to the driver, whatever it is
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            answer = {"error": reason, "missing": isinstance(error, UnavailableError)}
        channel.write(json.dumps(answer) + "\n")
        channel.flush()


if __name__ == "__main__":
    serve()
