"""Run a package with the interpreter of ML programs, and look inside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from rid_export.mil import MilProgram


class MilRunner:
    """The interpreter of ML programs as a runner: 8-bit images in and out, as in an app."""

    def __init__(self, program: MilProgram) -> None:
        self.name = "rid_export.mil, a reference interpreter (not Core ML)"
        self._program = program

    @classmethod
    def load(cls, path: Path) -> MilRunner:
        """Read the package at ``path``; MilError if it is damaged."""
        from rid_export.mil import MilProgram

        return cls(MilProgram.load(path))

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs by name for a float32 image [H, W, 3] in [0, 1]."""
        raw = self._program.predict({"image": _pixels(image)})
        plain = {}
        for name, value in raw.items():
            if value.dtype == np.uint8:
                plain[name] = value.astype(np.float32) / 255
            else:
                plain[name] = value[0].astype(np.float32).transpose(1, 2, 0)
        return plain

    def delta(self, image: np.ndarray) -> np.ndarray:
        """The unit perturbation, [H, W, 3]."""
        return self.run(image)["delta"]

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
