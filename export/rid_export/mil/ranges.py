"""Ranges of activations over a calibration set, for static quantization without a Mac."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from rid_export.mil.errors import MilError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from rid_export.mil.program import MilProgram


class Range(NamedTuple):
    """Smallest and largest value seen."""

    low: float
    high: float

    def including(self, other: Range) -> Range:
        """The range that covers both."""
        return Range(min(self.low, other.low), max(self.high, other.high))


def activation_ranges(
    program: MilProgram, samples: Iterable[Mapping[str, NDArray[Any]]]
) -> dict[str, Range]:
    """Range of every input and of every operation's result over ``samples``.

    Args:
        program: the float program that is to be quantized.
        samples: inputs as for :meth:`MilProgram.predict`; at least one.

    Returns:
        Ranges by variable name, the names that coremltools' activation quantization looks up
        (``rmin`` and ``rmax`` of its ``activation_stats``).

    Raises:
        MilError: without samples, or when a result is NaN.
    """
    ranges: dict[str, Range] = {}

    def include(name: str, seen: Range) -> None:
        if seen.low != seen.low or seen.high != seen.high:
            raise MilError(f"{name!r} is NaN on a calibration sample; the float program is broken")
        ranges[name] = ranges[name].including(seen) if name in ranges else seen

    def observe(name: str, op_type: str, tensor: Tensor) -> None:
        if tensor.is_floating_point() and tensor.numel():
            include(name, Range(float(tensor.min()), float(tensor.max())))

    for sample in samples:
        program.run(sample, observe=observe)
        for name, array in sample.items():
            include(name, Range(float(array.min()), float(array.max())))
    if not ranges:
        raise MilError("there are no calibration samples; pass at least one")
    return ranges
