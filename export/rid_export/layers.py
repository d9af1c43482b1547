"""Which layer loses what: signal-to-noise ratios inside a quantized network, and layers kept in
float until the gate holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

MAX_FLOAT_LAYERS = 16
"""More layers than this are never kept in float: the file would no longer be what was asked for."""
SQNR_LIMIT = 200.0
_GAIN_DB = 0.05
"""A layer stays in float only if that gains at least this much."""
_MARGIN_DB = 0.3
"""Above the gate's bound, since other runtimes round differently."""

Model = TypeVar("Model")


def float_copy(path: Path) -> Path:
    """Where the converter leaves the float32 form of a quantized file, to compare layers with."""
    return path.with_name(f"{path.name}.float")


@dataclass(frozen=True)
class Node:
    """A step of a network whose output is compared.

    Attributes:
        name: of the layer, such as ``encoder.0.expand``.
        kind: of operator.
        tensor: name of its output.
        inputs: names of what it takes, constants left out.
        bent: whether it ends in a ReLU or tanh of its own.
    """

    name: str
    kind: str
    tensor: str
    inputs: tuple[str, ...]
    bent: bool = False


_FOLDED = frozenset(("relu", "tanh"))


def with_activations(nodes: Iterable[Node]) -> list[Node]:
    """Let a layer end behind its own ReLU or tanh.

    Quantizers fold a ReLU into the layer before it, and what is clipped before a tanh changes next
    to nothing behind it: only there can one tell what a layer lost.
    """
    nodes = list(nodes)
    readers = Counter(name for node in nodes for name in node.inputs)
    found: dict[str, Node] = {}
    for node in nodes:
        before = found.get(node.inputs[0]) if node.inputs else None
        if node.kind.lower() in _FOLDED and before is not None and readers[before.tensor] == 1:
            del found[before.tensor]
            found[node.tensor] = replace(before, tensor=node.tensor, bent=True)
        else:
            found[node.tensor] = node
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


