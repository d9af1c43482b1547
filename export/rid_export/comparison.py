"""Compare two defenders by what they answer on the gate's portraits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rid_core.errors import RidError
from rid_core.fidelity import ErrorStatistics
from rid_export.opening import Opened, open_any
from rid_export.parity import compare_worst

DEFAULT_RESOLUTION = 512


@dataclass(frozen=True)
class Comparison:
    """Two defenders and how far their perturbations are apart.

    Attributes:
        first: the reference.
        second: what is measured.
        resolution: at which both ran, in pixels.
        portraits: number of portraits; every figure is the worst over them.
        delta: statistics of the second's unit perturbation against the first's.
    """

    first: Opened
    second: Opened
    resolution: int
    portraits: int
    delta: ErrorStatistics

    @property
    def max_error_levels(self) -> float:
        """Largest error of the perturbation in 8-bit levels, at the first's bound."""
        return self.delta.max_error * self.first.levels


def compare_files(first: str | Path, second: str | Path) -> Comparison:
    """Run both on the gate's portraits.

    Args:
        first: a checkpoint, an exported file or a bundled preset.
        second: another.

    Raises:
        RidError: one of them cannot be opened, or no size suits both.
    """
    from rid_export.portraits import bundled_portraits

    one, other = open_any(first), open_any(second)
    resolution = _common_size(one, other)
    portraits = bundled_portraits(resolution)
    truth, measured = (
        [opened.runner.run(image)["delta"] for image in portraits] for opened in (one, other)
    )
    worst = compare_worst(truth, measured, 1 / one.levels)
    return Comparison(one, other, resolution, len(portraits), worst)


def _common_size(one: Opened, other: Opened) -> int:
    sizes = {opened.fixed_size for opened in (one, other) if opened.fixed_size is not None}
    if len(sizes) > 1:
        raise RidError(
            f"{one.path} works at {one.fixed_size} pixels, {other.path} at {other.fixed_size}: "
            "export both at the same --resolution"
        )
    size = sizes.pop() if sizes else DEFAULT_RESOLUTION
    for opened in (one, other):
        if size % opened.stride:
            raise RidError(f"{opened.path} needs a multiple of {opened.stride} pixels, not {size}")
    return size
