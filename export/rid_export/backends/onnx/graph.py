"""ONNX graphs: names of layers, the cut before the head, and what is inside when they run."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rid_core.errors import RidError
from rid_core.runtimes.onnxruntime import OnnxSession
from rid_export.layers import Node, with_activations

MOVES = frozenset(("DepthToSpace", "Reshape", "Transpose"))
"""Operators that only move values: their output has the range of their input."""
_PREFIX = "defender."


def name_nodes(model: Any) -> None:
    """Call every node by the module it belongs to, as ``name_layers`` does for TFLite.

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
        if node.op_type in ("Conv", "Gemm", "MatMul") and weight:
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


def weighted(model: Any, node: Any) -> bool:
    """Whether a node is a convolution or a matrix product with constant weights."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return node.op_type in ("Conv", "Gemm", "MatMul") and node.input[1] in constants


def head(model: Any) -> list[Any]:
    """Nodes that follow ``delta``: scaling by eps, adding, clamping. They stay in float."""
    after = {"delta"}
    found = []
    for node in model.graph.node:
        if after.intersection(node.input):
            after.update(node.output)
            found.append(node)
    return found


def without_head(model: Any) -> Any:
    """A copy that ends in ``delta``."""
    trunk = copy.deepcopy(model)
    names = {node.name for node in head(model)}
    kept = [node for node in trunk.graph.node if node.name not in names]
    used = {name for node in kept for name in node.input}
    outputs = [output for output in trunk.graph.output if output.name == "delta"]
    constants = [tensor for tensor in trunk.graph.initializer if tensor.name in used]
    for field, values in (("node", kept), ("output", outputs), ("initializer", constants)):
        del getattr(trunk.graph, field)[:]
        getattr(trunk.graph, field).extend(values)
    return trunk


def with_head(trunk: Any, model: Any) -> Any:
    """``trunk``, which ends in ``delta``, with the head of ``model`` put back in float.

    Constants that the trunk has under the same name are its own: they may be in half precision now.
    """
    whole = copy.deepcopy(trunk)
    nodes = [copy.deepcopy(node) for node in head(model)]
    used = {name for node in nodes for name in node.input}
    present = {tensor.name for tensor in whole.graph.initializer}
    for tensor in model.graph.initializer:
        if tensor.name not in used:
            continue
        constant = copy.deepcopy(tensor)
        if tensor.name in present:
            constant.name = f"{tensor.name}.head"
        for node in nodes:
            for index, name in enumerate(node.input):
                if name == tensor.name:
                    node.input[index] = constant.name
        whole.graph.initializer.append(constant)
    whole.graph.node.extend(nodes)
    del whole.graph.output[:]
    whole.graph.output.extend(model.graph.output)
    return whole


def bytes_at_the_ends(model: Any) -> None:
    """Make ``image`` and ``protected`` uint8 tensors, 0..255 for 0..1; ``delta`` stays float32."""
    import onnx
    from onnx import helper, numpy_helper

    scale, zero = "level", "level.zero"
    model.graph.initializer.extend(
        (
            numpy_helper.from_array(np.float32(1 / 255), scale),
            numpy_helper.from_array(np.uint8(0), zero),
        )
    )
    for node in model.graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name in ("image", "protected"):
                    names[index] = f"{name}.real"
    first = helper.make_node(
        "DequantizeLinear", ["image", scale, zero], ["image.real"], name="image"
    )
    nodes = [first, *model.graph.node]
    if any(output.name == "protected" for output in model.graph.output):
        inputs = ["protected.real", scale, zero]
        nodes.append(helper.make_node("QuantizeLinear", inputs, ["protected"], name="protected"))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    for value in (*model.graph.input, *model.graph.output):
        if value.name != "delta":
            value.type.tensor_type.elem_type = onnx.TensorProto.UINT8


def sort_nodes(model: Any) -> None:
    """Put nodes in an order in which every input is there before it is needed."""
    waiting = list(model.graph.node)
    known = {"", *(tensor.name for tensor in model.graph.initializer)}
    known.update(value.name for value in model.graph.input)
    ordered: list[Any] = []
    while waiting:
        ready = [node for node in waiting if known.issuperset(node.input)]
        if not ready:
            raise RidError(f"the quantizer left {waiting[0].name} without an input")
        for node in ready:
            known.update(node.output)
        ordered += ready
        waiting = [node for node in waiting if not known.issuperset(node.output)]
    del model.graph.node[:]
    model.graph.node.extend(ordered)


def open_model(model: Any) -> OnnxSession:
    """A ``ModelProto`` in ONNX Runtime on one core."""
    return OnnxSession(model.SerializeToString(), threads=1)


def activations(model: Any) -> Callable[[np.ndarray], Mapping[str, np.ndarray]]:
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


def nodes(model: Any) -> list[Node]:
    """The layers on the way to ``delta``, in order, with the names of what they take."""
    constants = {tensor.name for tensor in model.graph.initializer}
    source: dict[str, str] = {}
    found = []
    names = {node.name for node in head(model)}
    for node in model.graph.node:
        if node.name in names:
            continue
        inputs = [source.get(name, name) for name in node.input if name not in constants]
        if node.op_type in MOVES:
            source[node.output[0]] = inputs[0]
            continue
        found.append(Node(node.name, node.op_type, node.output[0], tuple(inputs)))
    return with_activations(found)
