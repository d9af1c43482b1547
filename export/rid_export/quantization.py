"""Quantization, the same for all formats: ranges, what stays in float, and how it is judged.

A backend says how its format is read, changed and run. What is rounded, in which range, with which
biases, and which layers are kept in float so that the gate holds is decided here.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

import numpy as np

from rid_core.quantization.grids import Grids, calibrate
from rid_core.quantization.rounding import Grid, corrected_bias
from rid_core.quantization.sensitivity import float_order, sensitivity
from rid_export.calibration import calibration_data_for
from rid_export.layers import (
    Activations,
    LayerError,
    QuantizationReport,
    Step,
    layer_errors,
    ranked,
)
from rid_export.parity import FIDELITY, compare_worst
from rid_export.portraits import of_many_sizes
from rid_export.spec import ACTIVATION_BITS, ROUNDS_ACTIVATIONS

if TYPE_CHECKING:
    from rid_export.graph import ExportGraph
    from rid_export.spec import ExportSpec

MAX_FLOAT_LAYERS = 16
"""Of precisions that round weights alone: with more layers in float, the file would no longer be
what was asked for."""
_MARGIN_DB = 0.3
"""Above the gate's bound, since other runtimes round differently."""
_COMPARED_PORTRAITS = 2
"""Portraits on which layers are compared."""
_DOT_PRODUCT = 4
"""Channels that 8-bit dot-product instructions take at once (x86 VNNI, ARM SDOT)."""

Model = TypeVar("Model")
Predict = Callable[[np.ndarray], np.ndarray]


class Quantizer(abc.ABC, Generic[Model]):
    """A float model of one format, quantized in as many ways as the search asks for.

    Attributes:
        exact: the float model.
        precision: wanted.
        steps: operators on the way to ``delta``, in order.
        grids: of the activations; None if they stay float.
        ranges: of the tensors that are rounded, by the format's name for them.
        rounds_sums: precisions in which sums of two maps are rounded. In 8 bits they never are:
            they lose what their smaller term says, 0.5 to 0.8 dB of rid-s, and cost nothing beside
            convolutions.
        narrow_in_float: whether int8 leaves layers in float that read fewer than four channels for
            a value. 8-bit kernels owe their speed to instructions that multiply four at once.
    """

    rounds_sums: ClassVar[frozenset[str]] = frozenset()
    narrow_in_float: ClassVar[bool] = True

    def __init__(
        self,
        exact: Model,
        precision: str,
        steps: Sequence[Step],
        grids: Grids | None,
        weights: Mapping[str, np.ndarray],
    ) -> None:
        """Assign the ranges.

        Args:
            exact: the float model.
            precision: one of :data:`rid_export.spec.PRECISIONS`.
            steps: operators on the way to ``delta``, in order; layers are called by their modules.
            grids: of the activations; None if they stay float.
            weights: the network's tensors by name.
        """
        assert precision not in ACTIVATION_BITS or grids is not None, "calibrated on images"
        self.exact = exact
        self.precision = precision
        self.steps = steps
        self.grids = grids
        self.ranges = {} if grids is None else tensor_ranges(steps, grids)
        self._weights = weights

    @property
    def layers(self) -> list[str]:
        """Names of the layers that may be kept in float: those with weights."""
        return [step.name for step in self.steps if step.role == "layer"]

    @property
    def narrow_layers(self) -> frozenset[str]:
        """Layers that 8 bits do not make faster; they stay in float whatever the gate says."""
        if not self.narrow_in_float or self.precision not in ROUNDS_ACTIVATIONS:
            return frozenset()
        return frozenset(
            step.name
            for step in self.steps
            if step.role == "layer" and step.channels < _DOT_PRODUCT
        )

    def in_float(self, float_layers: frozenset[str]) -> set[str]:
        """Names of the steps that work on floats.

        These are ``float_layers``, sums of maps, what only moves or limits the values of one of
        these, and what was not calibrated.
        """
        floats: set[str] = set()  # tensors
        found = set()
        for step in self.steps:
            if step.role == "layer":
                chosen = step.name in float_layers
            elif step.role == "sum" and self.precision not in self.rounds_sums:
                chosen = True
            else:
                chosen = not step.inputs or step.inputs[0] in floats
            ends = {*step.inputs[:1], step.output}
            if chosen or (self.grids is not None and not ends <= self.ranges.keys()):
                found.add(step.name)
                floats.add(step.output)
        return found

    def biases(self, float_layers: frozenset[str], steps: float = 127) -> dict[str, np.ndarray]:
        """Corrected biases of the convolutions whose weights are rounded, by layer.

        Args:
            float_layers: kept in float; where activations are rounded to 8 bits, they keep their
                int8 weights, and need the correction too.
            steps: of a row's largest weight, in layers that are not kept in float.
        """
        found: dict[str, np.ndarray] = {}
        if self.grids is None:
            return found
        for name in self.layers:
            weight, bias = (self._weights.get(f"{name}.{part}") for part in ("weight", "bias"))
            kept = name in float_layers
            if weight is None or bias is None or weight.ndim != 4 or name not in self.grids.sources:
                continue
            if not kept or self.precision in ROUNDS_ACTIVATIONS:
                mean = self.grids.means[self.grids.sources[name]]
                found[name] = corrected_bias(bias, weight, mean, 127 if kept else steps)
        return found

    @abc.abstractmethod
    def build(self, float_layers: frozenset[str] = frozenset()) -> Model:
        """The quantized model, with some layers left in float."""

    @abc.abstractmethod
    def predictor(self, model: Model) -> Predict:
        """What gives a model's ``delta`` for a float32 image [H, W, 3] in [0, 1]."""

    @abc.abstractmethod
    def activations(self, model: Model) -> Activations:
        """What gives a model's float tensors by name, for such an image."""

    def errors(self, model: Model, images: Sequence[np.ndarray]) -> list[LayerError]:
        """Signal-to-noise ratios layer by layer, for such images."""
        exact = self.activations(self.exact)
        return layer_errors(self.steps, exact, self.activations(model), images)


