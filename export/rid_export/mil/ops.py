"""The operations that our networks, presets and precisions convert to, and no others.

An operation is a function of torch tensors, keyword by keyword as MIL names its parameters.
Floating-point tensors arrive as float32, whatever their declared type; the result is rounded to the
declared type of the output by the caller. Strings arrive as ``str``, and parameters left out keep
the function's default. To add one, write its function and name it in :data:`OPERATIONS`.

Semantics follow the public documentation of coremltools' MIL operations (``ops/defs``), checked op
by op against torch in ``tests/export/test_mil_ops.py``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from rid_export.mil.dtypes import MilError, dtype_from_name


def to_ints(value: Tensor) -> list[int]:
    """The values of an integer or boolean tensor, flattened."""
    return [int(item) for item in value.flatten().tolist()]


def to_int(value: Tensor) -> int:
    """The value of a tensor with one integer."""
    return int(value.item())


def to_bool(value: Tensor | None, default: bool) -> bool:
    """The value of a tensor with one boolean, or ``default`` when the parameter was left out."""
    return default if value is None else bool(value.item())


def ints_or(value: Tensor | None, default: list[int]) -> list[int]:
    """The values of an integer tensor, or ``default`` when the parameter was left out."""
    return default if value is None else to_ints(value)


# -- elementwise, with numpy's broadcasting --------------------------------------------------------


def add(x: Tensor, y: Tensor) -> Tensor:
    """Sum."""
    return x + y


def sub(x: Tensor, y: Tensor) -> Tensor:
    """Difference."""
    return x - y


def mul(x: Tensor, y: Tensor) -> Tensor:
    """Product."""
    return x * y


def clip(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """Limit x to [alpha, beta]."""
    return torch.minimum(torch.maximum(x, alpha), beta)


def round_half_even(x: Tensor) -> Tensor:
    """Nearest integer; halves go to the even one (MIL's reference evaluates numpy's ``round``)."""
    return torch.round(x)


def cast(x: Tensor, dtype: str) -> Tensor:
    """Convert to ``dtype``; floats lose their fraction on the way to an integer.

    A value that the integer type cannot hold is refused: Core ML leaves the result undefined.
    """
    target = dtype_from_name(dtype).torch_dtype()
    if target is torch.bool or target.is_floating_point or x.dtype is torch.bool:
        return x.to(target)
    limits = torch.iinfo(target)
    if not x.numel() or (x.min() >= limits.min and x.max() <= limits.max):
        return x.to(target)
    raise MilError(f"a value outside {dtype} is cast to it, which Core ML leaves undefined")


def relu(x: Tensor) -> Tensor:
    """Limit x to [0, inf)."""
    return F.relu(x)


def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return torch.tanh(x)


def gelu(x: Tensor, mode: str = "EXACT") -> Tensor:
    """Gaussian error linear unit: exact (erf), or its approximation by tanh."""
    match mode:
        case "EXACT":
            return F.gelu(x)
        case "TANH_APPROXIMATION":
            return F.gelu(x, approximate="tanh")
    raise MilError(f"gelu with mode {mode!r} is not modelled")


def softmax(x: Tensor, axis: Tensor | None = None) -> Tensor:
    """Divide exp(x) by its sum along ``axis``, the last unless given."""
    return torch.softmax(x, -1 if axis is None else to_int(axis))


# -- layers ----------------------------------------------------------------------------------------


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
    """Convolve x [N, C, H, W] with weight [C_out, C / groups, *K]; depthwise if groups is C."""
    if x.ndim != 4:
        raise MilError(f"conv of rank {x.ndim} is not modelled; only 2-D convolutions are")
    if pad_type not in ("valid", "custom"):
        raise MilError(f"conv with pad_type {pad_type!r} is not modelled")
    if pad_type == "custom":  # before and after in rows, then in columns
        top, bottom, left, right = ints_or(pad, [0] * 4)
        x = F.pad(x, (left, right, top, bottom))
    return F.conv2d(
        x,
        weight,
        bias,
        stride=ints_or(strides, [1, 1]),
        dilation=ints_or(dilations, [1, 1]),
        groups=1 if groups is None else to_int(groups),
    )


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply x [*, D_in] by weight [D_out, D_in] transposed, plus bias [D_out]."""
    return F.linear(x, weight, bias)


def matmul(
    x: Tensor, y: Tensor, transpose_x: Tensor | None = None, transpose_y: Tensor | None = None
) -> Tensor:
    """Batched matrix product; either side may be transposed in its last two axes first."""
    if to_bool(transpose_x, False) and x.ndim > 1:
        x = x.transpose(-1, -2)
    if to_bool(transpose_y, False) and y.ndim > 1:
        y = y.transpose(-1, -2)
    return x @ y


def layer_norm(
    x: Tensor,
    axes: Tensor | None = None,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: Tensor | None = None,
) -> Tensor:
    """Normalise x over ``axes``, all unless given; gamma and beta have the sizes of those axes.

    Compute (x - mean) / sqrt(variance + epsilon) * gamma + beta.
    """
    chosen = sorted(axis % x.ndim for axis in ints_or(axes, list(range(x.ndim))))
    mean = x.mean(chosen, keepdim=True)
    variance = x.var(chosen, correction=0, keepdim=True)
    y = (x - mean) / (variance + (1e-5 if epsilon is None else epsilon)).sqrt()
    sizes = [n if axis in chosen else 1 for axis, n in enumerate(x.shape)]
    if gamma is not None:
        y = y * gamma.reshape(sizes)
    return y if beta is None else y + beta.reshape(sizes)


