"""What every runtime promises, whatever file it opened."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Runtime(Protocol):
    """A defender that is ready to run.

    Attributes:
        name: runtime and version for people, such as ``"LiteRT 2.3.0, XNNPACK"``.
        preset: name of the defender.
        levels: bound the defender was made for, in 8-bit levels.
        stride: multiple of pixels that height and width must be.
        fixed_size: the only height and width accepted, or None.
    """

    name: str
    preset: str
    levels: int
    stride: int
    fixed_size: int | None

    def perturb(self, image: np.ndarray) -> np.ndarray:
        """Predict the unit perturbation of one image.

        Args:
            image: float32 RGB in [0, 1], shape [H, W, 3].

        Returns:
            float32 unit perturbation in [-1, 1], shape [H, W, 3].

        Raises:
            RidError: the size does not fit, or the result is not finite.
        """
