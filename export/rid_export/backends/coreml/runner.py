"""Run a package with the interpreter of ML programs, and look inside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from rid_export.mil import MilProgram


class MilRunner:
    """The interpreter of ML programs; see :class:`rid_core.runtimes.base.Session`."""

    def __init__(self, program: MilProgram) -> None:
        self.name = "rid_export.mil, a reference interpreter (not Core ML)"
        self._program = program
        self._stored = np.empty(0)
        self._values: dict[str, np.ndarray] = {}

    @classmethod
    def load(cls, path: Path) -> MilRunner:
        """Read the package at ``path``; MilError if it is damaged."""
        from rid_export.mil import MilProgram

        return cls(MilProgram.load(path))

    def feed(self, stored: np.ndarray) -> None:
        """Set the picture, uint8 [H, W, 3]."""
        self._stored = stored

    def infer(self) -> None:
        """Run the program."""
        self._values = self._program.predict({"image": self._stored})

    def fetch(self, name: str) -> np.ndarray:
        """A picture as uint8 [H, W, 3], or a multi-array [1, 3, H, W]."""
        return self._values[name]

    def delta(self, image: np.ndarray) -> np.ndarray:
        """The unit perturbation, [H, W, 3], for a float32 image [H, W, 3] in [0, 1]."""
        self.feed(_pixels(image))
        self.infer()
        planes: np.ndarray = self.fetch("delta")[0].astype(np.float32)
        return planes.transpose(1, 2, 0)

    def activations(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Every float result of the program, by the name of its variable."""
        found: dict[str, np.ndarray] = {}

        def observe(name: str, _: str, tensor: Tensor) -> None:
            if tensor.is_floating_point():
                found[name] = tensor.numpy()

        self._program.run({"image": _pixels(image)}, observe=observe)
        return found


def _pixels(image: np.ndarray) -> np.ndarray:
    pixels: np.ndarray = np.rint(image * 255).clip(0, 255).astype(np.uint8)
    return pixels
