"""Convolutions of one to three spatial dimensions."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from rid_export.mil.errors import MilError
from rid_export.mil.ops.params import ints_or, to_int, to_ints
from rid_export.mil.registry import mil_op

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def _spans(kernel: list[int], dilations: list[int]) -> list[int]:
    """Pixels that a dilated kernel covers, per dimension."""
    return [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]


def _halves(total: int, lower: bool) -> tuple[int, int]:
    """``total`` padding before and after; the odd pixel goes after, or before if ``lower``."""
    small = total // 2
    return (total - small, small) if lower else (small, total - small)


def _pad_pairs(
    pad_type: str, pad: list[int], sizes: list[int], spans: list[int], strides: list[int]
) -> list[tuple[int, int]]:
    """Zeros before and after each spatial dimension of a convolution's input."""
    match pad_type:
        case "valid":
            return [(0, 0)] * len(sizes)
        case "custom":
            return list(zip(pad[::2], pad[1::2], strict=True))
        case "same" | "same_lower":  # output size = ceil(input size / stride)
            totals = [
                max((-(-n // s) - 1) * s + span - n, 0)
                for n, span, s in zip(sizes, spans, strides, strict=True)
            ]
            return [_halves(total, pad_type == "same_lower") for total in totals]
    raise MilError(f"conv has no pad_type {pad_type!r}")


def _pad(x: Tensor, pairs: list[tuple[int, int]]) -> Tensor:
    """Zeros around the trailing dimensions; a negative amount crops."""
    if not any(before or after for before, after in pairs):
        return x
    return F.pad(x, [amount for pair in reversed(pairs) for amount in pair])


@mil_op("conv")
def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    strides: Tensor | None = None,
    pad_type: str = "valid",
    pad: Tensor | None = None,
    dilations: Tensor | None = None,
    groups: Tensor | None = None,
) -> Tensor:
    """Convolve x [N, C, *S] with weight [C_out, C / groups, *K]; depthwise if groups is C."""
    spatial = x.ndim - 2
    stride = ints_or(strides, [1] * spatial)
    dilation = ints_or(dilations, [1] * spatial)
    pairs = _pad_pairs(
        pad_type,
        ints_or(pad, [0] * 2 * spatial),
        list(x.shape[2:]),
        _spans(list(weight.shape[2:]), dilation),
        stride,
    )
    count = 1 if groups is None else to_int(groups)
    return _CONV[spatial](
        _pad(x, pairs), weight, bias, stride=stride, dilation=dilation, groups=count
    )


@mil_op("conv_transpose")
def conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    pad: Tensor | None = None,
    output_shape: Tensor | None = None,
    pad_type: str = "valid",
    strides: Tensor | None = None,
    dilations: Tensor | None = None,
    groups: Tensor | None = None,
) -> Tensor:
    """Transpose of ``conv``: x [N, C, *S] with weight [C, C_out / groups, *K].

    The full result is cropped by the padding. With ``output_shape`` the crop starts at the padding
    and has that size; pixels past the full result are zero (plus bias), as torch's
    ``output_padding`` makes them.
    """
    spatial = x.ndim - 2
    stride = ints_or(strides, [1] * spatial)
    dilation = ints_or(dilations, [1] * spatial)
    spans = _spans(list(weight.shape[2:]), dilation)
    full = _CONV_TRANSPOSE[spatial](
        x,
        weight,
        None,
        stride=stride,
        dilation=dilation,
        groups=1 if groups is None else to_int(groups),
    )
    match pad_type:
        case "valid":
            starts = [0] * spatial
            sizes = list(full.shape[2:])
        case "custom":
            amounts = ints_or(pad, [0] * 2 * spatial)
            starts = amounts[::2]
            sizes = [
                n - before - after
                for n, before, after in zip(full.shape[2:], starts, amounts[1::2], strict=True)
            ]
        case "same":
            starts = [max(span - s, 0) // 2 for span, s in zip(spans, stride, strict=True)]
            sizes = [n * s for n, s in zip(x.shape[2:], stride, strict=True)]
        case _:
            raise MilError(f"conv_transpose has no pad_type {pad_type!r}")
    if output_shape is not None:
        sizes = to_ints(output_shape)[2:]
    crop = [
        (-start, start + size - n)
        for n, start, size in zip(full.shape[2:], starts, sizes, strict=True)
    ]
    out = _pad(full, crop)
    return out if bias is None else out + bias.reshape(-1, *[1] * spatial)