@dataclass(frozen=True)
class Notes:
    """What a converter has to tell of a quantization.

    Attributes:
        float_layers: kept in float so that the gate holds.
        before: figures without these.
        after: figures of the file.
        layers: of the file, in order.
        idle_layers: in float because 8 bits would not make them faster.
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
    def from_dict(cls, raw: dict[str, Any]) -> Notes:
        """Of the JSON form that ``dataclasses.asdict`` gives."""
        rows = tuple(LayerError(**row) for row in raw["layers"])
        idle = tuple(raw["idle_layers"])
        return cls(tuple(raw["float_layers"]), raw["before"], raw["after"], rows, idle)


class Activations(Protocol):
    """Runs a network and gives what is inside."""

    def __call__(self, image: np.ndarray) -> Mapping[str, np.ndarray]:
        """Values by tensor name, float, for a float32 image [H, W, 3] in [0, 1]."""


def layer_errors(
    nodes: Sequence[Node],
    exact: Activations,
    quantized: Activations,
    images: Iterable[np.ndarray],
) -> list[LayerError]:
    """Compare two forms of one network layer by layer.

    Args:
        nodes: of the float network, in order.
        exact: the float network.
        quantized: the other; tensors that it does not have are left out.
        images: float32 [H, W, 3] in [0, 1].
    """
    names = {node.tensor for node in nodes} | {name for node in nodes for name in node.inputs}
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
    for node in nodes:
        if node.tensor in ratio:
            before = max((ratio.get(name, 0.0) for name in node.inputs), default=0.0)
            after = ratio[node.tensor]
            rows.append(
                LayerError(node.name, node.kind, _db(after), _db(before), max(after - before, 0.0))
            )
    return rows


def _db(noise: float) -> float:
    return round(-10 * float(np.log10(max(noise, 10 ** (-SQNR_LIMIT / 10)))), 2)


def ranked(rows: Iterable[LayerError]) -> list[LayerError]:
    """The worst layer first."""
    return sorted(rows, key=lambda row: -row.added)


def describe(row: LayerError) -> str:
    """One line of a message: ``encoder.0.expand (18.2 dB, its input 31.0 dB)``."""
    return f"{row.name} ({row.sqnr_db:.1f} dB, its input {row.inputs_db:.1f} dB)"


def table(rows: Sequence[LayerError]) -> str:
    """Aligned columns: layer, operator, dB of its output, dB of its worst input."""
    width = max((len(row.name) for row in rows), default=5)
    lines = [f"{'layer':<{width}}  {'operator':<20}  {'SQNR dB':>8}  {'input dB':>8}"]
    for row in rows:
        cells = f"{row.name:<{width}}  {row.kind:<20}  {row.sqnr_db:>8.1f}  {row.inputs_db:>8.1f}"
        lines.append(cells)
    return "\n".join(lines)


@dataclass(frozen=True)
class Settled(Generic[Model]):
    """Outcome of :func:`settle`.

    Attributes:
        model: as good as it got.
        before: its figures before any layer was kept in float.
        after: its figures now.
        float_layers: kept in float.
    """

    model: Model
    before: Mapping[str, float]
    after: Mapping[str, float]
    float_layers: tuple[str, ...]


def shortfall(figures: Mapping[str, float], least: Mapping[str, float]) -> bool:
    """Whether a figure is below what is asked, with a small margin in dB."""
    return any(
        figures[name] < bound + (_MARGIN_DB if name.endswith("_db") else 0)
        for name, bound in least.items()
    )


def settle(
    build: Callable[[frozenset[str]], Model],
    judge: Callable[[Model], Mapping[str, float]],
    rank: Callable[[Model], Sequence[LayerError]],
    least: Mapping[str, float],
    limit: int = MAX_FLOAT_LAYERS,
    plan: Callable[[], Sequence[str]] | None = None,
) -> Settled[Model]:
    """Quantize, and keep as few layers in float as the figures need.

    With a plan, as many of its layers as needed, from its beginning. Without one, the worst layer
    by its own noise is tried first, then the next; that is a guess, later layers may hide the noise
    of earlier ones, so a layer stays in float only if the outcome gets better.

    Args:
        build: makes the model with these layers in float.
        judge: its figures; ``delta_sqnr_db`` among them.
        rank: its layers that may be kept in float, the worst first.
        least: what each figure must reach.
        limit: of layers in float, without a plan.
        plan: layers in the order in which to keep them in float; asked for only if needed.
    """
    model = build(frozenset())
    before = judge(model)
    if not shortfall(before, least):
        return Settled(model, before, before, ())
    if plan is not None:
        return _shortest(build, judge, least, plan(), before)
    figures = before
    kept: list[str] = []
    tried: set[str] = set()
    while shortfall(figures, least) and len(kept) < limit and len(tried) < 3 * limit:
        candidate = next((row.name for row in rank(model) if row.name not in tried), None)
        if candidate is None:
            break
        tried.add(candidate)
        trial = build(frozenset((*kept, candidate)))
        found = judge(trial)
        if found["delta_sqnr_db"] >= figures["delta_sqnr_db"] + _GAIN_DB:
            model, figures = trial, found
            kept.append(candidate)
    return Settled(model, before, figures, tuple(kept))


def _shortest(
    build: Callable[[frozenset[str]], Model],
    judge: Callable[[Model], Mapping[str, float]],
    least: Mapping[str, float],
    plan: Sequence[str],
    before: Mapping[str, float],
) -> Settled[Model]:
    """The shortest beginning of the plan that is enough, by bisection; all of it if none is."""
    model = build(frozenset(plan))
    figures = judge(model)
    best = Settled(model, before, figures, tuple(plan))
    few, enough = 0, len(plan)
    while not shortfall(figures, least) and enough - few > 1:
        middle = (few + enough) // 2
        model = build(frozenset(plan[:middle]))
        found = judge(model)
        if shortfall(found, least):
            few = middle
        else:
            enough = middle
            best = Settled(model, before, found, tuple(plan[:middle]))
    return best
