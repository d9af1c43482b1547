"""Which function computes which operation.

An operation is a function of torch tensors, keyword by keyword as MIL names its parameters::

    @mil_op("relu")
    def relu(x: Tensor) -> Tensor:
        return x.clamp(min=0)

Floating-point tensors arrive as float32, whatever their declared type; the result is rounded to
the declared type of the output by the caller. Strings arrive as ``str``, tuples as a list of
tensors, and parameters left out keep the function's default.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from rid_export.mil.errors import MilError

if TYPE_CHECKING:
    from torch import Tensor

    OpFunction = Callable[..., Tensor | tuple[Tensor, ...]]

_F = TypeVar("_F", bound="OpFunction")


@dataclass(frozen=True)
class Kernel:
    """A registered function with the parameters it knows and those it needs."""

    function: OpFunction
    parameters: frozenset[str]
    required: frozenset[str]


_KERNELS: dict[str, Kernel] = {}


def mil_op(*types: str) -> Callable[[_F], _F]:
    """Register the decorated function for one or more op types."""

    def register(function: _F) -> _F:
        parameters = inspect.signature(function).parameters.values()
        kernel = Kernel(
            function,
            frozenset(p.name for p in parameters),
            frozenset(p.name for p in parameters if p.default is p.empty),
        )
        for op_type in types:
            assert op_type not in _KERNELS, f"{op_type} is registered twice"
            _KERNELS[op_type] = kernel
        return function

    return register


def known_ops() -> frozenset[str]:
    """Every op type that the interpreter runs."""
    import rid_export.mil.ops  # noqa: F401  (importing it registers the functions; it needs torch)

    return frozenset(_KERNELS)


def find_kernel(op_type: str, label: str, output: str, given: frozenset[str]) -> Kernel:
    """The function for ``op_type``, called with the parameters ``given``.

    MilError for an unknown op, an unknown parameter, or a missing one. ``label`` and ``output``
    name the operation in the error.
    """
    if op_type not in known_ops():
        raise MilError(
            f"{label} (output {output!r}) is no op of this interpreter, which refuses what it does "
            "not know; write the layer with a known op, or add one to rid_export/mil/ops"
        )
    kernel = _KERNELS[op_type]
    if unknown := given - kernel.parameters:
        raise MilError(
            f"{label} has parameters {sorted(unknown)} that the interpreter does not model; "
            "it refuses what it does not know"
        )
    if missing := kernel.required - given:
        raise MilError(f"{label} lacks {sorted(missing)}; export the package again")
    return kernel
