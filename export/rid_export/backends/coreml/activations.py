"""Quantized activations, written into a converted program.

coremltools quantizes the activations of a converted package only on a Mac, where it can run it to
see ranges, and works out zero points in half precision, where 255 * 300 overflows. Its quantizer
for torch traces Python code symbolically, and fails on a network that asks for the size of its
input. So a pair of quantize and dequantize is put in front of every layer here, into the program as
Apple's public MIL.proto describes it; coremltools checks and writes the result.

Additions, tanh and the head stay in half precision: a residual sum rounded to 8 bits loses what its
smaller term says, and DESIGN 5 keeps the image out of integers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rid_core.errors import RidError
from rid_export.backends.coreml.weights import LAYERS


@dataclass(frozen=True)
class Layer:
    """A layer of a program whose input may be quantized.

    Attributes:
        name: of its operation.
        tensor: that it takes.
        output: that it gives.
        weight: name of its weights.
    """

    name: str
    tensor: str
    output: str
    weight: str


@dataclass(frozen=True)
class Scale:
    """How 8 bits stand for real numbers: ``value = (stored - zero_point) * scale``; uint8."""

    scale: float
    zero_point: int

    @classmethod
    def of(cls, low: float, high: float) -> Scale:
        """For values from ``low`` to ``high``; zero is always one of the steps.

        The scale is rounded to half precision, since the program states it so.
        """
        low, high = min(low, 0.0), max(high, 0.0)
        scale = float(np.float16((high - low) / 255))
        if not np.isfinite(scale) or scale == 0:
            scale = 1.0
        return cls(scale, int(np.clip(np.rint(-low / scale), 0, 255)))

    def narrowed(self, factor: float) -> Scale:
        """With finer steps; values at the far ends are then cut off."""
        return Scale(float(np.float16(self.scale * factor)), self.zero_point)


def block_of(spec: Any) -> Any:
    """The operations of an ML program's main function, as coremltools' protobuf message."""
    main = spec.mlProgram.functions["main"]
    return main.block_specializations[main.opset]


def name_of(operation: Any) -> str:
    """The name that the converter gave an operation."""
    written = operation.attributes["name"].immediateValue.tensor.strings.values
    return str(written[0]) if written else str(operation.outputs[0].name)


def operand(operation: Any, key: str) -> str:
    """Name of the variable bound to a parameter; empty if a value is written in place."""
    return str(operation.inputs[key].arguments[0].name)


def layers(spec: Any) -> Iterator[Layer]:
    """Every convolution and linear layer with constant weights, in order."""
    operations = block_of(spec).operations
    constants = {
        output.name
        for operation in operations
        if operation.type == "const" or operation.type.startswith("constexpr_")
        for output in operation.outputs
    }
    for operation in operations:
        if operation.type in LAYERS and operand(operation, "weight") in constants:
            yield Layer(
                name_of(operation),
                operand(operation, "x"),
                str(operation.outputs[0].name),
                operand(operation, "weight"),
            )


def quantize_inputs(spec: Any, scales: Mapping[str, Scale], spared: frozenset[str]) -> None:
    """Quantize in place what layers take.

    A tensor that several layers take is quantized once.

    Args:
        spec: ``Model`` message of an fp16 program.
        scales: by tensor; a missing one is an error.
        spared: names of layers whose input stays in float.

    Raises:
        RidError: a tensor was not seen in calibration, or is not fp16.
    """
    block = block_of(spec)
    takers = {layer.name: layer.tensor for layer in layers(spec) if layer.name not in spared}
    wanted = set(takers.values())
    if missing := sorted(wanted - scales.keys()):
        raise RidError(f"no range was calibrated for {', '.join(missing)}")
    written: list[Any] = []
    done: set[str] = set()
    for operation in block.operations:
        if name_of(operation) in takers:
            tensor = takers[name_of(operation)]
            operation.inputs["x"].arguments[0].name = _dequantized(tensor)
        written.append(operation)
        for output in operation.outputs:
            if output.name in wanted:
                written += _pair(output, scales[output.name], type(operation))
                done.add(str(output.name))
    if left := sorted(wanted - done):  # an input of the program itself
        raise RidError(f"{', '.join(left)} cannot be quantized: no operation gives it")
    copies = [type(operation).FromString(operation.SerializeToString()) for operation in written]
    del block.operations[:]
    block.operations.extend(copies)


def _dequantized(tensor: str) -> str:
    return f"{tensor}_dequantized"


def _pair(output: Any, scale: Scale, kind: Any) -> tuple[Any, Any]:
    """A quantize and a dequantize operation behind ``output``."""
    from coremltools.proto import MIL_pb2

    if output.type.tensorType.dataType != MIL_pb2.DataType.FLOAT16:
        raise RidError(f"{output.name} is not fp16; only fp16 programs can be quantized")
    stored = f"{output.name}_quantized"
    first = _operation(kind, "quantize", stored, output.name, scale, output.type)
    _bind_string(first.inputs["output_dtype"].arguments.add().value, "uint8")
    first.outputs[0].type.tensorType.dataType = MIL_pb2.DataType.UINT8
    second = _operation(kind, "dequantize", _dequantized(output.name), stored, scale, output.type)
    return first, second


def _operation(kind: Any, name: str, output: str, source: str, scale: Scale, type_: Any) -> Any:
    from coremltools.proto import MIL_pb2

    operation = kind(type=name)
    _bind_string(operation.attributes["name"], output)
    operation.inputs["input"].arguments.add().name = source
    numbers = (
        ("scale", MIL_pb2.DataType.FLOAT16, np.float16(scale.scale)),
        ("zero_point", MIL_pb2.DataType.UINT8, np.uint8(scale.zero_point)),
    )
    for key, dtype, number in numbers:
        value = operation.inputs[key].arguments.add().value
        value.type.tensorType.dataType = dtype
        value.immediateValue.tensor.bytes.values = number.tobytes()
    result = operation.outputs.add()
    result.name = output
    result.type.CopyFrom(type_)
    return operation


def _bind_string(value: Any, text: str) -> None:
    from coremltools.proto import MIL_pb2

    value.type.tensorType.dataType = MIL_pb2.DataType.STRING
    value.immediateValue.tensor.strings.values.append(text)
