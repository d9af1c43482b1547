"""Multiply-adds and bytes of every operator of a TFLite file, read from its own graph."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from rid_bench.portable.records import Operator
from rid_core.errors import MissingExtraError

_BYTES = {0: 4, 1: 2, 2: 4, 3: 1, 4: 8, 6: 1, 7: 2, 9: 1, 17: 0.5}
"""Bytes per value by TFLite's TensorType."""


def tflite_layers(path: str | Path) -> list[Operator]:
    """The operators of the main graph, in order of execution, with no seconds yet.

    Bytes are the least traffic if nothing stays in cache.

    Raises:
        MissingExtraError: LiteRT's schema is not installed.
    """
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ImportError:
        raise MissingExtraError("ai-edge-litert", "export") from None
    names = {
        value: name
        for name, value in vars(schema.BuiltinOperator).items()
        if isinstance(value, int)
    }
    model = schema.ModelT.InitFromPackedBuf(Path(path).read_bytes(), 0)
    graph = model.subgraphs[0]
    layers = []
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        kind = names.get(max(code.builtinCode, code.deprecatedBuiltinCode), "CUSTOM")
        inputs = [graph.tensors[i] for i in operator.inputs if i >= 0]
        outputs = [graph.tensors[i] for i in operator.outputs if i >= 0]
        layers.append(
            Operator(
                kind,
                _name(kind, inputs, outputs),
                0.0,
                _multiply_adds(kind, inputs, outputs),
                sum(_size(tensor) for tensor in (*inputs, *outputs)),
            )
        )
    return layers


def _shape(tensor: Any) -> list[int]:
    return [int(n) for n in tensor.shape] if tensor.shape is not None else []


def _size(tensor: Any) -> int:
    return math.ceil(math.prod(_shape(tensor)) * _BYTES.get(tensor.type, 4))


def _multiply_adds(kind: str, inputs: list[Any], outputs: list[Any]) -> int:
    if not outputs:
        return 0
    out = math.prod(_shape(outputs[0]))
    if kind in ("CONV_2D", "FULLY_CONNECTED"):  # weights [out, ..., in]
        return out * math.prod(_shape(inputs[1])[1:])
    if kind == "DEPTHWISE_CONV_2D":  # weights [1, height, width, channels]
        return out * math.prod(_shape(inputs[1])[1:3])
    if kind == "TRANSPOSE_CONV":  # inputs: size, weights [out, height, width, in], image
        return math.prod(_shape(inputs[2])) * math.prod(_shape(inputs[1])[:3])
    if kind == "BATCH_MATMUL":
        return out * _shape(inputs[0])[-1]
    return 0


def _name(kind: str, inputs: list[Any], outputs: list[Any]) -> str:
    shape = _shape(outputs[0]) if outputs else []
    place = " x ".join(map(str, shape[1:3])) if len(shape) == 4 else " x ".join(map(str, shape))
    if kind in ("CONV_2D", "DEPTHWISE_CONV_2D") and len(shape) == 4:
        weights = _shape(inputs[1])
        window = f"{weights[1]}x{weights[2]}"
        if kind == "DEPTHWISE_CONV_2D":
            return f"depthwise {window}, {shape[3]}, {place}"
        return f"conv {window}, {weights[3]} -> {shape[3]}, {place}"
    if kind == "FULLY_CONNECTED":
        weights = _shape(inputs[1])
        return f"linear {weights[1]} -> {weights[0]}, {place}"
    return f"{kind.lower().replace('_', ' ')}, {' x '.join(map(str, shape[1:] or shape))}"


def multiply_adds(path: str | Path) -> int:
    """Of the whole file."""
    return sum(layer.multiply_adds or 0 for layer in tflite_layers(path))
