"""Resizing of the last two axes."""

from __future__ import annotations

import torch
from torch import Tensor

from rid_export.mil.errors import MilError
from rid_export.mil.ops.params import to_bool, to_int
from rid_export.mil.registry import mil_op


def _grid(size: int, target: int, mode: str) -> Tensor:
    """Where in [0, size - 1] each of ``target`` samples lies; [target], float64.

    The five sampling modes are those documented at MIL's ``resize_bilinear``.
    """
    index = torch.arange(target, dtype=torch.float64)
    match mode:
        case "ALIGN_CORNERS" if target == 1:
            points = torch.full((1,), (size - 1) / 2, dtype=torch.float64)
        case "STRICT_ALIGN_CORNERS" | "ALIGN_CORNERS":
            points = index * ((size - 1) / max(target - 1, 1))
        case "DEFAULT":  # its spacing, (size - size / target) / (target - 1), is size / target
            points = index * (size / target)
        case "OFFSET_CORNERS":
            points = (index + 0.5) * (max(1, size - 1) / target)
        case "UNALIGN_CORNERS":
            points = (index + 0.5) * (size / target) - 0.5
        case _:
            raise MilError(f"no sampling mode {mode!r} is modelled")
    return points.clamp(0, size - 1)


def _interpolate(x: Tensor, axis: int, target: int, mode: str) -> Tensor:
    """Sample x linearly at ``target`` points along ``axis``."""
    size = x.shape[axis]
    points = _grid(size, target, mode)
    low = points.floor()
    fraction = (points - low).to(x.dtype)
    fraction = fraction.reshape(-1, *[1] * (-1 - axis))
    first = low.long()
    second = (first + 1).clamp(max=size - 1)
    left, right = x.index_select(axis, first), x.index_select(axis, second)
    return left + (right - left) * fraction


def _bilinear(x: Tensor, height: int, width: int, mode: str) -> Tensor:
    return _interpolate(_interpolate(x, -2, height, mode), -1, width, mode)


def _scaled(size: int, factor: Tensor | None) -> int:
    """Compute floor(size * factor), factor 1 unless given."""
    return size if factor is None else int(size * float(factor.item()))


@mil_op("upsample_bilinear")
def upsample_bilinear(
    x: Tensor,
    scale_factor_height: Tensor | None = None,
    scale_factor_width: Tensor | None = None,
    align_corners: Tensor | None = None,
    half_pixel_centers: Tensor | None = None,
) -> Tensor:
    """Resize by factors; the grid is worked out again from the sizes, as MIL documents.

    ``half_pixel_centers`` (iOS 16) must be what ``align_corners`` implies; the third combination is
    not modelled.
    """
    aligned = to_bool(align_corners, True)
    if to_bool(half_pixel_centers, not aligned) == aligned:
        raise MilError("upsample_bilinear with this half_pixel_centers is not modelled")
    mode = "STRICT_ALIGN_CORNERS" if aligned else "UNALIGN_CORNERS"
    height = _scaled(x.shape[-2], scale_factor_height)
    return _bilinear(x, height, _scaled(x.shape[-1], scale_factor_width), mode)


@mil_op("resize_bilinear")
def resize_bilinear(
    x: Tensor,
    target_size_height: Tensor | None = None,
    target_size_width: Tensor | None = None,
    sampling_mode: str = "DEFAULT",
) -> Tensor:
    """Resize to a size, 1 unless given."""
    height = 1 if target_size_height is None else to_int(target_size_height)
    width = 1 if target_size_width is None else to_int(target_size_width)
    return _bilinear(x, height, width, sampling_mode)


@mil_op("upsample_nearest_neighbor")
def upsample_nearest_neighbor(
    x: Tensor,
    scale_factor_height: Tensor | None = None,
    scale_factor_width: Tensor | None = None,
) -> Tensor:
    """Every element repeated; factors that are no whole numbers are refused.

    Core ML does not document which neighbour a fractional factor takes.
    """
    for axis, factor in ((-2, scale_factor_height), (-1, scale_factor_width)):
        if factor is None:
            continue
        times = float(factor.item())
        if not times.is_integer() or times < 1:
            raise MilError(f"upsample_nearest_neighbor by {times} is not modelled; use 2, 3, …")
        x = x.repeat_interleave(int(times), axis)
    return x
