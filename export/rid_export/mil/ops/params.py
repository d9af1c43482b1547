"""Reading constant parameters out of tensors."""

from __future__ import annotations

from torch import Tensor


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


def sequence(values: Tensor | list[Tensor]) -> list[Tensor]:
    """A tuple parameter as a list; a tuple of one arrives as the bare tensor."""
    return values if isinstance(values, list) else [values]
