"""The limits of a machine, arithmetic and memory traffic, measured as networks are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .records import Cell, Measured, Peak
from .worker import Job

MATMUL_SIDE = 1024
COPY_BYTES = 64 << 20
AMOUNT = {"matmul": MATMUL_SIDE**3, "copy": 2 * COPY_BYTES}
"""Of one repetition: multiply-adds, or bytes read and written."""


class Matmul:
    """One product of two square float32 matrices in numpy."""

    package = "numpy"
    on_cpu = True

    def __init__(self, path: str, threads: int) -> None:
        draw = np.random.default_rng(0)
        shape = (MATMUL_SIDE, MATMUL_SIDE)
        self._left = draw.standard_normal(shape, dtype=np.float32)
        self._right = draw.standard_normal(shape, dtype=np.float32)
        self._product = np.empty_like(self._left)
        self.name = f"numpy {np.__version__}, float32 product of side {MATMUL_SIDE}"

    def encode(self, image: np.ndarray) -> None:
        """Nothing to prepare."""

    def infer(self) -> None:
        """One product."""
        np.matmul(self._left, self._right, out=self._product)

    def decode(self) -> np.ndarray:
        """The product, which nobody looks at."""
        return self._product


class Copy:
    """A copy of a large float32 array, by all threads."""

    package = "numpy"
    on_cpu = True

    def __init__(self, path: str, threads: int) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._source = np.ones(COPY_BYTES // 4, np.float32)
        self._target = np.zeros_like(self._source)
        edges = np.linspace(0, self._source.size, threads + 1).astype(int)
        self._parts = [slice(edges[n], edges[n + 1]) for n in range(threads)]
        self._pool = ThreadPoolExecutor(threads)
        self.name = f"numpy {np.__version__}, copy of {COPY_BYTES >> 20} MiB"

    def encode(self, image: np.ndarray) -> None:
        """Nothing to prepare."""

    def infer(self) -> None:
        """One copy; numpy lets go of its lock, so the threads really work side by side."""
        list(self._pool.map(self._copy, self._parts))

    def _copy(self, part: slice) -> None:
        np.copyto(self._target[part], self._source[part])

    def decode(self) -> np.ndarray:
        """The copy."""
        return self._target


def jobs(photo: str, threads: Sequence[int]) -> list[Job]:
    """What measures the limits."""
    return [
        Job(f"{__name__}:{kind}", Cell(kind.lower(), threads=count), photo)
        for kind in ("Matmul", "Copy")
        for count in threads
    ]


def peaks(cells: Sequence[Cell]) -> list[Peak]:
    """From results of cells called ``matmul`` and ``copy`` to rates per second."""
    return [
        Peak(cell.runtime, cell.name, cell.threads, AMOUNT[cell.name] / cell.alone.minimum)
        for cell in cells
        if isinstance(cell, Measured)
    ]
