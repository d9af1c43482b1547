"""Compressed weights and quantized activations.

``constexpr_*`` operations have constant parameters only; they are run once, when a program is
loaded.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from rid_export.mil.dtypes import dtype_from_name, unpack_bits
from rid_export.mil.errors import MilError
from rid_export.mil.ops.params import to_int, to_ints
from rid_export.mil.registry import mil_op


def _along(parameter: Tensor, data: Tensor, axis: Tensor | None) -> Tensor:
    """A scalar or [data.shape[axis]] parameter as float32, shaped to broadcast against data."""
    if parameter.ndim == 0:
        return parameter.float()
    if axis is None:
        raise MilError("a scale or zero point per channel needs an axis")
    sizes = [1] * data.ndim
    sizes[to_int(axis)] = -1
    return parameter.float().reshape(sizes)


def _blocks(parameter: Tensor, shape: torch.Size) -> Tensor:
    """Block-wise parameters repeated to the size of the data that they describe."""
    for axis, size in enumerate(shape):
        times, rest = divmod(size, parameter.shape[axis])
        if rest:
            raise MilError(
                f"axis {axis} of {size} is no multiple of {parameter.shape[axis]} blocks"
            )
        if times > 1:
            parameter = parameter.repeat_interleave(times, axis)
    return parameter


@mil_op("constexpr_affine_dequantize")
def constexpr_affine_dequantize(
    quantized_data: Tensor, zero_point: Tensor, scale: Tensor, axis: Tensor
) -> Tensor:
    """Compute scale * (data - zero_point), per tensor or per slice along ``axis`` (iOS 16)."""
    data = quantized_data.float() - _along(zero_point, quantized_data, axis)
    return _along(scale, quantized_data, axis) * data


@mil_op("constexpr_blockwise_shift_scale")
def constexpr_blockwise_shift_scale(
    data: Tensor, scale: Tensor, offset: Tensor | None = None
) -> Tensor:
    """Compute scale * (data - offset) with one scale and offset per block (iOS 18).

    ``scale`` has the rank of ``data``; each of its sizes divides the one of ``data``.
    """
    values = data.float()
    if offset is not None:
        values = values - _blocks(offset, data.shape).float()
    return _blocks(scale, data.shape) * values


def _packed_lut(indices: Tensor, lut: Tensor, shape: list[int]) -> Tensor:
    """One palette [2**n] for the whole tensor; indices packed into bytes (iOS 16)."""
    bits = int(math.log2(lut.numel()))
    if 2**bits != lut.numel():
        raise MilError(f"a palette of {lut.numel()} entries is no power of two")
    count = math.prod(shape)
    packed = indices.numpy().astype(np.uint8)
    if packed.size * 8 < count * bits:
        raise MilError(f"{packed.size} bytes cannot hold {count} indices of {bits} bits")
    if bits == 8:
        picked = packed[:count]
    else:
        picked = unpack_bits(packed, dtype_from_name(f"uint{bits}"), count).astype(np.uint8)
    return lut[torch.from_numpy(picked.astype(np.int64))].reshape(shape)


@mil_op("constexpr_lut_to_dense")
def constexpr_lut_to_dense(
    indices: Tensor, lut: Tensor, shape: Tensor | None = None, vector_axis: Tensor | None = None
) -> Tensor:
    """Palettized weights: each index stands for an entry of its palette.

    iOS 16: see :func:`_packed_lut`. iOS 18: ``lut`` is [*blocks, 2**n, vector]: a palette for each
    block of the indices, whose entries are vectors laid out along ``vector_axis``.
    """
    if shape is not None:
        return _packed_lut(indices, lut, to_ints(shape))
    rank = indices.ndim
    if lut.ndim != rank + 2:
        raise MilError(f"palettes of rank {lut.ndim} do not fit indices of rank {rank}")
    entries, vector = lut.shape[-2:]
    palettes = _blocks(lut, indices.shape).reshape(-1, entries, vector)
    picked = palettes[torch.arange(indices.numel()), indices.flatten().long()]
    dense = picked.reshape(*indices.shape, vector)
    if vector == 1:
        return dense.squeeze(-1)
    if vector_axis is None:
        raise MilError("palettes of vectors need a vector_axis")
    axis = to_int(vector_axis) % rank
    return dense.movedim(-1, axis + 1).flatten(axis, axis + 1)


@mil_op("constexpr_cast")
def constexpr_cast(source_val: Tensor, output_dtype: str) -> Tensor:
    """Weights stored in one float type, used in another."""
    return source_val.to(dtype_from_name(output_dtype).torch_dtype())


@mil_op("quantize")
def quantize(
    input: Tensor,
    scale: Tensor,
    output_dtype: str,
    zero_point: Tensor | None = None,
    axis: Tensor | None = None,
) -> Tensor:
    """Compute clip(round(input / scale) + zero_point) to int8 or uint8; halves round to even."""
    target = dtype_from_name(output_dtype).torch_dtype()
    levels = torch.round(input / _along(scale, input, axis))
    if zero_point is not None:
        levels = levels + _along(zero_point, input, axis)
    if levels.isnan().any():  # it would turn into an ordinary level, and nobody would notice
        raise MilError("a NaN is quantized; look for the layer that makes it with observe=")
    limits = torch.iinfo(target)
    return levels.clamp(limits.min, limits.max).to(target)


@mil_op("dequantize")
def dequantize(
    input: Tensor, scale: Tensor, zero_point: Tensor | None = None, axis: Tensor | None = None
) -> Tensor:
    """Compute scale * (input - zero_point)."""
    values = input.float()
    if zero_point is not None:
        values = values - _along(zero_point, input, axis)
    return _along(scale, input, axis) * values
