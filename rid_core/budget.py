"""The bound on a perturbation: the one place where it and its units live.

The bound is stated in 8-bit *levels* of the saved image. Papers state it as "eps" on an image range
that they often leave unsaid, and half of them mean [-1, 1], where the same figure is half as much:

=================  ==================  ================  ========
written in papers  meant on the range  eps on [0, 1]     levels
=================  ==================  ================  ========
12/255             [-1, 1] (RID)       6/255             6
8/255              [-1, 1] (RID)       4/255             4
6/255              [-1, 1] (RID)       3/255             3
16/255             [0, 1] (field)      16/255            16
8/255              [0, 1] (field)      8/255             8
=================  ==================  ================  ========

Works on numpy arrays and torch tensors alike and imports neither's compute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from rid_core.errors import RidError

MAX_LEVELS = 255
DEFAULT_LEVELS = 8

Array = TypeVar("Array", bound=Any)
"""A numpy array or a torch tensor."""


@dataclass(frozen=True)
class Budget:
    """A bound on the perturbation.

    >>> Budget(levels=8).eps * 255
    8.0
    >>> Budget.from_signed_eps(12 / 255)  # "12/255" of the RID paper, on [-1, 1]
    Budget(levels=6, strength=1.0)

    Attributes:
        levels: largest change of any colour value of the saved 8-bit image, 1 to 255.
        strength: share of the bound that is used, in (0, 1]; scales at run time.
    """

    levels: int = DEFAULT_LEVELS
    strength: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.levels, bool) or int(self.levels) != self.levels:
            raise RidError(f"levels must be a whole number of 8-bit levels, not {self.levels!r}")
        if not 1 <= self.levels <= MAX_LEVELS:
            raise RidError(
                f"levels must be between 1 and {MAX_LEVELS} 8-bit levels, not {self.levels}; "
                f"{DEFAULT_LEVELS} is the default"
            )
        if not 0 < self.strength <= 1:
            raise RidError(f"strength must be above 0 and at most 1, not {self.strength}")
        object.__setattr__(self, "levels", int(self.levels))

    @property
    def eps(self) -> float:
        """Largest change on an image in [0, 1], ``strength`` included."""
        return self.levels * self.strength / 255

    @property
    def signed_eps(self) -> float:
        """The same bound as the RID paper writes it: on an image in [-1, 1]."""
        return 2 * self.eps

    @classmethod
    def from_signed_eps(cls, eps: float) -> Budget:
        """Convert an eps on [-1, 1] (the RID paper and its checkpoints).

        Raises:
            RidError: the eps is not a whole number of 8-bit levels.
        """
        levels = eps * 255 / 2
        if abs(levels - round(levels)) > 1e-6:
            raise RidError(f"eps {eps:g} on [-1, 1] is {levels:g} levels, not a whole number")
        return cls(levels=round(levels))

    def apply(self, image: Array, unit: Array) -> Array:
        """Add a unit perturbation to an image: ``clamp(image + unit * eps, 0, 1)``.

        Args:
            image: float RGB in [0, 1], any layout.
            unit: unit perturbation in [-1, 1], same shape; values outside are clipped.

        Returns:
            The protected image in [0, 1]; no value differs from ``image`` by more than ``eps``.
        """
        return (image + unit.clip(-1, 1) * self.eps).clip(0, 1)

    def apply_uint8(self, image: np.ndarray, unit: np.ndarray) -> np.ndarray:
        """Add a unit perturbation to an 8-bit image, in whole levels.

        Args:
            image: uint8, any layout.
            unit: float unit perturbation in [-1, 1], same shape; values outside are clipped.

        Returns:
            uint8 image; no value differs from ``image`` by more than ``levels``.
        """
        step = np.rint(unit.clip(-1, 1) * np.float32(self.levels * self.strength))
        return (image + step.astype(np.int16)).clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Verdict:
    """What :func:`verify` found.

    Attributes:
        max_levels: largest absolute change of a colour value, in 8-bit levels.
        rms_levels: root mean square of the change, in 8-bit levels.
        psnr: peak signal-to-noise ratio in dB (infinite for equal images).
        within: whether ``max_levels`` is at most the bound.
    """

    max_levels: int
    rms_levels: float
    psnr: float
    within: bool


def apply(image: Array, unit: Array, levels: int = DEFAULT_LEVELS, strength: float = 1.0) -> Array:
    """``Budget(levels, strength).apply(image, unit)``."""
    return Budget(levels, strength).apply(image, unit)


def verify(original: np.ndarray, saved: np.ndarray, levels: int = DEFAULT_LEVELS) -> Verdict:
    """Measure the change between two 8-bit images and hold it against the bound.

    Args:
        original: uint8, any layout.
        saved: uint8, same shape: the protected image as read back from a lossless file.
        levels: the bound.

    Raises:
        RidError: shapes or dtypes differ from that.
    """
    if original.dtype != np.uint8 or saved.dtype != np.uint8:
        raise RidError("the bound is checked on 8-bit images; convert both to uint8 first")
    if original.shape != saved.shape:
        raise RidError(f"images differ in shape: {original.shape} and {saved.shape}")
    change = saved.astype(np.int16) - original
    peak = int(np.abs(change).max(initial=0))
    mean_square = float(np.square(change, dtype=np.float64).mean()) if change.size else 0.0
    psnr = 10 * float(np.log10(255**2 / mean_square)) if mean_square else float("inf")
    return Verdict(peak, mean_square**0.5, psnr, peak <= Budget(levels).levels)
