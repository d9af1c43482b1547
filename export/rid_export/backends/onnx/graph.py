"""ONNX graphs: names of layers, operators on the way to delta, and a runner that looks inside."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from rid_export.layers import Role, Step

MOVES = frozenset(("DepthToSpace", "Reshape", "Transpose"))
"""Operators that only move values: their output has the range of their input."""
_WEIGHTED = ("Conv", "Gemm", "MatMul")
_PREFIX = "defender."


def name_layers(model: Any) -> None:
    """Call every node by the module it belongs to.

    The exporter keeps the names of weights: ``encoder.0.expand`` is the node that takes
    ``defender.encoder.0.expand.weight``; what follows it is ``encoder.0.expand/relu``.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    layer_of: dict[str, str] = {}
    taken: set[str] = set()
    for node in model.graph.node:
        before = next((layer_of[name] for name in node.input if name in layer_of), "input")
        weight = next((n for n in node.input[1:2] if n in constants), "")
        layer = before
        title = f"{before}/{node.op_type.lower()}"
        if node.op_type in _WEIGHTED and weight:
            if weight.startswith(_PREFIX):
                layer = weight.removeprefix(_PREFIX).rpartition(".")[0]
            else:
                layer = title
            title = layer
        name, count = title, 1
        while name in taken:
            count += 1
            name = f"{title}.{count}"
        taken.add(name)
        node.name = name
        for output in node.output:
            layer_of[output] = layer


def steps(model: Any) -> list[Step]:
    """The operators on the way to ``delta``, in order; nodes are named by :func:`name_layers`."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    vectors = {name for name, tensor in constants.items() if len(tensor.dims) < 3}
    behind = {node.name for node in head(model)}
    found = []
    for node in model.graph.node:
        if node.name in behind:
            continue
        role: Role = "other"
        channels = 0
        if node.op_type in _WEIGHTED and node.input[1] in constants:
            role = "layer"
            dims = constants[node.input[1]].dims
            channels = int(dims[1] if node.op_type == "Conv" else dims[0])
        elif node.op_type == "Add":
            role = "sum" if vectors.isdisjoint(node.input) else "bias"
        elif node.op_type in ("Relu", "Tanh"):
            role = "activation"
        elif node.op_type in MOVES:
            role = "move"
        inputs = tuple(name for name in node.input if name and name not in constants)
        found.append(Step(node.name, node.op_type, role, inputs, str(node.output[0]), channels))
    return found


def head(model: Any) -> list[Any]:
    """Nodes that follow ``delta``: scaling by eps, adding, clamping. They stay in float."""
    after = {"delta"}
    found = []
    for node in model.graph.node:
        if after.intersection(node.input):
            after.update(node.output)
            found.append(node)
    return found


class OnnxRunner:
    """A model in ONNX Runtime on one core, for the converter; not for apps."""

    def __init__(self, model: Any, *, inside: bool = False) -> None:
        """Load the model.

        Args:
            model: ``ModelProto``.
            inside: make every tensor that is computed an output. Operators are then not fused, so
                that integers are dequantized and computed in float as the file's text says.
        """
        import onnx
        import onnxruntime
        from onnx import numpy_helper

        if inside:
            model = copy.deepcopy(model)
            have = {output.name for output in model.graph.output}
            # Without a type: ONNX Runtime infers it.
            model.graph.output.extend(
                onnx.ValueInfoProto(name=name)
                for node in model.graph.node
                for name in node.output
                if name not in have
            )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        entry = self._session.get_inputs()[0]
        self._bytes = entry.type == "tensor(uint8)"
        self._pixels_last = entry.shape[-1] == 3
        self._constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self._quantizing = [n for n in model.graph.node if n.op_type == "QuantizeLinear"]
        self._names = [output.name for output in self._session.get_outputs()]

    def run(self, image: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
        """Outputs as stored, for a float32 image [H, W, 3] in [0, 1]."""
        batch = image[None] if self._pixels_last else image.transpose(2, 0, 1)[None]
        if self._bytes:
            batch = np.rint(batch * 255).clip(0, 255).astype(np.uint8)
        values = self._session.run(names, {"image": np.ascontiguousarray(batch)})
        return dict(zip(names, values, strict=True))

    def delta(self, image: np.ndarray) -> np.ndarray:
        """The unit perturbation, [H, W, 3] or [3, H, W] as the model gives it."""
        value: np.ndarray = self.run(image, ["delta"])["delta"][0]
        return value

    def activations(self, image: np.ndarray) -> Mapping[str, np.ndarray]:
        """Every float tensor that was computed, by name; of quantized ones the dequantized value.

        Needs a runner with ``inside``.
        """
        values = self.run(image, self._names)
        found = {n: v for n, v in values.items() if v.dtype in (np.float32, np.float16)}
        for node in self._quantizing:
            scale, zero = (self._constants[name] for name in node.input[1:3])
            stored = values[node.output[0]].astype(np.float32)
            found[node.input[0]] = (stored - zero.astype(np.float32)) * scale
        return found
