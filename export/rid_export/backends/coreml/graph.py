"""ML programs as protobuf messages: names of layers, and the operations on the way to delta."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rid_export.layers import Role, Step

LAYERS = ("conv", "linear")
"""Operations that have weights."""
_ROLES: Mapping[str, Role] = {
    **dict.fromkeys(("cast", "pixel_shuffle", "reshape", "squeeze", "transpose"), "move"),
    **dict.fromkeys(("relu", "tanh"), "activation"),
    "add": "sum",
}


@contextmanager
def quiet() -> Iterator[None]:
    """Keep coremltools' notices about libraries that only a Mac has out of the way."""
    logger = logging.getLogger("coremltools")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


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


def layers(spec: Any) -> list[Any]:
    """Every convolution and linear layer with constant weights, in order."""
    constants = {
        output.name
        for operation in block_of(spec).operations
        if operation.type == "const" or operation.type.startswith("constexpr_")
        for output in operation.outputs
    }
    return [
        operation
        for operation in block_of(spec).operations
        if operation.type in LAYERS and operand(operation, "weight") in constants
    ]


def name_layers(spec: Any, modules: Iterable[str]) -> dict[str, str]:
    """Names of layers by the names of their operations.

    The converter calls an operation ``conv2d_7_cast_fp16``, but its weights still carry the path of
    their module: ``p_contract_defender_up_conv_weight_to_fp16`` belongs to ``up.conv``. A
    layer whose weights do not keeps its operation's name.

    Args:
        spec: ``Model`` message.
        modules: paths of the defender's modules.
    """
    known = {f"p_contract_defender_{path.replace('.', '_')}_weight": path for path in modules}
    found = {}
    for operation in layers(spec):
        stem, mark, _ = operand(operation, "weight").partition("_weight")
        found[name_of(operation)] = known.get(stem + mark, name_of(operation))
    return found


def steps(spec: Any, names: Mapping[str, str]) -> list[Step]:
    """The operations on the way to ``delta`` that compute something, in order.

    Args:
        spec: ``Model`` message of a program.
        names: of :func:`name_layers`.
    """
    computed = {"image"}
    title = {"image": "image"}
    weighted = {name_of(operation) for operation in layers(spec)}
    found = []
    needed = _needed(spec, "delta")
    for operation in block_of(spec).operations:
        output, kind = str(operation.outputs[0].name), str(operation.type)
        bound = [str(a.name) for p in operation.inputs.values() for a in p.arguments]
        inputs = tuple(name for name in bound if name in computed)
        if not inputs or output not in needed:
            continue
        computed.add(output)
        layer = names.get(name_of(operation))
        title[output] = layer or title[inputs[0]]
        role = _ROLES.get(kind, "other")
        channels = 0
        if name_of(operation) in weighted:
            role = "layer"
            channels = _channels(spec, operand(operation, "weight"))
        found.append(Step(layer or f"{title[output]}/{kind}", kind, role, inputs, output, channels))
    return found


def _channels(spec: Any, weight: str) -> int:
    """The second size of a layer's weights [out, in, ...]."""
    constant = next(op for op in block_of(spec).operations if op.outputs[0].name == weight)
    return int(constant.outputs[0].type.tensorType.dimensions[1].constant.size)


def _needed(spec: Any, output: str) -> set[str]:
    """Variables that ``output`` depends on, itself among them."""
    wanted = {output}
    for operation in reversed(block_of(spec).operations):
        if any(result.name in wanted for result in operation.outputs):
            for parameter in operation.inputs.values():
                wanted.update(str(argument.name) for argument in parameter.arguments)
    return wanted
