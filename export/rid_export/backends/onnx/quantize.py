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
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from rid_core.errors import RidError
from rid_core.quantization.grids import Grids
from rid_export.backends.onnx.graph import (
    MOVES,
    activations,
    nodes,
    open_model,
    sort_nodes,
    weighted,
    with_head,
    without_head,
)
from rid_export.biases import corrected_bias
from rid_export.layers import LayerError, layer_errors, ranked
from rid_export.spec import ACTIVATION_BITS, ROUNDS_ACTIVATIONS

OPSET_OF_INT16 = 21
"""The first opset whose QuantizeLinear takes int16."""
_QUANTIZED = ("Conv", "Relu", "Add", "Gemm", "MatMul", "DepthToSpace")
_SIGNED_STEPS, _UNSIGNED_STEPS = 127, 127.5
"""Steps of a row's largest weight: as int8, and as uint8 around 128."""


class OnnxQuantizer:
    """See :class:`rid_export.quantization.Quantizer`; models are ``ModelProto``."""

    def __init__(self, model: Any, precision: str, grids: Grids | None) -> None:
        """Look at the model.

        Args:
            model: ``ModelProto``; its nodes are named by :func:`name_nodes`.
            precision: see the module.
            grids: of the activations; None if they stay float.
        """
        self.exact = model
        self.precision = precision
        self.idle: frozenset[str] = frozenset()
        self._trunk = without_head(model)
        self._grids = grids
        self._ranges: dict[str, tuple[float, float]] = {}
        if precision in ACTIVATION_BITS:
            assert grids is not None, "activations are calibrated on images"
            self._ranges = self._assign(grids)

    @property
    def layers(self) -> list[str]:
        """Names of the layers that may be kept in float: those with weights."""
        return [node.name for node in self._trunk.graph.node if weighted(self._trunk, node)]

    def _in_float(self, layers: frozenset[str]) -> set[str]:
        """Nodes that work on floats: ``layers``, sums of maps, what only moves or bends the values
        of one of these, and what was not calibrated.
        """
        biases = {tensor.name for tensor in self._trunk.graph.initializer if len(tensor.dims) < 3}
        producer: dict[str, str] = {}
        found: set[str] = set()
        for node in self._trunk.graph.node:
            if weighted(self._trunk, node):
                floats = node.name in layers
            elif node.op_type == "Add" and biases.isdisjoint(node.input):
                floats = True
            else:
                floats = producer.get(node.input[0]) in found
            if floats or not self._ranges.keys() >= {node.input[0], node.output[0]}:
                found.add(node.name)
            producer.update((name, node.name) for name in node.output)
        return found

    def _assign(self, grids: Grids) -> dict[str, tuple[float, float]]:
        """Ranges by the names of this model's tensors, of those that are rounded."""
        ends: dict[str, tuple[float, float]] = {}
        for node in self._trunk.graph.node:
            source, result = node.input[0], node.output[0]
            if weighted(self._trunk, node) and node.name in grids.sources:
                for tensor, name in ((source, grids.sources[node.name]), (result, node.name)):
                    ends[tensor] = (grids.grids[name].low, grids.grids[name].high)
            elif node.op_type == "Tanh" and source in ends:
                ends[result] = (-1.0, 1.0)
            elif node.op_type in MOVES | {"Relu", "Add"} and source in ends:
                ends[result] = ends[source]  # of an Add, which is a bias: sums are not rounded
        return ends

    def _corrected(self, float_layers: frozenset[str]) -> Any:
        """The trunk with the biases of :mod:`rid_export.biases`."""
        from onnx import numpy_helper

        trunk = copy.deepcopy(self._trunk)
        assert self._grids is not None
        constants = {tensor.name: tensor for tensor in trunk.graph.initializer}
        for node in trunk.graph.node:
            if node.op_type != "Conv" or len(node.input) < 3 or node.input[2] not in constants:
                continue
            if node.name not in self._grids.sources:
                continue
            rounds = self.precision in ROUNDS_ACTIVATIONS
            if node.name in float_layers and not rounds:
                continue
            whole = rounds and node.name not in float_layers
            bias, weight = (constants[name] for name in (node.input[2], node.input[1]))
            fresh = corrected_bias(
                numpy_helper.to_array(bias),
                numpy_helper.to_array(weight),
                self._grids.means[self._grids.sources[node.name]],
                _UNSIGNED_STEPS if whole else _SIGNED_STEPS,
            )
            bias.CopyFrom(numpy_helper.from_array(fresh, bias.name))
        return trunk

    def build(self, float_layers: frozenset[str] = frozenset()) -> Any:
        """The quantized model, with some layers left in float."""
        if self.precision == "fp16":
            trunk = self._half(float_layers)
        elif self.precision == "w8":
            trunk = self._weights(copy.deepcopy(self._trunk), set(self.layers) - float_layers)
        else:
            rounded = float_layers if self.precision in ROUNDS_ACTIVATIONS else frozenset()
            trunk = self._weights(self._integers(float_layers), set(rounded))
        model = with_head(trunk, self.exact)
        sort_nodes(model)
        return model

    def _half(self, float_layers: frozenset[str]) -> Any:
        from onnxruntime.transformers.float16 import convert_float_to_float16

        return convert_float_to_float16(
            copy.deepcopy(self._trunk),
            keep_io_types=True,
            disable_shape_infer=True,
            node_block_list=sorted(float_layers),
        )

    def _weights(self, trunk: Any, layers: set[str]) -> Any:
        """Store the weights of ``layers`` as int8, and make them float in the graph."""
        from onnx import helper, numpy_helper

        constants = {tensor.name: tensor for tensor in trunk.graph.initializer}
        fresh = []
        for node in trunk.graph.node:
            if node.name not in layers:
                continue
            name = node.input[1]
            value = numpy_helper.to_array(constants[name])
            axis = 0 if node.op_type == "Conv" else value.ndim - 1
            stored, scale = per_channel(value, axis)
            parts = (f"{name}.stored", stored), (f"{name}.scale", scale)
            trunk.graph.initializer.remove(constants[name])
            trunk.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in parts)
            inputs = [n for n, _ in parts]
            title = f"{node.name}/weight"
            fresh.append(
                helper.make_node("DequantizeLinear", inputs, [name], name=title, axis=axis)
            )
        rest = list(trunk.graph.node)
        del trunk.graph.node[:]
        trunk.graph.node.extend((*fresh, *rest))
        return trunk

    def _integers(self, float_layers: frozenset[str]) -> Any:
        import onnx
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        trunk = self._corrected(float_layers)
        in_float = self._in_float(float_layers)
        wide = self.precision == "w8a16"
        if wide:
            trunk = onnx.version_converter.convert_version(trunk, OPSET_OF_INT16)
        trunk = onnx.shape_inference.infer_shapes(trunk)
        ranges = TensorsData(
            CalibrationMethod.MinMax,
            {n: (np.float32(low), np.float32(high)) for n, (low, high) in self._ranges.items()},
        )
        quantizer = QDQQuantizer(
            trunk,
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8 if wide else QuantType.QUInt8,
            activation_qType=QuantType.QInt16 if wide else QuantType.QUInt8,
            tensors_range=ranges,
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
        read_floats(quantized, in_float)
        if not wide:  # ONNX Runtime has no kernels that move int16
            move_integers(quantized)
        return quantized

    def predictor(self, model: Any) -> Callable[[np.ndarray], np.ndarray]:
        """What gives a model's ``delta``."""
        return open_model(model).delta

    def errors(self, model: Any, images: Sequence[np.ndarray]) -> list[LayerError]:
        """Signal-to-noise ratios layer by layer."""
        return onnx_layer_errors(self.exact, model, images)

    def ranked(self, rows: Iterable[LayerError]) -> list[LayerError]:
        """Layers that may be kept in float, the worst first."""
        layers = set(self.layers)
        return ranked(row for row in rows if row.name in layers)


def per_channel(value: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric int8 values and their float32 scales along ``axis``; zero channels have scale 1."""
    others = tuple(n for n in range(value.ndim) if n != axis)
    peak = np.abs(value).max(axis=others, keepdims=True)
    scale = np.where(peak > 0, peak / _SIGNED_STEPS, 1).astype(np.float32)
    stored = np.clip(np.rint(value / scale), -127, 127).astype(np.int8)
    return stored, scale.reshape(-1)


def read_floats(model: Any, in_float: set[str]) -> None:
    """Let what is computed in float read floats, where there are any.

    The quantizer sends every reader of a tensor to its rounded form, also the sum that goes on with
    a residual stream that only the next layer needs as integers.

    Args:
        model: to be edited.
        in_float: names of nodes.
    """
    producer = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.name not in in_float:
            continue
        for index, name in enumerate(node.input):
            dequantize = producer.get(name)
            if dequantize is None or dequantize.op_type != "DequantizeLinear":
                continue
            quantize = producer.get(dequantize.input[0])
            if quantize is None or quantize.op_type != "QuantizeLinear":
                continue
            source = producer.get(quantize.input[0])
            if source is not None and source.name in in_float:
                node.input[index] = quantize.input[0]
    _drop_unused(model)


def move_integers(model: Any) -> None:
    """Let operators that only move values move integers.

    The quantizer writes Dequantize, DepthToSpace, Quantize, Dequantize with one scale throughout;
    moving before dequantizing is the same, in a quarter of the bytes and two operators fewer.
    """
    producer = {name: node for node in model.graph.node for name in node.output}
    removed = []
    for node in model.graph.node:
        if node.op_type not in MOVES:
            continue
        before = producer.get(node.input[0])
        after = [n for n in model.graph.node if node.output[0] in n.input]
        if before is None or before.op_type != "DequantizeLinear" or len(after) != 1:
            continue
        (quantize,) = after
        if quantize.op_type != "QuantizeLinear" or _parameters(model, before) != _parameters(
            model, quantize
        ):
            continue
        node.input[0] = before.input[0]
        node.output[0] = quantize.output[0]
        removed.append(quantize)
    for node in removed:
        model.graph.node.remove(node)
    _drop_unused(model)


def _parameters(model: Any, node: Any) -> list[bytes]:
    """Scale and zero point of a (de)quantizing node, as stored."""
    values = {tensor.name: tensor for tensor in model.graph.initializer}
    found = []
    for name in node.input[1:]:
        tensor = copy.deepcopy(values[name])
        tensor.name = ""
        found.append(tensor.SerializeToString())
    return found


def _drop_unused(model: Any) -> None:
    """Remove nodes and constants that nothing needs any more."""
    outputs = {output.name for output in model.graph.output}
    while True:
        used = outputs | {name for node in model.graph.node for name in node.input}
        idle = [node for node in model.graph.node if not used.intersection(node.output)]
        if not idle:
            break
        for node in idle:
            model.graph.node.remove(node)
    for tensor in [t for t in model.graph.initializer if t.name not in used]:
        model.graph.initializer.remove(tensor)


def onnx_layer_errors(exact: Any, quantized: Any, images: Sequence[np.ndarray]) -> list[LayerError]:
    """Compare two forms of one model layer by layer.

    Args:
        exact: ``ModelProto`` of the float model, its nodes named by :func:`name_nodes`.
        quantized: the other.
        images: float32 [H, W, 3] in [0, 1].
    """
    return layer_errors(
        nodes(exact),
        activations(exact),
        activations(quantized),
        images,
    )
