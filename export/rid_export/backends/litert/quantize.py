"""Quantize a TFLite model with ai-edge-quantizer, operator by operator.

What is quantized is the trunk, up to ``delta``; scaling by eps, adding and clamping stay float32.

- ``fp16``: weights in half precision, computed in float32.
- ``w8``: weights in int8 per channel, made float again when the file is loaded. Quantizing the
  activations at run time instead (dynamic range) was measured as well: 2 to 7 dB worse, six XNNPACK
  partitions instead of one, and no faster.
- ``w8a16``: int8 weights and int16 activations; for NPUs. XNNPACK has no such kernels. What hurts
  are the weights, so a layer that is kept in float is so altogether.
- ``int8``: int8 weights and activations. Residual sums are float32: rounded to 8 bits they lose
  what their smaller term says, 0.5 to 0.8 dB of rid-s, and they cost nothing beside convolutions.
  A layer that is kept in float keeps its int8 weights: what hurts are rounded activations.
  Depthwise convolutions and the one that reads the photo are always in float: 8-bit kernels owe
  their speed to instructions that multiply four channels at once, and these have one and three.
  In XNNPACK on AVX-512 the first layer took four times as long in int8, depthwise ones a third
  more; without them rid-s takes 0.67 to 0.73 of its time in float instead of 0.80 to 0.86, and
  its perturbation is 1.3 dB closer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from rid_core.quantization.grids import Grids
from rid_core.runtimes.litert import open_model
from rid_export.backends.litert.edits import MOVES, half_constants, repair_outputs, weighted
from rid_export.backends.litert.flatbuffer import Graph, read_model, write_model
from rid_export.biases import corrected_bias
from rid_export.layers import LayerError, Node, layer_errors, ranked, with_activations
from rid_export.spec import ACTIVATION_BITS, ROUNDS_ACTIVATIONS

_STEPS = 127
_DOT_PRODUCT = 4
"""Channels that 8-bit dot-product instructions take at once (x86 VNNI, ARM SDOT)."""


class TFLiteQuantizer:
    """See :class:`rid_export.quantization.Quantizer`; models are bytes of .tflite files."""

    def __init__(self, data: bytes, precision: str, grids: Grids | None) -> None:
        """Look at the model.

        Args:
            data: bytes of the float model; its tensors are named by :func:`name_layers`.
            precision: see the module.
            grids: of the activations; None if they stay float.
        """
        self.exact = data
        self.precision = precision
        self.graph = Graph(read_model(data))
        self._grids = grids
        self._trunk = self.graph.trunk("delta")
        self._ranges: dict[str, dict[str, np.ndarray]] | None = None
        if precision in ACTIVATION_BITS:
            assert grids is not None, "activations are calibrated on images"
            self._ranges = self._assign(grids)

    @property
    def layers(self) -> list[str]:
        """Names of the layers that may be kept in float: those with weights."""
        return [self.graph.name(int(operator.outputs[0])) for operator in self._weighted]

    @property
    def _weighted(self) -> list[Any]:
        """Operators of the trunk that have weights."""
        operators = (self.graph.operators[index] for index in self._trunk)
        return [operator for operator in operators if weighted(self.graph, operator)]

    @property
    def idle(self) -> frozenset[str]:
        """Layers whose outputs read too few channels for 8 bits to make them faster."""
        if self.precision != "int8":
            return frozenset()
        found = set()
        for operator in self._weighted:
            channels = self.graph.tensors[int(operator.inputs[1])].shape[-1]
            alone = self.graph.kind(operator) == "DEPTHWISE_CONV_2D"
            if alone or channels < _DOT_PRODUCT:
                found.add(self.graph.name(int(operator.outputs[0])))
        return frozenset(found)

    def _assign(self, grids: Grids) -> dict[str, dict[str, np.ndarray]]:
        """Ranges by the names of this model's tensors, of those that are rounded."""
        graph = self.graph
        ends: dict[str, tuple[float, float]] = {}
        for index in self._trunk:
            operator = graph.operators[index]
            source, result = (
                graph.name(int(operator.inputs[0])),
                graph.name(int(operator.outputs[0])),
            )
            if weighted(graph, operator) and result in grids.sources:
                for tensor, name in ((source, grids.sources[result]), (result, result)):
                    ends[tensor] = (grids.grids[name].low, grids.grids[name].high)
            elif graph.kind(operator) == "TANH" and source in ends:
                ends[result] = (-1.0, 1.0)
            elif graph.kind(operator) in MOVES and source in ends:
                ends[result] = ends[source]
        return {
            name: {"min": np.full((1, 1, 1, 1), low), "max": np.full((1, 1, 1, 1), high)}
            for name, (low, high) in ends.items()
        }

    def _corrected(self, float_layers: frozenset[str]) -> bytes:
        """The model with the biases of :mod:`rid_export.biases` where weights are rounded."""
        if self._ranges is None or self._grids is None:
            return self.exact
        grids, rounds = self._grids, self.precision in ROUNDS_ACTIVATIONS
        graph = Graph(read_model(self.exact))
        for index in self._trunk:
            operator = graph.operators[index]
            if not weighted(graph, operator) or len(operator.inputs) < 3:
                continue
            weight, bias = (int(t) for t in operator.inputs[1:3])
            layer = self.graph.name(int(operator.outputs[0]))
            value, old = graph.constant(weight), graph.constant(bias)
            if layer in float_layers and not rounds:
                continue
            if value is None or old is None or value.ndim != 4 or layer not in grids.sources:
                continue
            # TFLite has the channels that are read last: [O, H, W, I], depthwise [1, H, W, O].
            depthwise = graph.kind(operator) == "DEPTHWISE_CONV_2D"
            rows = value.transpose(3, 0, 1, 2) if depthwise else np.moveaxis(value, -1, 1)
            fresh = corrected_bias(old, rows, grids.means[grids.sources[layer]], _STEPS)
            graph.tensors[bias].buffer = graph.add_buffer(fresh)
        return write_model(graph.model)

    def build(self, float_layers: frozenset[str] = frozenset()) -> bytes:
        """The quantized model, with some layers left in float."""
        from ai_edge_quantizer import quantizer

        recipe = quantizer.Quantizer(self._corrected(float_layers))
        in_float = self._in_float(float_layers)
        for index in self._trunk:
            operator = self.graph.operators[index]
            if index not in in_float:
                self._add(recipe, operator, self.precision)
            elif weighted(self.graph, operator) and self.precision in ROUNDS_ACTIVATIONS:
                self._add(recipe, operator, "w8")
        if not recipe.get_quantization_recipe():  # every layer is to stay in float
            return self.exact
        result = recipe.quantize(self._ranges, enable_progress_report=False)
        quantized = Graph(read_model(bytes(result.quantized_model)))
        repair_outputs(quantized)
        half_constants(quantized)
        return write_model(quantized.model)

    def _in_float(self, layers: frozenset[str]) -> set[int]:
        """Operators that work on floats: ``layers``, residual sums, what only moves or bends the
        values of one of these, and what was not calibrated.
        """
        producer: dict[int, int] = {}
        found: set[int] = set()
        for index in self._trunk:
            operator = self.graph.operators[index]
            if weighted(self.graph, operator):
                floats = self.graph.name(int(operator.outputs[0])) in layers
            elif self._is_sum(operator):
                floats = True
            else:
                floats = producer.get(int(operator.inputs[0])) in found
            ends = (self.graph.name(int(t)) for t in (operator.inputs[0], operator.outputs[0]))
            if self._ranges is not None and not self._ranges.keys() >= set(ends):
                floats = True
            if floats:
                found.add(index)
            producer.update((int(tensor), index) for tensor in operator.outputs)
        return found

    def _is_sum(self, operator: Any) -> bool:
        """Whether it adds two maps, in a precision that would round the sum."""
        if self.graph.kind(operator) != "ADD" or self.precision != "int8":
            return False
        constants = [self.graph.constant(int(t)) for t in operator.inputs]
        return all(value is None or value.ndim > 2 for value in constants)  # else it is a bias

    def _add(self, recipe: Any, operator: Any, precision: str) -> None:
        """Put one operator into the quantizer's recipe; those it does not know stay in float."""
        from ai_edge_quantizer import qtyping

        # The quantizer's scope of an operator is the names of its outputs, each with a semicolon.
        scope = "".join(f"{self.graph.name(int(t))};" for t in operator.outputs)
        exactly = f"^{re.escape(scope)}$"
        try:
            kind = qtyping.TFLOperationName(self.graph.kind(operator))
            if precision in ACTIVATION_BITS:
                recipe.add_static_config(exactly, kind, ACTIVATION_BITS[precision], 8)
            elif weighted(self.graph, operator):
                if precision == "fp16":
                    recipe.add_weight_only_config(
                        exactly,
                        kind,
                        16,
                        granularity=qtyping.QuantGranularity.TENSORWISE,
                        algorithm_key="float_casting",
                    )
                else:
                    recipe.add_weight_only_config(exactly, kind, 8)
        except ValueError:
            return

    def predictor(self, model: bytes) -> Callable[[np.ndarray], np.ndarray]:
        """What gives a model's ``delta``."""
        return open_model(model).delta

    def errors(self, model: bytes, images: Sequence[np.ndarray]) -> list[LayerError]:
        """Signal-to-noise ratios layer by layer."""
        return tflite_layer_errors(self.exact, model, images)

    def ranked(self, rows: Iterable[LayerError]) -> list[LayerError]:
        """Layers that may be kept in float, the worst first."""
        layers = set(self.layers)
        return ranked(row for row in rows if row.name in layers)


