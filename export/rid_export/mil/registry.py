"""Which function computes an operation, and whether it can with the parameters that it is given."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rid_export.mil.errors import MilError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    OpFunction = Callable[..., Tensor | tuple[Tensor, ...]]


@dataclass(frozen=True)
class Kernel:
    """A function with the parameters it knows and those it needs."""

    function: OpFunction
    parameters: frozenset[str]
    required: frozenset[str]


def known_ops() -> frozenset[str]:
    """Every op type that the interpreter runs."""
    return frozenset(_kernels())


def find_kernel(op_type: str, label: str, output: str, given: frozenset[str]) -> Kernel:
    """The function for ``op_type``, called with the parameters ``given``.

    MilError for an unknown op, an unknown parameter, or a missing one. ``label`` and ``output``
    name the operation in the error.
    """
    kernel = _kernels().get(op_type)
    if kernel is None:
        raise MilError(
            f"{label} (output {output!r}) is no op of this interpreter, which refuses what it does "
            "not know; write the layer with a known op, or add one to rid_export/mil/ops.py"
        )
    if unknown := given - kernel.parameters:
        raise MilError(
            f"{label} has parameters {sorted(unknown)} that the interpreter does not model; "
            "it refuses what it does not know"
        )
    if missing := kernel.required - given:
        raise MilError(f"{label} lacks {sorted(missing)}; export the package again")
    return kernel


@functools.cache
def _kernels() -> dict[str, Kernel]:
    from rid_export.mil.ops import OPERATIONS  # needs torch

    return {name: _kernel(function) for name, function in OPERATIONS.items()}


def _kernel(function: OpFunction) -> Kernel:
    parameters = inspect.signature(function).parameters.values()
    return Kernel(
        function,
        frozenset(p.name for p in parameters),
        frozenset(p.name for p in parameters if p.default is p.empty),
    )
