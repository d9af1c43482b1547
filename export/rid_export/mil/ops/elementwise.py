"""Elementwise arithmetic, with numpy's broadcasting, and casts."""

from __future__ import annotations

import torch
from torch import Tensor

from rid_export.mil.dtypes import dtype_from_name
from rid_export.mil.errors import MilError
from rid_export.mil.registry import mil_op


@mil_op("add")
def add(x: Tensor, y: Tensor) -> Tensor:
    """Sum."""
    return x + y


@mil_op("sub")
def sub(x: Tensor, y: Tensor) -> Tensor:
    """Difference."""
    return x - y


@mil_op("mul")
def mul(x: Tensor, y: Tensor) -> Tensor:
    """Product."""
    return x * y


@mil_op("real_div")
def real_div(x: Tensor, y: Tensor) -> Tensor:
    """Quotient."""
    return x / y


@mil_op("maximum")
def maximum(x: Tensor, y: Tensor) -> Tensor:
    """The larger of x and y."""
    return torch.maximum(x, y)


@mil_op("minimum")
def minimum(x: Tensor, y: Tensor) -> Tensor:
    """The smaller of x and y."""
    return torch.minimum(x, y)


@mil_op("pow")
def power(x: Tensor, y: Tensor) -> Tensor:
    """Power: x to the y."""
    return torch.pow(x, y)


@mil_op("clip")
def clip(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """Limit x to [alpha, beta]."""
    return torch.minimum(torch.maximum(x, alpha), beta)


@mil_op("abs")
def absolute(x: Tensor) -> Tensor:
    """Absolute value."""
    return x.abs()


@mil_op("sign")
def sign(x: Tensor) -> Tensor:
    """-1, 0 or 1."""
    return x.sign()


@mil_op("sqrt")
def sqrt(x: Tensor) -> Tensor:
    """Square root."""
    return x.sqrt()


@mil_op("rsqrt")
def rsqrt(x: Tensor, epsilon: Tensor | None = None) -> Tensor:
    """1 / sqrt(x + epsilon), epsilon 1e-12 unless given."""
    return 1 / (x + (1e-12 if epsilon is None else epsilon)).sqrt()


@mil_op("inverse")
def inverse(x: Tensor, epsilon: Tensor | None = None) -> Tensor:
    """1 / (x + epsilon), epsilon 1e-4 unless given."""
    return 1 / (x + (1e-4 if epsilon is None else epsilon))


@mil_op("log")
def log(x: Tensor, epsilon: Tensor | None = None) -> Tensor:
    """Natural logarithm of x + epsilon, epsilon 1e-45 unless given."""
    return (x + (1e-45 if epsilon is None else epsilon)).log()


@mil_op("square")
def square(x: Tensor) -> Tensor:
    """Square."""
    return x * x


@mil_op("exp")
def exp(x: Tensor) -> Tensor:
    """Exponential."""
    return x.exp()


@mil_op("erf")
def erf(x: Tensor) -> Tensor:
    """Gauss error function."""
    return torch.erf(x)


@mil_op("sin")
def sin(x: Tensor) -> Tensor:
    """Sine of x in radians."""
    return x.sin()


@mil_op("cos")
def cos(x: Tensor) -> Tensor:
    """Cosine of x in radians."""
    return x.cos()


@mil_op("round")
def round_half_even(x: Tensor) -> Tensor:
    """Nearest integer; halves go to the even one (MIL's reference evaluates numpy's ``round``)."""
    return torch.round(x)


@mil_op("floor")
def floor(x: Tensor) -> Tensor:
    """Largest integer that is not above x."""
    return x.floor()


@mil_op("ceil")
def ceil(x: Tensor) -> Tensor:
    """Smallest integer that is not below x."""
    return x.ceil()


@mil_op("identity")
def identity(x: Tensor) -> Tensor:
    """The same tensor under another name."""
    return x


@mil_op("cast")
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
