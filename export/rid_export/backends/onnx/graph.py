"""ONNX graphs: names of layers, operators on the way to delta, and what is inside when they run."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from rid_core.runtimes.onnxruntime import OnnxSession
from rid_export.layers import Activations, Role, Step

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


def open_model(model: Any) -> OnnxSession:
    """A ``ModelProto`` in ONNX Runtime on one core."""
    return OnnxSession(model.SerializeToString(), threads=1)


def activations(model: Any) -> Activations:
    """What gives every float tensor that a model computes, by name, for an image [H, W, 3].

    Of quantized tensors it is the dequantized value. Operators are not fused then, so that
    integers are dequantized and computed in float as the file's text says.
    """
    import onnx
    from onnx import numpy_helper

    model = copy.deepcopy(model)
    have = {output.name for output in model.graph.output}
    # Without a type: ONNX Runtime infers it.
    model.graph.output.extend(
        onnx.ValueInfoProto(name=name)
        for node in model.graph.node
        for name in node.output
        if name not in have
    )
    session = open_model(model)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    quantizing = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]

    def run(image: np.ndarray) -> Mapping[str, np.ndarray]:
        values = session.predict(image, session.outputs)
        found = {n: v for n, v in values.items() if v.dtype in (np.float32, np.float16)}
        for node in quantizing:
            scale, zero = (numpy_helper.to_array(constants[name]) for name in node.input[1:3])
            stored = values[node.output[0]].astype(np.float32)
            found[node.input[0]] = (stored - zero.astype(np.float32)) * scale
        return found

    return run
