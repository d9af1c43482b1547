"""Sessions that tests measure: quick, and with faults on purpose. Workers import this by name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np


class Stub:
    """Sleeps; writes a line per batch to a log, so that the order of turns can be seen."""

    package = "json"
    on_cpu = True

    def __init__(self, path: str, threads: int, **about: Any) -> None:
        self.about = about
        self.runs = 0
        self.name = "stub"
        self.ballast = np.ones(about.get("bytes", 0), np.uint8)
        if about.get("refuse"):
            raise ValueError(about["refuse"])

    def encode(self, image: np.ndarray) -> None:
        self.runs += 1

    def infer(self) -> None:
        if self.about.get("log"):
            with Path(self.about["log"]).open("a") as log:
                log.write(self.about["letter"])
        if self.about.get("die_at") == self.runs:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.about.get("raise_at") == self.runs:
            raise RuntimeError("numerical trouble")
        end = time.perf_counter() + self.about.get("seconds", 0.0)
        while time.perf_counter() < end:
            if not self.about.get("busy", True):
                time.sleep(0.001)

    def decode(self) -> np.ndarray:
        return np.zeros((1, 1, 3), np.float32)


class Missing(Stub):
    package = "a_package_that_nobody_has"


class Chatty(Stub):
    """Prints to standard output, as runtimes do; answers must not be disturbed."""

    def infer(self) -> None:
        os.write(1, b"INFO: a notice\n")
        print("and another")
