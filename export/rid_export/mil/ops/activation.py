"""Activation functions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from rid_export.mil.errors import MilError
from rid_export.mil.ops.params import to_int
from rid_export.mil.registry import mil_op


@mil_op("relu")
def relu(x: Tensor) -> Tensor:
    """Limit x to [0, inf)."""
    return F.relu(x)


@mil_op("relu6")
def relu6(x: Tensor) -> Tensor:
    """Limit x to [0, 6]."""
    return x.clamp(0, 6)


@mil_op("clamped_relu")
def clamped_relu(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """Take min(x, beta) where x >= 0, else min(alpha * x, beta)."""
    return torch.minimum(torch.where(x >= 0, x, alpha * x), beta)


@mil_op("leaky_relu")
def leaky_relu(x: Tensor, alpha: Tensor) -> Tensor:
    """Keep x where x >= 0, else alpha * x."""
    return torch.where(x >= 0, x, alpha * x)


@mil_op("thresholded_relu")
def thresholded_relu(x: Tensor, alpha: Tensor) -> Tensor:
    """Keep x where x >= alpha, else 0."""
    return torch.where(x >= alpha, x, torch.zeros_like(x))


@mil_op("prelu")
def prelu(x: Tensor, alpha: Tensor) -> Tensor:
    """Keep x where x >= 0, else alpha of its channel (axis 1) times x."""
    slope = alpha.reshape(1, -1, *[1] * (x.ndim - 2))
    return torch.where(x >= 0, x, slope * x)


@mil_op("elu")
def elu(x: Tensor, alpha: Tensor) -> Tensor:
    """Keep x where x > 0, else alpha * (exp(x) - 1)."""
    return torch.where(x > 0, x, alpha * torch.expm1(x))


@mil_op("linear_activation")
def linear_activation(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """Compute alpha * x + beta."""
    return alpha * x + beta


@mil_op("sigmoid")
def sigmoid(x: Tensor) -> Tensor:
    """Logistic function."""
    return torch.sigmoid(x)


@mil_op("sigmoid_hard")
def sigmoid_hard(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """Limit alpha * x + beta to [0, 1]."""
    return (alpha * x + beta).clamp(0, 1)


@mil_op("tanh")
def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return torch.tanh(x)


@mil_op("scaled_tanh")
def scaled_tanh(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """Compute alpha * tanh(beta * x)."""
    return alpha * torch.tanh(beta * x)


@mil_op("silu")
def silu(x: Tensor) -> Tensor:
    """Compute x * sigmoid(x)."""
    return F.silu(x)


@mil_op("softplus")
def softplus(x: Tensor) -> Tensor:
    """Compute log(1 + exp(x))."""
    return torch.logaddexp(x, torch.zeros_like(x))


@mil_op("gelu")
def gelu(x: Tensor, mode: str = "EXACT") -> Tensor:
    """Gaussian error linear unit: exact (erf), or one of MIL's two approximations."""
    match mode:
        case "EXACT":
            return F.gelu(x)
        case "TANH_APPROXIMATION":
            return F.gelu(x, approximate="tanh")
        case "SIGMOID_APPROXIMATION":
            return x * torch.sigmoid(1.702 * x)
    raise MilError(f"gelu has no mode {mode!r}")


@mil_op("softmax")
def softmax(x: Tensor, axis: Tensor | None = None) -> Tensor:
    """Divide exp(x) by its sum along ``axis``, the last unless given."""
    return torch.softmax(x, -1 if axis is None else to_int(axis))
