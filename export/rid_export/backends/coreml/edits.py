"""Edits of ML programs: quantized activations, biases, and compressed weights.

coremltools quantizes the activations of a converted package only on a Mac, where it can run it to
see ranges, and works out zero points in half precision, where 255 * 300 overflows. Its quantizer
for torch traces Python code symbolically, and fails on a network that asks for the size of its
input. So a pair of quantize and dequantize is put in front of every layer here, into the program as
Apple's public MIL.proto describes it; coremltools checks and writes the result.

Additions, tanh and the head stay in half precision: a residual sum rounded to 8 bits loses what its
smaller term says, and DESIGN 5 keeps the image out of integers.


Only the weights of layers are compressed, not constants that are added: those are small, and what
is added to every pixel should be exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rid_core.errors import RidError
from rid_core.quantization.rounding import Grid
from rid_export.backends.coreml.graph import LAYERS, block_of, layers, name_of, operand, quiet

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LLOYD_STEPS = 40


def quantize_inputs(spec: Any, ranges: Mapping[str, Grid], spared: frozenset[str]) -> None:
    """Quantize in place what layers take.

    A tensor that several layers take is quantized once.

    Args:
        spec: ``Model`` message of an fp16 program.
        ranges: by tensor; a missing one is an error.
        spared: names of layers whose input stays in float.

    Raises:
        RidError: a tensor was not seen in calibration, or is not fp16.
    """
    block = block_of(spec)
    takers = {
        name_of(layer): operand(layer, "x")
        for layer in layers(spec)
        if name_of(layer) not in spared
    }
    wanted = set(takers.values())
    if missing := sorted(wanted - ranges.keys()):
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
                written += _pair(output, ranges[output.name], type(operation))
                done.add(str(output.name))
    if left := sorted(wanted - done):  # an input of the program itself
        raise RidError(f"{', '.join(left)} cannot be quantized: no operation gives it")
    _replace_operations(block, written)


def set_biases(spec: Any, names: Mapping[str, str], biases: Mapping[str, np.ndarray]) -> None:
    """Replace the biases of convolutions, by the names of their layers.

    Each gets a constant of its own: the converter lets layers with equal biases share one.

    Args:
        spec: ``Model`` message of an fp16 program.
        names: of layers, by the names of their operations.
        biases: float32, by layer.
    """
    block = block_of(spec)
    constants = {op.outputs[0].name: op for op in block.operations if op.type == "const"}
    written: list[Any] = []
    for operation in block.operations:
        value = biases.get(names.get(name_of(operation), ""))
        old = constants.get(operand(operation, "bias")) if "bias" in operation.inputs else None
        if value is not None and old is not None:
            fresh = type(old).FromString(old.SerializeToString())
            title = f"{operation.outputs[0].name}_bias"
            fresh.outputs[0].name = title
            fresh.attributes["name"].immediateValue.tensor.strings.values[0] = title
            tensor = fresh.attributes["val"].immediateValue.tensor
            tensor.bytes.values = value.astype(np.float16).tobytes()
            operation.inputs["bias"].arguments[0].name = title
            written.append(fresh)
        written.append(operation)
    _replace_operations(block, written)


def _replace_operations(block: Any, written: Iterable[Any]) -> None:
    copies = [type(operation).FromString(operation.SerializeToString()) for operation in written]
    del block.operations[:]
    block.operations.extend(copies)


def half_scale(grid: Grid) -> tuple[np.float16, np.uint8]:
    """Scale and zero point of a grid as a program states them: the scale in half precision."""
    scale = np.float16(grid.scale)
    if not np.isfinite(scale) or scale == 0:
        scale = np.float16(1)
    return scale, np.uint8(np.clip(np.rint(-grid.low / float(scale)), 0, 255))


def _dequantized(tensor: str) -> str:
    return f"{tensor}_dequantized"


def _pair(output: Any, grid: Grid, kind: Any) -> tuple[Any, Any]:
    """A quantize and a dequantize operation behind ``output``."""
    from coremltools.proto import MIL_pb2

    if output.type.tensorType.dataType != MIL_pb2.DataType.FLOAT16:
        raise RidError(f"{output.name} is not fp16; only fp16 programs can be quantized")
    stored = f"{output.name}_quantized"
    first = _operation(kind, "quantize", stored, output.name, grid, output.type)
    _bind_string(first.inputs["output_dtype"].arguments.add().value, "uint8")
    first.outputs[0].type.tensorType.dataType = MIL_pb2.DataType.UINT8
    second = _operation(kind, "dequantize", _dequantized(output.name), stored, grid, output.type)
    return first, second


def _operation(kind: Any, name: str, output: str, source: str, grid: Grid, type_: Any) -> Any:
    from coremltools.proto import MIL_pb2

    operation = kind(type=name)
    _bind_string(operation.attributes["name"], output)
    operation.inputs["input"].arguments.add().name = source
    scale, zero_point = half_scale(grid)
    numbers = (
        ("scale", MIL_pb2.DataType.FLOAT16, scale),
        ("zero_point", MIL_pb2.DataType.UINT8, zero_point),
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


def _settings(operation: Any, spared: Iterable[str]) -> Any:
    from coremltools.optimize import coreml as optimize

    return optimize.OptimizationConfig(
        op_type_configs=dict.fromkeys(LAYERS, operation),
        op_name_configs=dict.fromkeys(spared),
    )


def linear_weights(model: Any, spared: Iterable[str] = ()) -> Any:
    """Weights to 8 bits: symmetric, one scale per output channel.

    They are written as uint8 around 127, the same numbers as int8 around 0: users have seen Core
    ML misread signed weights on GPU and Neural Engine (apple/coremltools#2114, #2675).

    Args:
        model: a float ``MLModel``.
        spared: names of operations whose weights stay as they are.
    """
    from coremltools.optimize import coreml as optimize

    operation = optimize.OpLinearQuantizerConfig(
        mode="linear_symmetric", dtype="uint8", weight_threshold=0
    )
    with quiet():
        return optimize.linear_quantize_weights(model, _settings(operation, spared))


def palettized_weights(model: Any, spared: Iterable[str] = (), bits: int = 8) -> Any:
    """Weights as indices into a palette of ``2**bits`` values per layer.

    Args:
        model: a float ``MLModel``.
        spared: names of operations whose weights stay as they are.
        bits: 1, 2, 4, 6 or 8.
    """
    from coremltools.optimize import coreml as optimize

    operation = optimize.OpPalettizerConfig(
        mode="custom", lut_function=lambda weight: palette(weight, bits), weight_threshold=0
    )
    with quiet():
        return optimize.palettize_weights(model, _settings(operation, spared))


def palette(
    weight: NDArray[np.floating[Any]], bits: int
) -> tuple[NDArray[np.floating[Any]], NDArray[np.uint8]]:
    """The palette of least square error, and the index of every weight.

    Lloyd's algorithm in one dimension (Lloyd 1982, "Least squares quantization in PCM"): on sorted
    values a cluster is a slice, so that its mean is a difference of running sums. It starts half
    from an even grid, which serves the few large weights, and half from quantiles, which serve the
    many small ones. coremltools' own k-means would need scikit-learn.

    Args:
        weight: any shape.
        bits: of an index.

    Returns:
        ``2**bits`` values in rising order, of the weight's type, and uint8 indices, flat.
    """
    values = np.sort(weight.reshape(-1).astype(np.float64))
    size = 2**bits
    grid = np.linspace(values[0], values[-1], size - size // 2)
    quantiles = np.quantile(values, (np.arange(size // 2) + 0.5) / (size // 2))
    centres = np.sort(np.concatenate([grid, quantiles]))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    for _ in range(_LLOYD_STEPS):
        cuts = np.searchsorted(values, (centres[1:] + centres[:-1]) / 2)
        edges = np.concatenate([[0], cuts, [values.size]])
        counts = np.diff(edges)
        means = np.diff(sums[edges]) / np.maximum(counts, 1)
        moved = np.sort(np.where(counts > 0, means, centres))
        if np.array_equal(moved, centres):
            break
        centres = moved
    entries = centres.astype(weight.dtype)
    steps = entries.astype(np.float64)
    indices = np.searchsorted((steps[1:] + steps[:-1]) / 2, weight.reshape(-1).astype(np.float64))
    return entries, indices.astype(np.uint8)
