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

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeVar

import numpy as np

from rid_core.errors import RidError

MAX_LEVELS = 255
DEFAULT_LEVELS = 8

Array = TypeVar("Array", bound=Any)
"""A numpy array or a torch tensor."""

_PIECE = 1 << 20


def _is_number(value: object) -> bool:
    """Whether ``value`` is a real number, numpy's included; True and False are not meant."""
    return isinstance(value, Real) and not isinstance(value, (bool, np.bool_))


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
        if not _is_number(self.levels) or not float(self.levels).is_integer():
            raise RidError(f"levels must be a whole number of 8-bit levels, not {self.levels!r}")
        if not 1 <= self.levels <= MAX_LEVELS:
            raise RidError(
                f"levels must be between 1 and {MAX_LEVELS} 8-bit levels, not {self.levels}; "
                f"{DEFAULT_LEVELS} is the default"
            )
        if not _is_number(self.strength) or not 0 < self.strength <= 1:
            raise RidError(f"strength must be above 0 and at most 1, not {self.strength!r}")
        object.__setattr__(self, "levels", int(self.levels))
        object.__setattr__(self, "strength", float(self.strength))

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
        if not math.isfinite(levels) or abs(levels - round(levels)) > 1e-6:
            raise RidError(f"eps {eps:g} on [-1, 1] is {levels:g} levels, not a whole number")
        return cls(levels=round(levels))

    def apply(self, image: Array, unit: Array) -> Array:
        """Add a unit perturbation to an image: ``clamp(image + unit * eps, 0, 1)``.

        Args:
            image: float RGB in [0, 1], any layout.
            unit: unit perturbation in [-1, 1], same shape; values outside are clipped. NaN stays
                NaN: nothing in a graph can refuse it, so whoever reads the result must look.

        Returns:
            The protected image in [0, 1]; no value differs from ``image`` by more than ``eps``.
        """
        protected: Array = (image + unit.clip(-1, 1) * self.eps).clip(0, 1)
        return protected

    def apply_uint8(self, image: np.ndarray, unit: np.ndarray) -> np.ndarray:
        """Add a unit perturbation to an 8-bit image, in whole levels.

        Args:
            image: uint8, any layout.
            unit: float unit perturbation in [-1, 1], same shape; values outside are clipped.

        Returns:
            uint8 image; no value differs from ``image`` by more than ``levels``.

        Raises:
            RidError: another dtype or shape, or NaN in ``unit``, which has no level.
        """
        if image.dtype != np.uint8 or image.shape != unit.shape:
            raise RidError(
                f"a uint8 image and a perturbation of its shape are needed, not {image.dtype} "
                f"{image.shape} and {unit.shape}"
            )
        if bool(np.isnan(unit).any()):
            raise RidError("the perturbation holds NaN; the model file is damaged or overflows")
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
    before, after = original.reshape(-1), saved.reshape(-1)
    peak = total = 0
    # By pieces: the whole difference of a 50-megapixel photo would take over a gigabyte.
    for start in range(0, before.size, _PIECE):
        change = after[start : start + _PIECE].astype(np.int64) - before[start : start + _PIECE]
        peak = max(peak, int(np.abs(change).max()))
        total += int(np.dot(change, change))
    mean_square = total / max(before.size, 1)
    psnr = 10 * math.log10(255**2 / mean_square) if mean_square else math.inf
    return Verdict(peak, mean_square**0.5, psnr, peak <= Budget(levels).levels)