def tflite_layer_errors(
    exact: bytes, quantized: bytes, images: Sequence[np.ndarray]
) -> list[LayerError]:
    """Compare two forms of one model layer by layer.

    Args:
        exact: bytes of the float model, its tensors named by :func:`name_layers`.
        quantized: bytes of the other.
        images: float32 [H, W, 3] in [0, 1].
    """
    return layer_errors(
        nodes(Graph(read_model(exact))),
        open_model(exact, keep=True).activations,
        open_model(quantized, keep=True).activations,
        images,
    )


def nodes(graph: Graph) -> list[Node]:
    """The layers on the way to ``delta``, in order, with the names of what they take."""
    source: dict[int, str] = {}
    found = []
    for index in graph.trunk("delta"):
        operator = graph.operators[index]
        kind, output = graph.kind(operator), int(operator.outputs[0])
        inputs = [int(t) for t in operator.inputs if t >= 0 and graph.constant(int(t)) is None]
        if kind in MOVES:
            source[output] = source.get(inputs[0], graph.name(inputs[0]))
            continue
        names = tuple(source.get(t, graph.name(t)) for t in inputs)
        bent = bool(getattr(operator.builtinOptions, "fusedActivationFunction", 0))
        found.append(Node(graph.name(output), kind, graph.name(output), names, bent))
    return with_activations(found)
