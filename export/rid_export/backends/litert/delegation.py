"""What a delegate takes of a TFLite file, and in how many pieces.

Every border between a delegate and the built-in kernels copies tensors and waits; a file that is
one piece has none.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Delegation:
    """Who runs what.

    Attributes:
        partitions: pieces that the delegate took.
        taken: how often each operator occurs in them.
        left: how often each operator is left to the built-in kernels.
    """

    partitions: int
    taken: dict[str, int]
    left: dict[str, int]

    def line(self) -> str:
        """For people: ``XNNPACK takes 38 of 40 operators in 1 partition; left: TANH 2``."""
        taken, left = sum(self.taken.values()), sum(self.left.values())
        plural = "" if self.partitions == 1 else "s"
        line = f"XNNPACK takes {taken} of {taken + left} operators in {self.partitions} partition"
        names = ", ".join(f"{name} {count}" for name, count in sorted(self.left.items()))
        return f"{line}{plural}; left: {names}" if left else f"{line}{plural}"


def xnnpack_delegation(path: Path) -> Delegation:
    """Load a file in LiteRT with its default delegate and look at the plan of execution."""
    from rid_core.runtimes.litert import open_model

    return delegation(open_model(path).operators)


def delegation(operators: list[dict[str, Any]]) -> Delegation:
    """Sort operators by who runs them.

    Args:
        operators: as the interpreter lists them: those of the file, then one ``DELEGATE`` per
            partition, with ``op_name``, ``inputs`` and ``outputs``.
    """
    plain = [op for op in operators if op["op_name"] != "DELEGATE"]
    partitions = [op for op in operators if op["op_name"] == "DELEGATE"]
    producer = {int(tensor): number for number, op in enumerate(plain) for tensor in op["outputs"]}
    taken: set[int] = set()
    for partition in partitions:
        borders = {int(tensor) for tensor in partition["inputs"]}
        waiting = [int(tensor) for tensor in partition["outputs"]]
        while waiting:
            tensor = waiting.pop()
            number = producer.get(tensor)
            if tensor in borders or number is None or number in taken:
                continue
            taken.add(number)
            waiting += [int(t) for t in plain[number]["inputs"] if t >= 0]
    inside = Counter(plain[number]["op_name"] for number in sorted(taken))
    outside = Counter(op["op_name"] for number, op in enumerate(plain) if number not in taken)
    return Delegation(len(partitions), dict(inside), dict(outside))
