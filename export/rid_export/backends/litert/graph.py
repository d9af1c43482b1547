"""TFLite files as objects: read, look around, write; and the names of their layers.

Built on the object API that LiteRT generates from TensorFlow Lite's schema.fbs.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from rid_core.errors import RidError
from rid_export.layers import Role, Step

_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
MOVES = frozenset(("DEPTH_TO_SPACE", "RESHAPE", "TRANSPOSE"))
"""Operators that only move values: their output has the range of their input."""
_ALIGNMENT = 16
_OUTSIDE = 1
"""A buffer whose offset is larger than this lies behind the flatbuffer, not in it."""


def _schema() -> Any:
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


def read_model(data: bytes) -> Any:
    """A ``ModelT`` of the bytes of a .tflite file, with all of its weights inside the object."""
    model = _schema().ModelT.InitFromPackedBuf(data, 0)
    for buffer in model.buffers:
        if buffer.offset > _OUTSIDE:
            start = int(buffer.offset)
            buffer.data = np.frombuffer(data[start : start + int(buffer.size)], np.uint8)
            buffer.offset = buffer.size = 0
    return model


def write_model(model: Any) -> bytes:
    """The bytes of a ``ModelT``.

    Weights are aligned to the 16 bytes that the schema promises, and equal vectors are stored once:
    the zero points of per-channel weights, 8 bytes of zero each, are a tenth of a small int8 file.
    Buffers that nothing names any more are emptied, in ``model`` too; their places stay, since
    others are counted by them.
    """
    import flatbuffers  # type: ignore[import-untyped]

    class Builder(flatbuffers.Builder):  # type: ignore[misc]
        head: int

        def __init__(self, size: int) -> None:
            super().__init__(size)
            self._shared: dict[tuple[str, bytes], Any] = {}

        def CreateNumpyVector(self, x: Any) -> Any:  # noqa: N802 - flatbuffers' own name
            key = (x.dtype.str, x.tobytes())
            if key not in self._shared:
                self._shared[key] = self._vector(x)
            return self._shared[key]

        def _vector(self, x: Any) -> Any:
            if x.dtype.itemsize != 1:
                return super().CreateNumpyVector(x)
            self.StartVector(1, x.size, _ALIGNMENT)
            self.head = self.head - x.size
            self.Bytes[self.head : self.head + x.size] = x.tobytes()
            return self.EndVector()

    named = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    named |= {entry.buffer for entry in model.metadata or ()}
    for index, buffer in enumerate(model.buffers):
        if index not in named:
            buffer.data = None
    stored = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    builder = Builder(stored + 65536)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class Graph:
    """The one subgraph of a model, seen as a graph.

    Attributes:
        model: the object that is looked at, and edited.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self._kinds = {
            code: name for name, code in vars(_schema().BuiltinOperator).items() if name[0] != "_"
        }

    @property
    def tensors(self) -> list[Any]:
        """Of the subgraph."""
        tensors: list[Any] = self.model.subgraphs[0].tensors
        return tensors

    @property
    def operators(self) -> list[Any]:
        """In the order of execution."""
        operators: list[Any] = self.model.subgraphs[0].operators
        return operators

    @cached_property
    def _types(self) -> dict[int, Any]:
        schema = _schema()
        table = schema.TensorType
        plain = ("FLOAT32", "FLOAT16", "INT8", "UINT8", "INT16", "INT32", "INT64", "BOOL")
        return {
            getattr(table, name): np.dtype("bool" if name == "BOOL" else name.lower())
            for name in plain
        }

    def kind(self, operator: Any) -> str:
        """Name of the operator, such as ``CONV_2D``."""
        entry = self.model.operatorCodes[operator.opcodeIndex]
        # Files keep small codes in the older field too; the larger of both is the one meant.
        return str(self._kinds[max(entry.builtinCode, entry.deprecatedBuiltinCode)])

    def weighted(self, operator: Any) -> bool:
        """Whether it has weights: a convolution or a matrix product with a constant."""
        kind = self.kind(operator)
        return kind in _WEIGHTED and self.constant(int(operator.inputs[1])) is not None

    def name(self, tensor: int) -> str:
        """Name of a tensor."""
        found = self.tensors[tensor].name
        return found.decode() if isinstance(found, bytes) else str(found)

    def shape(self, tensor: int) -> list[int]:
        """Its sizes; none for a scalar."""
        found = self.tensors[tensor].shape
        return [] if found is None else [int(size) for size in found]

    def dtype(self, tensor: int) -> np.dtype[Any]:
        """Its element type."""
        found: np.dtype[Any] = self._types[self.tensors[tensor].type]
        return found

    def constant(self, tensor: int) -> np.ndarray | None:
        """Value of a constant tensor, in its stored type; None for what is computed."""
        if tensor < 0:
            return None
        entry = self.tensors[tensor]
        data = self.model.buffers[entry.buffer].data
        if data is None or len(data) == 0:
            return None
        raw = np.frombuffer(np.asarray(data, np.uint8).tobytes(), self.dtype(tensor))
        return raw.reshape(self.shape(tensor))

    def add_buffer(self, value: np.ndarray) -> int:
        """Store a constant; its index."""
        buffer = _schema().BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        return len(self.model.buffers) - 1

    def add_tensor(self, name: str, like: int, **fields: Any) -> int:
        """A copy of the description of tensor ``like`` under another name; its index."""
        tensor = copy.copy(self.tensors[like])
        tensor.name = name.encode()
        for key, value in fields.items():
            if not hasattr(tensor, key):
                raise AttributeError(key)
            setattr(tensor, key, value)
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def opcode(self, kind: str, version: int = 1) -> int:
        """Index of an operator code, added if the model has none yet."""
        schema = _schema()
        wanted = getattr(schema.BuiltinOperator, kind)
        for index, entry in enumerate(self.model.operatorCodes):
            if entry.builtinCode == wanted and entry.version >= version:
                return index
        code = schema.OperatorCodeT()
        code.builtinCode, code.version = wanted, version
        code.deprecatedBuiltinCode = min(wanted, 127)
        self.model.operatorCodes.append(code)
        return len(self.model.operatorCodes) - 1

    def new_operator(self, kind: str, inputs: list[int], outputs: list[int]) -> Any:
        """An operator without options, for the caller to put in its place."""
        operator = _schema().OperatorT()
        operator.opcodeIndex = self.opcode(kind)
        operator.inputs, operator.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        return operator

    def ends(self) -> Iterator[Any]:
        """Entries (``name``, ``tensorIndex``) of the signature: inputs, then outputs."""
        for signature in self.model.signatureDefs:
            yield from signature.inputs
            yield from signature.outputs

    def end(self, name: str) -> int:
        """Tensor of an input or output of the signature.

        Raises:
            RidError: there is none of that name.
        """
        for entry in self.ends():
            if entry.name in (name, name.encode()):
                return int(entry.tensorIndex)
        raise RidError(f"the network has no input or output called {name}")

    def trunk(self, output: str) -> list[int]:
        """Indices of the operators that ``output`` depends on, in order."""
        wanted, found = {self.end(output)}, []
        for index in range(len(self.operators) - 1, -1, -1):
            operator = self.operators[index]
            if wanted.intersection(int(t) for t in operator.outputs):
                found.append(index)
                wanted.update(int(t) for t in operator.inputs)
        return found[::-1]