def tensor_ranges(steps: Iterable[Step], grids: Grids) -> dict[str, Grid]:
    """Range of every tensor that is rounded, by the format's name for it."""
    found: dict[str, Grid] = {}
    for step in steps:
        source = step.inputs[0] if step.inputs else ""
        if step.role == "layer" and step.name in grids.sources:
            found[source] = grids.grids[grids.sources[step.name]]
            found[step.output] = grids.grids[step.name]
        elif source in found and step.role in ("bias", "move", "activation"):
            tanh = step.kind.lower() == "tanh"
            found[step.output] = Grid(-1.0, 1.0) if tanh else found[source]
    return found


@dataclass(frozen=True)
class SearchResult(Generic[Model]):
    """Outcome of :func:`search_float_layers`.

    Attributes:
        model: the quantized model.
        before: its figures before any layer was kept in float.
        after: its figures now.
        float_layers: kept in float.
    """

    model: Model
    before: Mapping[str, float]
    after: Mapping[str, float]
    float_layers: tuple[str, ...]


def falls_short(figures: Mapping[str, float], least: Mapping[str, float]) -> bool:
    """Whether a figure is below what is asked, with a small margin in dB."""
    return any(
        figures[name] < bound + (_MARGIN_DB if name.endswith("_db") else 0)
        for name, bound in least.items()
    )


def search_float_layers(
    build: Callable[[frozenset[str]], Model],
    judge: Callable[[Model], Mapping[str, float]],
    plan: Callable[[Model], Sequence[str]],
    least: Mapping[str, float],
) -> SearchResult[Model]:
    """Quantize, and keep as few layers in float as the figures need.

    Args:
        build: makes the model with these layers in float.
        judge: its figures.
        plan: layers in the order in which to keep them in float, given the model without any.
        least: what each figure must reach.

    Returns:
        The shortest beginning of the plan that is enough, by bisection; all of it if none is.
    """
    model = build(frozenset())
    before = judge(model)
    if not falls_short(before, least):
        return SearchResult(model, before, before, ())
    order = tuple(plan(model))
    model = build(frozenset(order))
    best = SearchResult(model, before, judge(model), order)
    few, enough = 0, len(order)
    while not falls_short(best.after, least) and enough - few > 1:
        middle = (few + enough) // 2
        model = build(frozenset(order[:middle]))
        figures = judge(model)
        if falls_short(figures, least):
            few = middle
        else:
            enough = middle
            best = SearchResult(model, before, figures, order[:middle])
    return best


def quantize(
    make: Callable[[Grids | None], Quantizer[Model]], graph: ExportGraph, spec: ExportSpec
) -> tuple[Model, QuantizationReport]:
    """Calibrate, quantize, and keep layers in float as far as the gate needs it.

    Args:
        make: gives the backend's quantizer, for grids of the activations or None.
        graph: what was converted, with the images for it.
        spec: what is wanted.
    """
    data = calibration_data_for(spec, graph.calibration)
    grids = None
    if spec.calibrated:
        assert data.images is not None, "activations are calibrated on images"
        grids = calibrate(graph.defender, data.images, ACTIVATION_BITS[spec.precision])
    quantizer = make(grids)
    pixels = list(data.portraits)
    if spec.dynamic:
        pixels += of_many_sizes(data.portraits, graph.defender.stride)
    images = list(images_of(pixels))
    compared = images[:_COMPARED_PORTRAITS]
    exact = quantizer.predictor(quantizer.exact)
    truth = [exact(image) for image in images]
    narrow = quantizer.narrow_layers

    def plan(model: Model) -> list[str]:
        if grids is not None and spec.precision in ROUNDS_ACTIVATIONS:
            return float_order(sensitivity(graph.defender, grids, list(data.portraits)), narrow)
        rows = ranked(quantizer.errors(model, compared))
        return [row.name for row in rows if row.name in quantizer.layers][:MAX_FLOAT_LAYERS]

    found = search_float_layers(
        lambda layers: quantizer.build(layers | narrow),
        lambda model: judge(quantizer.predictor(model), images, truth, round(graph.eps * 255)),
        plan,
        least_figures(spec.precision),
    )
    rows = tuple(quantizer.errors(found.model, compared))
    return found.model, QuantizationReport(
        found.float_layers, found.before, found.after, rows, tuple(sorted(narrow))
    )


def images_of(pixels: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """uint8 [H, W, 3] each, perhaps on disk -> float32 in [0, 1], one at a time."""
    for each in pixels:
        yield each.astype(np.float32) / np.float32(255)


def least_figures(precision: str) -> dict[str, float]:
    """What each figure must reach at this precision."""
    return {t.name: t.bound for t in FIDELITY[precision] if t.sense == "min"}


def judge(
    predict: Predict, images: Sequence[np.ndarray], truth: Sequence[np.ndarray], levels: int
) -> Mapping[str, float]:
    """The gate's figures of ``delta``, each the worst over the images.

    Args:
        predict: image [H, W, 3] -> unit perturbation, of the quantized network.
        images: float32 [H, W, 3] in [0, 1].
        truth: what the float network predicts for them.
        levels: the bound in 8-bit levels; one level is what counts as visible.
    """
    worst = compare_worst(truth, map(predict, images), 1 / levels)
    return {
        "delta_sqnr_db": worst.sqnr_db,
        "delta_cosine": worst.cosine,
        "delta_sign_agreement": worst.sign_agreement,
    }
