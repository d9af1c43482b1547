"""Quantize an ONNX model in standard operators, so that every runtime of ONNX takes it.

What is quantized is the trunk, up to ``delta``; scaling by eps, adding and clamping stay float32.

- ``fp16``: weights and activations in half precision (ONNX Runtime's converter).
- ``w8``: weights in int8 per channel, made float again by a DequantizeLinear.
- ``w8a16``: int8 weights and int16 activations as QDQ, opset 21; for NPUs. ONNX Runtime's CPU
  kernels compute it in float. A layer that is kept in float is so altogether.
- ``int8``: QDQ, uint8 activations and weights, per channel (ONNX Runtime's quantizer). With int8
  weights, x86 cores without VNNI add pairs of products in 16 bits, which overflow: rid-s lost 3 dB
  on one. Weights of 7 bits, the usual remedy, cost 0.6 dB everywhere; unsigned weights, which those
  cores multiply in another way, cost 3 ms of 19.
  Residual sums are float32, and a layer that is kept in float keeps its int8 weights; why, says
  :mod:`rid_export.backends.litert.quantize`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from rid_core.errors import RidError
from rid_core.quantization.grids import Grids
from rid_export.backends.onnx import edits
from rid_export.backends.onnx.graph import activations, open_model, steps
from rid_export.layers import Activations
from rid_export.quantization import Predict, Quantizer
from rid_export.spec import ROUNDS_ACTIVATIONS

OPSET_OF_INT16 = 21
"""The first opset whose QuantizeLinear takes int16."""
_QUANTIZED = ("Conv", "Relu", "Add", "Gemm", "MatMul", "DepthToSpace")
_UNSIGNED_STEPS = 127.5
"""Steps of a row's largest weight, as uint8 around 128."""


class OnnxQuantizer(Quantizer[Any]):
    """See :class:`rid_export.quantization.Quantizer`; models are ``ModelProto``."""

    narrow_in_float = False  # measured in ONNX Runtime: a tenth slower, types change around them

    def __init__(
        self, model: Any, precision: str, grids: Grids | None, weights: Mapping[str, np.ndarray]
    ) -> None:
        """Look at a model whose nodes are named by :func:`name_layers`."""
        super().__init__(model, precision, steps(model), grids, weights)
        self._trunk = edits.without_head(model)

    def build(self, float_layers: frozenset[str] = frozenset()) -> Any:
        """The quantized model, with some layers left in float."""
        trunk = copy.deepcopy(self._trunk)
        if self.precision == "fp16":
            trunk = self._half(trunk, float_layers)
        elif self.precision == "w8":
            edits.store_weights(trunk, set(self.layers) - float_layers)
        else:
            trunk = self._integers(trunk, float_layers)
            if self.precision in ROUNDS_ACTIVATIONS:
                edits.store_weights(trunk, set(float_layers))
        model = edits.with_head(trunk, self.exact)
        edits.sort_nodes(model)
        return model

    def _half(self, trunk: Any, float_layers: frozenset[str]) -> Any:
        from onnxruntime.transformers.float16 import convert_float_to_float16

        return convert_float_to_float16(
            trunk,
            keep_io_types=True,
            disable_shape_infer=True,
            node_block_list=sorted(float_layers),
        )

    def _integers(self, trunk: Any, float_layers: frozenset[str]) -> Any:
        import onnx
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        wide = self.precision not in ROUNDS_ACTIVATIONS
        edits.set_biases(trunk, self.biases(float_layers, 127 if wide else _UNSIGNED_STEPS))
        in_float = self.in_float(float_layers)
        if wide:
            trunk = onnx.version_converter.convert_version(trunk, OPSET_OF_INT16)
        ranges = {n: (np.float32(g.low), np.float32(g.high)) for n, g in self.ranges.items()}
        quantizer = QDQQuantizer(
            onnx.shape_inference.infer_shapes(trunk),
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8 if wide else QuantType.QUInt8,
            activation_qType=QuantType.QInt16 if wide else QuantType.QUInt8,
            tensors_range=TensorsData(CalibrationMethod.MinMax, ranges),
            nodes_to_quantize=[],
            nodes_to_exclude=sorted(in_float),
            op_types_to_quantize=list(_QUANTIZED),
            extra_options={"ActivationSymmetric": wide},
        )
        quantizer.quantize_model()
        quantized = quantizer.model.model
        foreign = {entry.domain for entry in quantized.opset_import} - {"", "ai.onnx"}
        if foreign or any(node.domain for node in quantized.graph.node):
            raise RidError("the quantizer used operators outside of the ONNX standard")
        edits.read_floats(quantized, in_float)
        if not wide:  # ONNX Runtime has no kernels that move int16
            edits.move_integers(quantized)
        return quantized

    def predictor(self, model: Any) -> Predict:
        """What gives a model's ``delta``."""
        return open_model(model).delta

    def activations(self, model: Any) -> Activations:
        """What gives a model's float tensors by name."""
        return activations(model)
