"""Reductions over axes, all axes unless given."""

from __future__ import annotations

from torch import Tensor

from rid_export.mil.ops.params import ints_or, to_bool
from rid_export.mil.registry import mil_op


def _axes(x: Tensor, axes: Tensor | None) -> list[int]:
    return ints_or(axes, list(range(x.ndim)))


@mil_op("reduce_mean")
def reduce_mean(x: Tensor, axes: Tensor | None = None, keep_dims: Tensor | None = None) -> Tensor:
    """Mean."""
    return x.mean(_axes(x, axes), keepdim=to_bool(keep_dims, False))


@mil_op("reduce_sum")
def reduce_sum(x: Tensor, axes: Tensor | None = None, keep_dims: Tensor | None = None) -> Tensor:
    """Sum, in the type of x."""
    return x.sum(_axes(x, axes), keepdim=to_bool(keep_dims, False), dtype=x.dtype)


@mil_op("reduce_max")
def reduce_max(x: Tensor, axes: Tensor | None = None, keep_dims: Tensor | None = None) -> Tensor:
    """Largest value."""
    return x.amax(_axes(x, axes), keepdim=to_bool(keep_dims, False))


@mil_op("reduce_min")
def reduce_min(x: Tensor, axes: Tensor | None = None, keep_dims: Tensor | None = None) -> Tensor:
    """Smallest value."""
    return x.amin(_axes(x, axes), keepdim=to_bool(keep_dims, False))
