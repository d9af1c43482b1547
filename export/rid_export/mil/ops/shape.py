"""Operations that move or copy elements without changing them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from rid_export.mil.errors import MilError
from rid_export.mil.ops.params import ints_or, sequence, to_bool, to_int, to_ints
from rid_export.mil.registry import mil_op


@mil_op("transpose")
def transpose(x: Tensor, perm: Tensor) -> Tensor:
    """Axis i of the result is axis perm[i] of x."""
    return x.permute(to_ints(perm))


@mil_op("reshape")
def reshape(x: Tensor, shape: Tensor) -> Tensor:
    """The same elements in another shape; 0 keeps the size of x's axis, one -1 is worked out."""
    sizes = to_ints(shape)
    if 0 in sizes and len(sizes) != x.ndim:
        raise MilError(f"reshape to {sizes} keeps a size of x, whose rank is {x.ndim}")
    return x.reshape([x.shape[axis] if n == 0 else n for axis, n in enumerate(sizes)])


@mil_op("expand_dims")
def expand_dims(x: Tensor, axes: Tensor) -> Tensor:
    """Axes of size 1 inserted; ``axes`` count in the result."""
    positions = to_ints(axes)
    rank = x.ndim + len(positions)
    for axis in sorted(axis % rank for axis in positions):
        x = x.unsqueeze(axis)
    return x


@mil_op("squeeze")
def squeeze(x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Axes of size 1 removed: those named, or all. A named axis of another size stays."""
    return x.squeeze(tuple(ints_or(axes, list(range(x.ndim)))))


@mil_op("concat")
def concat(values: Tensor | list[Tensor], axis: Tensor, interleave: Tensor | None = None) -> Tensor:
    """Tensors joined along ``axis``; interleaved, index i of each comes before index i + 1."""
    parts = sequence(values)
    dim = to_int(axis)
    if not to_bool(interleave, False):
        return torch.cat(parts, dim)
    dim %= parts[0].ndim
    return torch.stack(parts, dim + 1).flatten(dim, dim + 1)


@mil_op("stack")
def stack(values: Tensor | list[Tensor], axis: Tensor) -> Tensor:
    """Tensors of one shape joined along a new ``axis``."""
    return torch.stack(sequence(values), to_int(axis))


@mil_op("split")
def split(
    x: Tensor, axis: Tensor, num_splits: Tensor | None = None, split_sizes: Tensor | None = None
) -> tuple[Tensor, ...]:
    """Cut x along ``axis`` into parts of given sizes, or into a number of equal parts."""
    dim = to_int(axis)
    if split_sizes is not None:
        return torch.split(x, to_ints(split_sizes), dim)
    if num_splits is None or x.shape[dim] % to_int(num_splits):
        raise MilError(f"split needs sizes, or a number of parts that divides {x.shape[dim]}")
    return torch.split(x, x.shape[dim] // to_int(num_splits), dim)


@mil_op("slice_by_index")
def slice_by_index(
    x: Tensor,
    begin: Tensor,
    end: Tensor,
    stride: Tensor | None = None,
    begin_mask: Tensor | None = None,
    end_mask: Tensor | None = None,
    squeeze_mask: Tensor | None = None,
) -> Tensor:
    """Take x[begin:end:stride] on every axis, numpy's rules.

    A begin or end mask leaves that bound open; a squeeze mask takes one index and drops the axis.
    """
    rank = x.ndim
    off = [0] * rank
    strides = ints_or(stride, [1] * rank)
    open_begin, open_end = ints_or(begin_mask, off), ints_or(end_mask, off)
    squeezed = ints_or(squeeze_mask, off)
    begins, ends = to_ints(begin), to_ints(end)
    for axis in range(rank):
        size = x.shape[axis]
        start = None if open_begin[axis] else begins[axis]
        if squeezed[axis]:
            picked = [range(size)[start or 0]]
        else:
            stop = None if open_end[axis] else ends[axis]
            picked = list(range(size)[start : stop : strides[axis]])
        x = x.index_select(axis, torch.tensor(picked, dtype=torch.int64))
    return x.squeeze(tuple(axis for axis in range(rank) if squeezed[axis]))


@mil_op("slice_by_size")
def slice_by_size(x: Tensor, begin: Tensor, size: Tensor) -> Tensor:
    """``size`` elements from ``begin`` on every axis; size -1 takes the rest."""
    for axis, (start, length) in enumerate(zip(to_ints(begin), to_ints(size), strict=True)):
        first = start % x.shape[axis] if start < 0 else start
        x = x.narrow(axis, first, x.shape[axis] - first if length == -1 else length)
    return x


@mil_op("reverse")
def reverse(x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Order reversed along ``axes``, all unless given."""
    return x.flip(ints_or(axes, list(range(x.ndim))))


@mil_op("tile")
def tile(x: Tensor, reps: Tensor) -> Tensor:
    """Copies of x side by side, ``reps`` on each axis."""
    return x.repeat(to_ints(reps))


@mil_op("crop")
def crop(x: Tensor, crop_height: Tensor, crop_width: Tensor) -> Tensor:
    """Rows and columns (before, after) cut off the last two axes."""
    for axis, amounts in ((-2, crop_height), (-1, crop_width)):
        before, after = to_ints(amounts)
        x = x.narrow(axis, before, x.shape[axis] - before - after)
    return x


def _source_indices(size: int, before: int, after: int, mode: str) -> list[int]:
    """For each element of a padded axis, the element of the axis that it repeats."""
    indices = range(-before, size + after)
    if mode == "replicate":
        return [min(max(i, 0), size - 1) for i in indices]
    if max(before, after) >= size:
        raise MilError(f"pad cannot reflect {max(before, after)} elements of an axis of {size}")
    last = size - 1
    return [last - abs(last - abs(i)) for i in indices]


@mil_op("pad")
def pad(
    x: Tensor, pad: Tensor, mode: str = "constant", constant_val: Tensor | None = None
) -> Tensor:
    """The last axes padded; ``pad`` lists (before, after) from the first of them to the last."""
    amounts = to_ints(pad)
    pairs = list(zip(amounts[::2], amounts[1::2], strict=True))
    if mode == "constant":
        value = 0.0 if constant_val is None else float(constant_val.item())
        return F.pad(x, [n for pair in reversed(pairs) for n in pair], value=value)
    if mode not in ("reflect", "replicate"):
        raise MilError(f"pad has no mode {mode!r}")
    for axis, (before, after) in enumerate(pairs, x.ndim - len(pairs)):
        source = _source_indices(x.shape[axis], before, after, mode)
        x = x.index_select(axis, torch.tensor(source, dtype=torch.int64))
    return x
