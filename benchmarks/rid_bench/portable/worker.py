"""One measured thing in a process of its own, driven by JSON lines.

A process per cell is what makes memory a figure of that cell alone, and what lets a runtime crash
without taking the others along. It stays open while other cells run, so that repetitions can be
interleaved. Requests come on standard input, answers leave on what was standard output; whatever a
runtime prints goes to standard error.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rid_core.runtimes import LIBRARIES, open_in

from . import machine


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
class Request:
    """What a process is to open.

    Attributes:
        opener: a library of :data:`rid_core.runtimes.LIBRARIES`, or ``module:class``.
        path: of the file.
        threads: of the CPU.
        kernels: of LiteRT.
        photo: an ``.npy`` file, uint8 RGB [H, W, 3].
        options: further ones of ``module:class``.
    """

    opener: str
    path: str
    threads: int
    kernels: str
    photo: str
    options: dict[str, Any]


@dataclass(frozen=True)
class Opened:
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


class Bench:
    """Something that is open, and its figures."""

    def __init__(self, request: Request) -> None:
        """Open it and run it once.

        Raises:
            UnavailableError: its runtime is not installed.
        """
        opener = _import_package(request.opener)
        self._photo = np.load(request.photo)
        self._energy = machine.Energy()
        self._baseline = machine.memory_now()
        machine.reset_memory_peak()
        begin = time.perf_counter()
        self._steps = _open(opener, request)
        load = time.perf_counter() - begin
        self.opened = Opened(self._steps.name, load, self.run(1).network[0])

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


def _open(opener: Any, request: Request) -> Steps:
    steps: Steps
    if opener is not None:
        steps = opener(request.path, request.threads, **request.options)
        return steps
    # Who sent the file has checked its digest: an app would not do it at every start either.
    options: dict[str, object] = {} if request.opener == "torch" else {"sealed": False}
    if request.opener == "litert":
        options["kernels"] = request.kernels
    return open_in(request.opener, Path(request.path), threads=request.threads, **options)


def _answer(bench: Bench | None, request: dict[str, Any]) -> tuple[Bench | None, dict[str, Any]]:
    what = request["do"]
    if what == "open":
        bench = Bench(Request(**request["job"]))
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
