"""Which operators a delegate takes, read from the interpreter's own list."""

from __future__ import annotations

from typing import Any

import pytest
from rid_export.backends.litert.delegation import delegation


def op(name: str, inputs: list[int], outputs: list[int]) -> dict[str, Any]:
    return {"op_name": name, "inputs": inputs, "outputs": outputs}


PLAIN = [op("CONV_2D", [0], [1]), op("TANH", [1], [2]), op("ADD", [0, 2], [3])]


def test_all_in_one_partition() -> None:
    found = delegation([*PLAIN, op("DELEGATE", [0], [3])])
    assert (found.partitions, found.left) == (1, {})
    assert found.taken == {"CONV_2D": 1, "TANH": 1, "ADD": 1}
    assert found.line() == "XNNPACK takes 3 of 3 operators in 1 partition"


def test_what_lies_between_two_partitions_is_left() -> None:
    found = delegation([*PLAIN, op("DELEGATE", [0], [1]), op("DELEGATE", [0, 2], [3])])
    assert (found.partitions, found.left) == (2, {"TANH": 1})
    assert found.line() == "XNNPACK takes 2 of 3 operators in 2 partitions; left: TANH 1"


def test_without_a_delegate() -> None:
    found = delegation(PLAIN)
    assert (found.partitions, found.taken) == (0, {})


@pytest.mark.slow
def test_a_real_file_is_one_partition(exported: Any) -> None:
    from rid_export.backends.litert.delegation import xnnpack_delegation

    found = xnnpack_delegation(exported("tflite").file)
    assert found.partitions == 1
    assert not found.left
