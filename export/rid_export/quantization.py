"""What quantizing has in common in every format: judged as the gate will, layers kept in float."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from rid_export.calibration import chosen_grids, material_for
from rid_export.fidelity import judge, least_figures
from rid_export.layers import LayerError, Model, Notes, settle
from rid_export.portraits import of_many_sizes
from rid_export.sensitivity import Sensitivity, float_order, sensitivity
from rid_export.spec import ROUNDS_ACTIVATIONS

if TYPE_CHECKING:
    from rid_core.quantization.grids import Grids
    from rid_export.graph import ExportGraph
    from rid_export.spec import ExportSpec

_LOOKED_INTO = 2
"""Portraits on which layers are compared."""


class Quantizer(Protocol[Model]):
    """A float model of one format, quantized in as many ways as it takes.

    Attributes:
        exact: the float model.
        precision: wanted.
    """

    exact: Model
    precision: str

    @property
    def idle(self) -> frozenset[str]:
        """Layers that are no faster in 8 bits; they stay in float whatever the gate says."""

    def build(self, float_layers: frozenset[str] = frozenset()) -> Model:
        """The quantized model, with some layers left in float."""

    def predictor(self, model: Model) -> Callable[[np.ndarray], np.ndarray]:
        """What gives a model's ``delta`` for a float32 image [H, W, 3] in [0, 1]."""

    def errors(self, model: Model, images: Sequence[np.ndarray]) -> list[LayerError]:
        """Signal-to-noise ratios layer by layer, for such images."""

    def ranked(self, rows: Iterable[LayerError]) -> list[LayerError]:
        """Layers that may be kept in float, the worst first."""


@dataclass(frozen=True, eq=False)
class Yardstick:
    """What a quantized model is judged by.

    Attributes:
        portraits: uint8 [H, W, 3] that the gate will look at, those of the working size first.
        levels: the bound in 8-bit levels.
        measure: tells how much each layer matters, if it comes to keeping layers in float; without
            it, the noise of each layer's output has to tell which.
    """

    portraits: Sequence[np.ndarray] | np.ndarray
    levels: int
    measure: Callable[[], Sensitivity] | None = None


def prepare(graph: ExportGraph, spec: ExportSpec) -> tuple[Grids | None, Yardstick]:
    """Grids of the activations, None if they stay float, and what to judge by."""
    material = material_for(spec, graph.material)
    grids = chosen_grids(graph.defender, spec, material)
    measure = None
    if grids is not None and spec.precision in ROUNDS_ACTIVATIONS:
        measure = partial(sensitivity, graph.defender, grids, list(material.portraits))
    portraits: Sequence[np.ndarray] | np.ndarray = material.portraits
    if spec.dynamic:
        portraits = [*portraits, *of_many_sizes(portraits, graph.defender.stride)]
    return grids, Yardstick(portraits, round(graph.eps * 255), measure)


def quantize(quantizer: Quantizer[Model], yardstick: Yardstick) -> tuple[Model, Notes]:
    """Quantize, and keep layers in float as far as the gate needs it."""
    images = list(images_of(yardstick.portraits))
    looked_into = images[:_LOOKED_INTO]
    exact = quantizer.predictor(quantizer.exact)
    truth = [exact(image) for image in images]
    measure, idle = yardstick.measure, quantizer.idle
    settled = settle(
        lambda layers: quantizer.build(layers | idle),
        lambda model: judge(quantizer.predictor(model), images, truth, yardstick.levels),
        lambda model: [
            row
            for row in quantizer.ranked(quantizer.errors(model, looked_into))
            if row.name not in idle
        ],
        least_figures(quantizer.precision),
        plan=None if measure is None else lambda: float_order(measure(), idle),
    )
    rows = tuple(quantizer.errors(settled.model, looked_into))
    return settled.model, Notes(
        settled.float_layers, settled.before, settled.after, rows, tuple(sorted(idle))
    )


def images_of(pixels: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """uint8 [H, W, 3] each, perhaps on disk -> float32 in [0, 1], one at a time."""
    for each in pixels:
        yield each.astype(np.float32) / np.float32(255)
