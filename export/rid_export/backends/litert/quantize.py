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
from collections.abc import Mapping
from typing import Any

import numpy as np

from rid_core.quantization.grids import Grids
from rid_core.runtimes.litert import open_model
from rid_export.backends.litert import edits
from rid_export.backends.litert.graph import Graph, read_model, steps, write_model
from rid_export.layers import Activations
from rid_export.quantization import Predict, Quantizer
from rid_export.spec import ACTIVATION_BITS, ROUNDS_ACTIVATIONS


class TFLiteQuantizer(Quantizer[bytes]):
    """See :class:`rid_export.quantization.Quantizer`; models are bytes of .tflite files."""

    rounds_sums = frozenset(("w8a16",))

    def __init__(
        self, data: bytes, precision: str, grids: Grids | None, weights: Mapping[str, np.ndarray]
    ) -> None:
        """Look at a model whose tensors are named by :func:`name_layers`."""
        self.graph = Graph(read_model(data))
        super().__init__(data, precision, steps(self.graph), grids, weights)

    def build(self, float_layers: frozenset[str] = frozenset()) -> bytes:
        """The quantized model, with some layers left in float."""
        from ai_edge_quantizer import quantizer

        corrected = self.exact
        if self.grids is not None:
            graph = Graph(read_model(self.exact))
            edits.set_biases(graph, self.biases(float_layers))
            corrected = write_model(graph.model)
        recipe = quantizer.Quantizer(corrected)
        in_float = self.in_float(float_layers)
        for index in self.graph.trunk("delta"):
            operator = self.graph.operators[index]
            if self.graph.name(int(operator.outputs[0])) not in in_float:
                self._add(recipe, operator, self.precision)
            elif self.graph.weighted(operator) and self.precision in ROUNDS_ACTIVATIONS:
                self._add(recipe, operator, "w8")
        if not recipe.get_quantization_recipe():  # every layer is to stay in float
            return self.exact
        ranges = {
            name: {"min": np.full((1, 1, 1, 1), grid.low), "max": np.full((1, 1, 1, 1), grid.high)}
            for name, grid in self.ranges.items()
        }
        result = recipe.quantize(ranges or None, enable_progress_report=False)
        quantized = Graph(read_model(bytes(result.quantized_model)))
        edits.repair_outputs(quantized)
        edits.half_constants(quantized)
        return write_model(quantized.model)

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
            elif self.graph.weighted(operator):
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

    def predictor(self, model: bytes) -> Predict:
        """What gives a model's ``delta``."""
        return open_model(model).delta

    def activations(self, model: bytes) -> Activations:
        """What gives a model's float tensors by name."""
        return open_model(model, keep=True).activations
