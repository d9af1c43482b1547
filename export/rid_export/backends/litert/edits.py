"""Edits of a TFLite model that its converter and its quantizer leave to do.

Each puts right what it recognises and leaves everything else alone, tensors of any rank included: a
transformer's tokens have three axes, its attention five.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from rid_core.errors import RidError
from rid_export.backends.litert.graph import Graph


def split_sums(graph: Graph) -> int:
    """Undo the folding of ``x + rows + columns`` into ``x`` plus one large constant.

    The converter adds the two broadcast constants, [1, H, 1, C] and [1, 1, W, C], beforehand and
    stores [1, H, W, C]: 0.7 MB of a 2.7 MB file. Two additions at that size cost nothing.

    Returns:
        How many additions were split.
    """
    done = 0
    index = 0
    while index < len(graph.operators):
        operator = graph.operators[index]
        index += 1
        if graph.kind(operator) != "ADD":
            continue
        x, constant = (int(t) for t in operator.inputs)
        value = graph.constant(constant)
        if value is None or value.ndim != 4 or min(value.shape[1:3]) < 3:
            continue
        if len(_readers(graph, constant)) > 1:
            continue
        rows = value[:, :, :1]
        columns = value[:, :1] - rows[:, :1]
        rest = float(np.abs(rows + columns - value).max())
        if rest > 1e-6 * max(float(np.abs(value).max()), 1e-12):
            continue
        result = int(operator.outputs[0])
        name = graph.name(constant)
        parts = [constant, graph.add_tensor(f"{name}.columns", constant)]
        for tensor, part in zip(parts, (rows, columns), strict=True):
            graph.tensors[tensor].buffer = graph.add_buffer(part)
            graph.tensors[tensor].shape = np.array(part.shape, np.int32)
        graph.tensors[constant].name = f"{name}.rows".encode()
        middle = graph.add_tensor(f"{graph.name(result)}.rows", result, buffer=0)
        second = copy.copy(operator)
        # A fused activation belongs after both.
        operator.builtinOptions = copy.copy(operator.builtinOptions)
        operator.builtinOptions.fusedActivationFunction = 0
        operator.inputs = np.array([x, parts[0]], np.int32)
        operator.outputs = np.array([middle], np.int32)
        second.inputs = np.array([middle, parts[1]], np.int32)
        second.outputs = np.array([result], np.int32)
        graph.operators.insert(index, second)
        index += 1
        done += 1
    return done


def own_biases(graph: Graph, weights: Mapping[str, np.ndarray]) -> None:
    """Give every layer the bias that it has in torch, in a tensor of its own.

    The converter moves a bias into the constant that is added behind its layer, and lets layers
    with equal biases share one. But a range is of one layer with its bias, and so is what rounding
    its weights adds on average: with the stem's bias among the codes of places, int8 fell to 8 dB.

    Args:
        graph: to be edited; its tensors are named by :func:`name_layers`.
        weights: the network's tensors by name.
    """
    layers = [
        operator
        for operator in graph.operators
        if graph.weighted(operator) and len(operator.inputs) > 2 and operator.inputs[2] >= 0
    ]
    seen: set[int] = set()
    for operator in layers:
        bias = int(operator.inputs[2])
        stored = graph.constant(bias)
        if bias in seen and stored is not None:
            name = f"{graph.name(int(operator.outputs[0]))}.bias"
            bias = graph.add_tensor(name, bias, buffer=graph.add_buffer(stored))
            operator.inputs = np.array([*operator.inputs[:2], bias], np.int32)
        seen.add(bias)
    for operator in layers:
        bias, output = int(operator.inputs[2]), int(operator.outputs[0])
        stored, wanted = graph.constant(bias), weights.get(f"{graph.name(output)}.bias")
        readers = _readers(graph, output)
        if stored is None or wanted is None or [graph.kind(each) for each in readers] != ["ADD"]:
            continue
        if operator.builtinOptions.fusedActivationFunction or stored.shape != wanted.shape:
            continue
        inputs = [int(t) for t in readers[0].inputs]
        other = inputs[1 - inputs.index(output)]
        both = graph.constant(other)
        if both is None or both.shape[-1:] != wanted.shape:
            continue  # nothing of the layer's can be in it
        rest = graph.add_buffer(both - (wanted - stored))
        if len(_readers(graph, other)) > 1:
            other = graph.add_tensor(f"{graph.name(other)}.{graph.name(output)}", other)
            readers[0].inputs = np.array(
                [output if t == output else other for t in inputs], np.int32
            )
        graph.tensors[bias].buffer = graph.add_buffer(wanted)
        graph.tensors[other].buffer = rest


def set_biases(graph: Graph, biases: Mapping[str, np.ndarray]) -> None:
    """Replace the biases of convolutions, by the names of their layers."""
    for operator in graph.operators:
        layer = graph.name(int(operator.outputs[0]))
        if layer in biases and graph.weighted(operator) and len(operator.inputs) > 2:
            bias = int(operator.inputs[2])
            if graph.constant(bias) is not None:
                graph.tensors[bias].buffer = graph.add_buffer(biases[layer])


def _readers(graph: Graph, tensor: int) -> list[Any]:
    """Operators that take a tensor."""
    return [operator for operator in graph.operators if tensor in operator.inputs]


def shuffle_at_once(graph: Graph) -> int:
    """Put one DEPTH_TO_SPACE where a shuffle is spelled RESHAPE, TRANSPOSE, RESHAPE.

    XNNPACK copies at every RESHAPE, and the last one is as large as the photo. The order of
    channels is TFLite's already (:class:`rid_core.defenders.mobile.ShuffleUp`). Shuffles of int16
    stay as they are: LiteRT's DEPTH_TO_SPACE does not know it, its TRANSPOSE does.

    Returns:
        How many were put there.
    """
    from ai_edge_litert import schema_py_generated as schema

    operators, done = graph.operators, 0
    for index in range(len(operators) - 3, -1, -1):
        three = operators[index : index + 3]
        if [graph.kind(each) for each in three] != ["RESHAPE", "TRANSPOSE", "RESHAPE"]:
            continue
        first, middle, last = three
        source, result = int(first.inputs[0]), int(last.outputs[0])
        inside = [int(first.outputs[0]), int(middle.outputs[0])]
        chained = [int(middle.inputs[0]), int(last.inputs[0])] == inside
        if not chained or any(len(_readers(graph, tensor)) > 1 for tensor in inside):
            continue
        block = _block(graph, source, inside[0], result)
        order = graph.constant(int(middle.inputs[1]))
        if (
            block is None
            or order is None
            or order.tolist() != [0, 2, 1, 3]
            or graph.tensors[source].type == schema.TensorType.INT16
        ):
            continue
        shuffle = graph.new_operator("DEPTH_TO_SPACE", [source], [result])
        shuffle.builtinOptions = schema.DepthToSpaceOptionsT()
        shuffle.builtinOptions.blockSize = block
        shuffle.builtinOptionsType = schema.BuiltinOptions.DepthToSpaceOptions
        operators[index : index + 3] = [shuffle]
        done += 1
    return done


def _block(graph: Graph, source: int, rows: int, result: int) -> int | None:
    """Side of the squares that channels become, if these tensors' sizes are those of a shuffle.

    A shuffle takes [1, H, W, C], moves [H, W, block, C / block] and gives
    [1, H * block, W * block, C / block^2].
    """
    before, after = graph.shape(source), graph.shape(result)
    if len(before) != 4 or len(after) != 4 or before[0] != 1:
        return None
    _, height, width, channels = before
    block = after[1] // max(height, 1)
    if block < 2 or channels % block**2:
        return None
    moved = [height, width, block, channels // block]
    square = [1, height * block, width * block, channels // block**2]
    return block if graph.shape(rows) == moved and after == square else None


def clamp_in_two(graph: Graph) -> int:
    """Replace ADD, RELU_0_TO_1 by an ADD that ends in ReLU and a MINIMUM with 1.

    XNNPACK has no RELU_0_TO_1: the one operator left to LiteRT's own kernels, which use one thread.

    Returns:
        How many were replaced.
    """
    from ai_edge_litert import schema_py_generated as schema

    makers = {int(t): each for each in graph.operators for t in each.outputs}
    ends = {int(entry.tensorIndex) for entry in graph.ends()}
    done = 0
    for index, operator in enumerate(graph.operators):
        if graph.kind(operator) != "RELU_0_TO_1":
            continue
        source = int(operator.inputs[0])
        maker = makers.get(source)
        if maker is None or graph.kind(maker) != "ADD":
            continue
        if maker.builtinOptions.fusedActivationFunction or source in ends:
            continue
        if len(_readers(graph, source)) > 1:
            continue
        maker.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.RELU
        one = graph.add_tensor(
            "one", source, shape=np.array([1], np.int32), buffer=graph.add_buffer(np.ones(1, "f4"))
        )
        least = graph.new_operator("MINIMUM", [source, one], [int(operator.outputs[0])])
        least.builtinOptions = schema.MaximumMinimumOptionsT()
        least.builtinOptionsType = schema.BuiltinOptions.MaximumMinimumOptions
        graph.operators[index] = least
        done += 1
    return done


def half_constants(graph: Graph) -> int:
    """Store the float maps that are added, the codes of rows and columns, in half precision.

    They are made float32 when the file is loaded, as half-precision weights are; what is lost is 60
    dB below what any quantized precision loses. 8 % of a small int8 file.

    Returns:
        How many were stored so.
    """
    from ai_edge_litert import schema_py_generated as schema

    added = [op for op in graph.operators if graph.kind(op) == "ADD"]
    fresh = []
    for tensor in sorted({int(t) for operator in added for t in operator.inputs}):
        value = graph.constant(tensor)
        if value is None or value.ndim < 3 or value.dtype != np.float32:
            continue
        half = graph.add_tensor(
            f"{graph.name(tensor)}.half",
            tensor,
            type=schema.TensorType.FLOAT16,
            buffer=graph.add_buffer(value.astype(np.float16)),
        )
        graph.tensors[tensor].buffer = 0
        fresh.append(graph.new_operator("DEQUANTIZE", [half], [tensor]))
    graph.operators[:0] = fresh
    return len(fresh)


def repair_outputs(graph: Graph) -> None:
    """Let the signature name the float tensors that the graph really gives.

    ai-edge-quantizer puts a DEQUANTIZE behind an output that it quantized, but leaves the signature
    at the integer tensor, which nothing keeps in memory.

    Raises:
        RidError: an output of the signature has no counterpart among the graph's.
    """
    outputs = [int(t) for t in graph.model.subgraphs[0].outputs]
    for signature in graph.model.signatureDefs:
        for entry in signature.outputs:
            stored = int(entry.tensorIndex)
            if stored in outputs:
                continue
            followers = [
                int(operator.outputs[0])
                for operator in graph.operators
                if graph.kind(operator) == "DEQUANTIZE" and int(operator.inputs[0]) == stored
            ]
            given = [t for t in followers if t in outputs]
            if len(given) != 1:
                raise RidError(f"the quantizer lost the output {graph.name(stored)}")
            entry.tensorIndex = given[0]
            graph.tensors[given[0]].name = graph.tensors[stored].name
            graph.tensors[stored].name = f"{graph.name(stored)}.stored".encode()


def bytes_at_the_ends(graph: Graph) -> None:
    """Make ``image`` and ``protected`` uint8 tensors of scale 1/255; ``delta`` stays float32.

    A DEQUANTIZE at the front and a QUANTIZE at the end: 0..255 are whole 8-bit levels, and nothing
    inside the network changes.
    """
    from ai_edge_litert import schema_py_generated as schema

    subgraph = graph.model.subgraphs[0]

    def stored(name: str, tensor: int) -> int:
        quantization = schema.QuantizationParametersT()
        quantization.scale = np.array([1 / 255], np.float32)
        quantization.zeroPoint = np.array([0], np.int64)
        index = graph.add_tensor(
            name, tensor, type=schema.TensorType.UINT8, quantization=quantization, buffer=0
        )
        graph.tensors[tensor].name = f"{name}.real".encode()
        for entry in graph.ends():
            if int(entry.tensorIndex) == tensor:
                entry.tensorIndex = index
        for ends in (subgraph.inputs, subgraph.outputs):
            ends[[int(t) == tensor for t in ends]] = index
        return index

    subgraph.inputs = np.array(subgraph.inputs, np.int32)
    subgraph.outputs = np.array(subgraph.outputs, np.int32)
    image = graph.end("image")
    outer = stored("image", image)
    graph.operators.insert(0, graph.new_operator("DEQUANTIZE", [outer], [image]))
    try:
        protected = graph.end("protected")
    except RidError:
        return  # exported without it
    outer = stored("protected", protected)
    graph.operators.append(graph.new_operator("QUANTIZE", [protected], [outer]))