def _fingerprint(value: np.ndarray) -> bytes:
    """Of a tensor's values in any order: layouts differ between torch and TFLite."""
    return hashlib.sha256(np.sort(value.astype(np.float32), axis=None).tobytes()).digest()


def name_layers(graph: Graph, weights: Mapping[str, np.ndarray]) -> None:
    """Call every tensor by the module it belongs to.

    Converters name tensors after the whole path of Python classes, ambiguously where a module was
    called in parts. What is certain is a convolution's weights: ``encoder.0.expand`` is the layer
    that holds those of ``encoder.0.expand.weight``; what follows it is ``encoder.0.expand/add``.

    Args:
        graph: to be edited.
        weights: the network's tensors by name, in any layout.
    """
    modules = {
        _fingerprint(value): name.rpartition(".")[0]
        for name, value in weights.items()
        if value.ndim >= 2
    }
    names: dict[int, str] = {
        int(entry.tensorIndex): entry.name.decode() if isinstance(entry.name, bytes) else entry.name
        for entry in graph.ends()
    }
    taken = set(names.values())
    layer_of: dict[int, str] = {}

    def give(tensor: int, name: str) -> None:
        if tensor in names:
            return
        unique, count = name, 1
        while unique in taken:
            count += 1
            unique = f"{name}.{count}"
        taken.add(unique)
        names[tensor] = unique

    for operator in graph.operators:
        kind = graph.kind(operator)
        inputs = [int(t) for t in operator.inputs if t >= 0]
        before = next((layer_of[t] for t in inputs if t in layer_of), "input")
        if graph.weighted(operator):
            value = graph.constant(inputs[1])
            assert value is not None
            layer = modules.get(_fingerprint(value), f"{before}/{kind.lower()}")
            title = layer
        else:
            layer, title = before, f"{before}/{kind.lower()}"
        for output in operator.outputs:
            give(int(output), title)
            layer_of[int(output)] = layer
        parts = ("weight", "bias") if graph.weighted(operator) else ()
        for position, tensor in enumerate(inputs):
            if graph.constant(tensor) is not None:
                part = parts[position - 1] if 0 < position <= len(parts) else "constant"
                give(tensor, f"{title}.{part}")
    for tensor, name in names.items():
        graph.tensors[tensor].name = name.encode()


def steps(graph: Graph) -> list[Step]:
    """The operators on the way to ``delta``, in order; tensors are named by :func:`name_layers`."""
    found = []
    for index in graph.trunk("delta"):
        operator = graph.operators[index]
        kind, output = graph.kind(operator), graph.name(int(operator.outputs[0]))
        constants = [graph.constant(int(t)) for t in operator.inputs]
        role: Role = "other"
        channels = 0
        if graph.weighted(operator):
            role = "layer"
            depthwise = kind == "DEPTHWISE_CONV_2D"
            channels = 1 if depthwise else graph.shape(int(operator.inputs[1]))[-1]
        elif kind == "ADD":
            maps = all(value is None or value.ndim > 2 for value in constants)
            role = "sum" if maps else "bias"
        elif kind in ("RELU", "TANH"):
            role = "activation"
        elif kind in MOVES:
            role = "move"
        inputs = tuple(
            graph.name(int(t))
            for t, value in zip(operator.inputs, constants, strict=True)
            if t >= 0 and value is None
        )
        fused = bool(getattr(operator.builtinOptions, "fusedActivationFunction", 0))
        found.append(Step(output, kind, role, inputs, output, channels, fused))
    return found
