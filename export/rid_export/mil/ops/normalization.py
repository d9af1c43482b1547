"""Normalisations. All of them subtract a mean and divide by sqrt(variance + epsilon)."""

from __future__ import annotations

from torch import Tensor

from rid_export.mil.ops.params import ints_or
from rid_export.mil.registry import mil_op


def _normalize(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    epsilon: Tensor | None,
) -> Tensor:
    """Compute (x - mean) / sqrt(variance + epsilon) * gamma + beta; all broadcast against x."""
    y = (x - mean) / (variance + (1e-5 if epsilon is None else epsilon)).sqrt()
    if gamma is not None:
        y = y * gamma
    return y if beta is None else y + beta


def _channels(value: Tensor | None, rank: int) -> Tensor | None:
    """[C] shaped to broadcast along axis 1."""
    return None if value is None else value.reshape(1, -1, *[1] * (rank - 2))


@mil_op("batch_norm")
def batch_norm(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: Tensor | None = None,
) -> Tensor:
    """Normalise x [N, C, *S] by given statistics [C]."""
    rank = x.ndim
    statistics = mean.reshape(1, -1, *[1] * (rank - 2)), variance.reshape(1, -1, *[1] * (rank - 2))
    return _normalize(x, *statistics, _channels(gamma, rank), _channels(beta, rank), epsilon)


@mil_op("instance_norm")
def instance_norm(
    x: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: Tensor | None = None,
) -> Tensor:
    """Normalise x [N, C, *S] over the spatial axes of each image and channel."""
    axes = list(range(2, x.ndim))
    mean = x.mean(axes, keepdim=True)
    variance = x.var(axes, correction=0, keepdim=True)
    return _normalize(x, mean, variance, _channels(gamma, x.ndim), _channels(beta, x.ndim), epsilon)


@mil_op("layer_norm")
def layer_norm(
    x: Tensor,
    axes: Tensor | None = None,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: Tensor | None = None,
) -> Tensor:
    """Normalise x over ``axes``, all unless given; gamma and beta have the sizes of those axes."""
    chosen = sorted(axis % x.ndim for axis in ints_or(axes, list(range(x.ndim))))
    mean = x.mean(chosen, keepdim=True)
    variance = x.var(chosen, correction=0, keepdim=True)
    sizes = [n if axis in chosen else 1 for axis, n in enumerate(x.shape)]
    scale = None if gamma is None else gamma.reshape(sizes)
    shift = None if beta is None else beta.reshape(sizes)
    return _normalize(x, mean, variance, scale, shift, epsilon)
