"""One measured thing in a process of its own, driven by JSON lines.

A process per cell is what makes memory a figure of that cell alone, and what lets a runtime crash
without taking the others along. It stays open while other cells run, so that repetitions can be
interleaved. Requests come on standard input, answers leave on what was standard output; whatever a
runtime prints goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any

from . import machine
from .runtimes import MODULES, PIP
from .sessions import OPENERS, Session, UnavailableError


class Bench:
    """An open session and its figures."""

    def __init__(self, cell: dict[str, Any]) -> None:
        """Open what ``cell`` names, and run it once.

        Raises:
            UnavailableError: its runtime is not installed.
        """
        import numpy as np

        opener, package = _opener(cell["opener"])
        try:
            importlib.import_module(package)
        except ImportError:
            hint = PIP.get(cell["opener"], f"pip install {package.split('.')[0]}")
            name = package.split(".")[0]
            raise UnavailableError(f"{name} is not installed: {hint}") from None
        self._photo = np.load(cell["photo"])
        self._energy = machine.Energy()
        self._baseline = machine.memory_now()
        machine.reset_memory_peak()
        begin = time.perf_counter()
        self._session: Session = opener(
            cell["path"], cell.get("about") or {}, cell["threads"], cell.get("kernels", "xnnpack")
        )
        self.load = time.perf_counter() - begin
        size = self._session.shape
        if size is not None and self._photo.shape[:2] != size:
            raise ValueError(f"takes {size[0]} x {size[1]}, the photo is {self._photo.shape[:2]}")
        self.first = self.run(1)["network"][0]

    def opened(self) -> dict[str, Any]:
        """The answer to ``open``."""
        return {"runtime": self._session.name, "load_s": self.load, "first_s": self.first}

    def run(self, count: int) -> dict[str, Any]:
        """``count`` repetitions: seconds of each step, cores busy, frequency, energy."""
        steps: dict[str, list[float]] = {"pre": [], "network": [], "post": []}
        clock = time.perf_counter
        before = self._energy.read()
        spent = 0.0
        for _ in range(count):
            start = clock()
            self._session.encode(self._photo)
            used = time.process_time()
            encoded = clock()
            self._session.infer()
            inferred = clock()
            spent += time.process_time() - used
            self._session.decode()
            steps["pre"].append(encoded - start)
            steps["network"].append(inferred - encoded)
            steps["post"].append(clock() - inferred)
        answer: dict[str, Any] = dict(steps)
        answer["joules"] = self._energy.joules(before, self._energy.read())
        whole = sum(steps["network"])
        answer["cpu"] = spent / whole if whole and self._session.on_cpu else None
        answer["hertz"] = machine.current_hertz()
        return answer

    def memory(self) -> dict[str, int | None]:
        """Peak of this process, and how much of it came after the runtime was imported."""
        peak = machine.memory_peak()
        above = None
        if peak is not None and self._baseline is not None:
            above = max(0, peak - self._baseline)
        return {"memory_peak_bytes": peak, "memory_bytes": above}

    def delta(self, file: str) -> dict[str, Any]:
        """The perturbation of another photo (an ``.npy`` file), written beside it."""
        import numpy as np

        self._session.encode(np.load(file))
        self._session.infer()
        unit = self._session.decode()
        target = file[: -len(".npy")] + ".delta.npy"
        np.save(target, unit)
        return {"file": target}


def _opener(name: str) -> Any:
    """(session class, package to import first) of a format or of ``module:class``."""
    if name in OPENERS:
        return OPENERS[name], MODULES[name]
    module, _, attribute = name.partition(":")
    found = getattr(importlib.import_module(module), attribute)
    return found, found.package


def serve() -> None:
    """Answer requests until standard input ends."""
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    bench: Bench | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "open":
                bench = Bench(request["cell"])
                answer: dict[str, Any] = bench.opened()
            elif bench is None:
                raise ValueError("nothing is open")
            elif request["do"] == "run":
                answer = bench.run(request["count"])
            elif request["do"] == "delta":
                answer = bench.delta(request["photo"])
            else:
                answer = bench.memory()
        except Exception as error:  # noqa: BLE001 - told to the driver, whatever it is
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            answer = {"error": reason, "missing": isinstance(error, UnavailableError)}
        channel.write(json.dumps(answer) + "\n")
        channel.flush()


if __name__ == "__main__":
    serve()
