"""The program as plain data: operations, operands and constants, read from the protobuf."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rid_export.mil.dtypes import (
    STRING,
    MilError,
    TensorType,
    byte_count,
    dtype_from_proto,
)
from rid_export.mil.package import Package


@dataclass(frozen=True)
class Constant:
    """A value written in the package: an array of ``type``, or one string."""

    type: TensorType
    value: NDArray[np.generic] | str


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        type: MIL op type, e.g. ``conv``.
        name: the converter's name for it; error texts and traces use it.
        operands: for each parameter the values bound to it, each a variable's name or a constant;
            more than one only for tuple parameters, which the interpreter refuses.
        outputs: (variable, declared type) of each result.
    """

    type: str
    name: str
    operands: Mapping[str, tuple[str | Constant, ...]]
    outputs: tuple[tuple[str, TensorType], ...]


@dataclass(frozen=True)
class Graph:
    """The main function: its inputs and their types, operations in order, names of outputs."""

    inputs: Mapping[str, TensorType]
    operations: tuple[Operation, ...]
    outputs: tuple[str, ...]


def _tensor_type(proto: Any, what: str) -> TensorType:
    """A ValueType message as tensor type; other kinds (list, tuple, state) are not modelled."""
    if proto.WhichOneof("type") != "tensorType":
        raise MilError(f"{what} has a {proto.WhichOneof('type')}; only tensors are modelled")
    tensor = proto.tensorType
    if len(tensor.dimensions) != tensor.rank:
        raise MilError(f"{what} declares rank {tensor.rank} with {len(tensor.dimensions)} sizes")
    shape = tuple(
        int(size.constant.size) if size.WhichOneof("dimension") == "constant" else None
        for size in tensor.dimensions
    )
    return TensorType(dtype_from_proto(tensor.dataType), shape)


# Which field of a TensorValue message holds each type; every other type is in ``bytes``.
_REPEATED_FIELDS = {
    "bool": "bools",
    "string": "strings",
    "fp32": "floats",
    "int16": "ints",
    "int32": "ints",
    "int64": "longInts",
    "uint16": "ints",
}


def _constant(proto: Any, package: Package, what: str) -> Constant:
    """A Value message: written in place, or in the weight file."""
    declared = _tensor_type(proto.type, what)
    dtype = declared.dtype
    sizes = [size for size in declared.shape if size is not None]
    if len(sizes) != len(declared.shape):
        raise MilError(f"{what} is a constant with an open dimension")
    count = math.prod(sizes)
    kind = proto.WhichOneof("value")
    if kind == "blobFileValue":
        blob = package.blob_file(proto.blobFileValue.fileName)
        values = blob.read(int(proto.blobFileValue.offset), dtype, count)
        return Constant(declared, values.reshape(sizes))
    if kind != "immediateValue" or proto.immediateValue.WhichOneof("value") != "tensor":
        raise MilError(f"{what} is not a plain tensor; only tensors are modelled")
    tensor = proto.immediateValue.tensor
    repeated = _REPEATED_FIELDS.get(dtype.name)
    if repeated is None:
        data = tensor.bytes.values
        if len(data) != byte_count(dtype, count):
            raise MilError(f"{what} has {len(data)} bytes for {declared}; export the package again")
        return Constant(declared, np.frombuffer(data, dtype.numpy).copy().reshape(sizes))
    items = getattr(tensor, repeated).values
    if len(items) != count:
        raise MilError(f"{what} has {len(items)} values for {declared}; export the package again")
    if dtype is STRING:
        if sizes:
            raise MilError(f"{what} is an array of strings; only single strings are modelled")
        return Constant(declared, str(items[0]))
    return Constant(declared, np.array(items, dtype.numpy).reshape(sizes))


def _operation(proto: Any, package: Package) -> Operation:
    """One Operation message. A constant's parameters are attributes, others are arguments."""
    outputs = [output.name for output in proto.outputs]
    written = proto.attributes["name"].immediateValue.tensor.strings.values
    name = str([*written, *outputs, proto.type][0])
    label = f"{proto.type} {name!r}"
    operands: dict[str, tuple[str | Constant, ...]] = {}
    if proto.type == "const" or proto.type.startswith("constexpr_"):
        for key, value in proto.attributes.items():
            if key != "name":
                operands[key] = (_constant(value, package, f"{key} of {label}"),)
    for key, argument in proto.inputs.items():
        operands[key] = tuple(
            binding.name
            if binding.WhichOneof("binding") == "name"
            else _constant(binding.value, package, f"{key} of {label}")
            for binding in argument.arguments
        )
    types = tuple(
        (output.name, _tensor_type(output.type, f"output {output.name!r} of {label}"))
        for output in proto.outputs
    )
    return Operation(proto.type, name, operands, types)


def read_graph(package: Package) -> Graph:
    """The package's main function; MilError when there is none or when it is damaged."""
    functions = package.spec.mlProgram.functions
    if "main" not in functions:
        raise MilError(f"{package.path} has no function 'main', only {sorted(functions)}")
    main = functions["main"]
    if main.opset not in main.block_specializations:
        raise MilError(f"{package.path} has no program for its own opset {main.opset!r}")
    block = main.block_specializations[main.opset]
    inputs = {
        entry.name: _tensor_type(entry.type, f"input {entry.name!r}") for entry in main.inputs
    }
    operations = tuple(_operation(entry, package) for entry in block.operations)
    return Graph(inputs, operations, tuple(block.outputs))
