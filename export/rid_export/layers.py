"""Operators of a network in the same words for every format, and what quantization did to each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

SQNR_LIMIT = 200.0

Role = Literal["layer", "bias", "sum", "activation", "move", "other"]


@dataclass(frozen=True)
class Step:
    """An operator on the way to ``delta``.

    Attributes:
        name: of the layer, such as ``encoder.0.expand``; of another operator, its own.
        kind: of operator, as the format calls it.
        role: ``layer`` has weights; ``bias`` adds a vector and ``sum`` a map; ``activation`` is a
            ReLU or a tanh; ``move`` only moves values, or changes their type.
        inputs: names of the tensors that it reads, constants left out.
        output: name of the tensor that it gives.
        channels: how many channels a value of a layer's output reads; 1 in a depthwise convolution.
        fused: whether an activation is part of it.
    """

    name: str
    kind: str
    role: Role
    inputs: tuple[str, ...]
    output: str
    channels: int = 0
    fused: bool = False


def compared_steps(steps: Iterable[Step]) -> list[Step]:
    """The steps whose outputs are compared.

    What only moves values is left out, and a layer ends behind its own ReLU or tanh: quantizers
    fuse a ReLU with the layer before it, and what is clipped before a tanh changes next to nothing
    behind it.
    """
    source: dict[str, str] = {}
    kept = []
    for step in steps:
        inputs = tuple(source.get(name, name) for name in step.inputs)
        if step.role == "move":
            source[step.output] = inputs[0]
        else:
            kept.append(replace(step, inputs=inputs))
    readers = Counter(name for step in kept for name in step.inputs)
    found: dict[str, Step] = {}
    for step in kept:
        before = found.get(step.inputs[0]) if step.inputs else None
        if step.role == "activation" and before is not None and readers[before.output] == 1:
            del found[before.output]
            found[step.output] = replace(before, output=step.output, fused=True)
        else:
            found[step.output] = step
    return list(found.values())


@dataclass(frozen=True)
class LayerError:
    """What quantization did to one layer's output.

    Attributes:
        name: of the layer.
        kind: of operator.
        sqnr_db: of its output against the float network's, in dB.
        inputs_db: of the worst of its inputs.
        added: noise-to-signal ratio (power) that was not there in its inputs; the layer with the
            most is the worst.
    """

    name: str
    kind: str
    sqnr_db: float
    inputs_db: float
    added: float

    def line(self) -> str:
        """For people: ``encoder.0.expand (18.2 dB, its input 31.0 dB)``."""
        return f"{self.name} ({self.sqnr_db:.1f} dB, its input {self.inputs_db:.1f} dB)"


@dataclass(frozen=True)
class QuantizationReport:
    """What a converter has to tell of a quantization.

    Attributes:
        float_layers: kept in float so that the gate holds.
        before: figures without these.
        after: figures of the file.
        layers: of the file, in order.
        idle_layers: kept in float because 8 bits would not make them faster.
    """

    float_layers: tuple[str, ...] = ()
    before: Mapping[str, float] = field(default_factory=dict)
    after: Mapping[str, float] = field(default_factory=dict)
    layers: tuple[LayerError, ...] = ()
    idle_layers: tuple[str, ...] = ()

    @property
    def in_float(self) -> tuple[str, ...]:
        """All layers in float, for either reason."""
        return (*self.idle_layers, *self.float_layers)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> QuantizationReport:
        """Of the JSON form that ``dataclasses.asdict`` gives."""
        rows = tuple(LayerError(**row) for row in raw["layers"])
        idle = tuple(raw["idle_layers"])
        return cls(tuple(raw["float_layers"]), raw["before"], raw["after"], rows, idle)


Activations = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""Runs a network and gives its float tensors by name, for a float32 image [H, W, 3] in [0, 1]."""


def layer_errors(
    steps: Iterable[Step],
    exact: Activations,
    quantized: Activations,
    images: Iterable[np.ndarray],
) -> list[LayerError]:
    """Compare two forms of one network layer by layer.

    Args:
        steps: of the float network, in order.
        exact: the float network.
        quantized: the other; tensors that it does not have are left out.
        images: float32 [H, W, 3] in [0, 1].
    """
    compared = compared_steps(steps)
    names = {step.output for step in compared} | {name for step in compared for name in step.inputs}
    energy: dict[str, list[float]] = {}
    for image in images:
        truth, found = exact(image), quantized(image)
        for name in names & truth.keys() & found.keys():
            wanted = truth[name].astype(np.float64).ravel()
            error = found[name].astype(np.float64).ravel() - wanted
            sums = energy.setdefault(name, [0.0, 0.0])
            sums[0] += float(wanted @ wanted)
            sums[1] += float(error @ error)
    ratio = {
        name: min(noise / signal if signal else float(noise > 0), 10 ** (SQNR_LIMIT / 10))
        for name, (signal, noise) in energy.items()
    }
    rows = []
    for step in compared:
        if step.output in ratio:
            before = max((ratio.get(name, 0.0) for name in step.inputs), default=0.0)
            after = ratio[step.output]
            rows.append(
                LayerError(step.name, step.kind, _db(after), _db(before), max(after - before, 0.0))
            )
    return rows


def _db(noise: float) -> float:
    return round(-10 * float(np.log10(max(noise, 10 ** (-SQNR_LIMIT / 10)))), 2)


def ranked(rows: Iterable[LayerError]) -> list[LayerError]:
    """The worst layer first."""
    return sorted(rows, key=lambda row: -row.added)


def worst_layer(rows: Sequence[LayerError]) -> str:
    """For an error's text: ``; worst layer: encoder.0.expand (...)``; empty without layers."""
    return f"; worst layer: {ranked(rows)[0].line()}" if rows else ""