# -- what moves elements without changing them -----------------------------------------------------


def transpose(x: Tensor, perm: Tensor) -> Tensor:
    """Axis i of the result is axis perm[i] of x."""
    return x.permute(to_ints(perm))


def reshape(x: Tensor, shape: Tensor) -> Tensor:
    """The same elements in another shape; 0 keeps the size of x's axis, one -1 is worked out."""
    sizes = to_ints(shape)
    if 0 in sizes and len(sizes) != x.ndim:
        raise MilError(f"reshape to {sizes} keeps a size of x, whose rank is {x.ndim}")
    return x.reshape([x.shape[axis] if n == 0 else n for axis, n in enumerate(sizes)])


def squeeze(x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Axes of size 1 removed: those named, or all. A named axis of another size stays."""
    return x.squeeze(tuple(ints_or(axes, list(range(x.ndim)))))


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


def pixel_shuffle(x: Tensor, upscale_factor: Tensor) -> Tensor:
    """[N, C * f * f, H, W] -> [N, C, H * f, W * f], channels as (channel, row, column)."""
    return F.pixel_shuffle(x, to_int(upscale_factor))


# -- compressed weights and quantized activations --------------------------------------------------
#
# ``constexpr_*`` operations have constant parameters only; they are run once, when a program is
# loaded.


def _along(parameter: Tensor, data: Tensor, axis: Tensor | None) -> Tensor:
    """A scalar or [data.shape[axis]] parameter as float32, shaped to broadcast against data."""
    if parameter.ndim == 0:
        return parameter.float()
    if axis is None:
        raise MilError("a scale or zero point per channel needs an axis")
    sizes = [1] * data.ndim
    sizes[to_int(axis)] = -1
    return parameter.float().reshape(sizes)


def constexpr_affine_dequantize(
    quantized_data: Tensor, zero_point: Tensor, scale: Tensor, axis: Tensor
) -> Tensor:
    """Compute scale * (data - zero_point), per tensor or per slice along ``axis`` (iOS 16)."""
    data = quantized_data.float() - _along(zero_point, quantized_data, axis)
    return _along(scale, quantized_data, axis) * data


def constexpr_lut_to_dense(indices: Tensor, lut: Tensor, shape: Tensor) -> Tensor:
    """One palette of 256 values for the whole tensor, an index per element (iOS 16)."""
    if lut.numel() != 256:
        raise MilError(f"a palette of {lut.numel()} entries is not modelled; only 256 are")
    return lut[indices.long()].reshape(to_ints(shape))


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


def dequantize(
    input: Tensor, scale: Tensor, zero_point: Tensor | None = None, axis: Tensor | None = None
) -> Tensor:
    """Compute scale * (input - zero_point)."""
    values = input.float()
    if zero_point is not None:
        values = values - _along(zero_point, input, axis)
    return _along(scale, input, axis) * values


OpFunction = Callable[..., Tensor | tuple[Tensor, ...]]

OPERATIONS: Mapping[str, OpFunction] = {
    "round": round_half_even,
    **{
        function.__name__: function
        for function in (
            *(add, sub, mul, clip, cast, relu, tanh, gelu, softmax),
            *(conv, linear, matmul, layer_norm),
            *(transpose, reshape, squeeze, split, pixel_shuffle),
            *(constexpr_affine_dequantize, constexpr_lut_to_dense, quantize, dequantize),
        )
    },
}
"""Function by type of operation."""


@dataclass(frozen=True)
class Kernel:
    """A function with the parameters it knows and those it needs."""

    function: OpFunction
    parameters: frozenset[str]
    required: frozenset[str]


def find_kernel(op_type: str, label: str, output: str, given: frozenset[str]) -> Kernel:
    """The function for ``op_type``, called with the parameters ``given``.

    MilError for an unknown op, an unknown parameter, or a missing one. ``label`` and ``output``
    name the operation in the error.
    """
    if op_type not in OPERATIONS:
        raise MilError(
            f"{label} (output {output!r}) is no op of this interpreter, which refuses what it does "
            "not know; write the layer with a known op, or add one to rid_export/mil/ops.py"
        )
    kernel = _kernel(OPERATIONS[op_type])
    if unknown := given - kernel.parameters:
        raise MilError(
            f"{label} has parameters {sorted(unknown)} that the interpreter does not model; "
            "it refuses what it does not know"
        )
    if missing := kernel.required - given:
        raise MilError(f"{label} lacks {sorted(missing)}; export the package again")
    return kernel


@functools.cache
def _kernel(function: OpFunction) -> Kernel:
    parameters = inspect.signature(function).parameters.values()
    return Kernel(
        function,
        frozenset(p.name for p in parameters),
        frozenset(p.name for p in parameters if p.default is p.empty),
    )
