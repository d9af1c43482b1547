"""Ways to plant a fault into an exported file: convert a spoilt graph, or edit a sound file.

Whatever is planted, the file keeps the metadata of the sound one and is sealed again, so that its
digest fits: only what the network does can give it away.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rid_core.artifact import padded, read_metadata, seal
from rid_core.checkpoint import load_checkpoint
from rid_core.errors import RidError
from rid_core.output import suppress_output
from rid_export.graph import ExportGraph
from rid_export.metadata import draft
from rid_export.registry import get_target
from rid_export.spec import ExportSpec
from rid_export.verification import verify

SIZE = 64
SUFFIX = {"tflite": ".tflite", "onnx": ".onnx", "coreml": ".mlpackage"}
DIFFER = r"delta_sqnr_db is .*the weights differ from the checkpoint's, a layer is missing"
WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"
FLOAT32 = 11  # of MIL.proto's DataType
MODEL = "Data/com.apple.CoreML/model.mlmodel"


def make_network(path: Path, **config: int) -> Path:
    """A tiny defender every layer of which matters, biases included.

    Layers of fewer than ten channels have biases that Core ML keeps outside of its weight file.
    """
    from rid_core.checkpoint import ModelCard, save_checkpoint
    from rid_core.defenders import create_defender

    torch.manual_seed(11)
    defender = create_defender("rid-n", **config)
    for module in defender.modules():
        if isinstance(module, torch.nn.Conv2d) and module.bias is not None:
            torch.nn.init.normal_(module.bias, std=0.2)
    torch.nn.init.normal_(defender.to_image.conv.weight, std=0.15)
    save_checkpoint(path, defender, ModelCard("rid-n", levels=8, config=config))
    return path


def refuse(path: Path, network: Path, pattern: str) -> None:
    with pytest.raises(RidError) as caught, suppress_output():
        verify(path, network)
    text = str(caught.value)
    assert re.search(pattern, text), text
    assert "\n" not in text


Planes = Callable[[Tensor], Tensor]


def same(x: Tensor) -> Tensor:
    return x


def add(image: Tensor, delta: Tensor, eps: float) -> Tensor:
    return torch.clamp(image + delta * eps, 0, 1)


@dataclasses.dataclass(frozen=True)
class Spoil:
    """What is wrong with a graph; all functions see [1, 3, H, W]."""

    before: Planes = same
    after: Planes = same
    protect: Callable[[Tensor, Tensor, float], Tensor] = add
    scale: Callable[[float], float] = lambda scale: scale
    network: Callable[[torch.nn.Module], None] = lambda network: None
    swapped: bool = False


class SpoiltGraph(ExportGraph):
    def __init__(self, defender: Any, levels: int, layout: str, spoil: Spoil, **more: Any) -> None:
        with torch.no_grad():
            spoil.network(defender)
        super().__init__(defender, levels, layout, **more)
        self.spoil = spoil

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        nhwc = self.layout == "nhwc"
        planes = image.permute(0, 3, 1, 2) if nhwc else image
        delta = self.spoil.after(self.defender(self.spoil.before(planes)))
        protected = self.spoil.protect(planes, delta, self.eps)
        protected = protected * self.spoil.scale(self.protected_scale)
        both = {"protected": protected, "delta": delta}
        if nhwc:
            both = {name: value.permute(0, 2, 3, 1) for name, value in both.items()}
        if self.spoil.swapped:
            both = {"protected": both["delta"], "delta": both["protected"]}
        return {name: both[name] for name in self.outputs}


def convert(
    target_name: str,
    checkpoint: Path,
    path: Path,
    spoil: Spoil = Spoil(),
    *,
    resolution: int = SIZE,
    outputs: tuple[str, ...] = ("protected", "delta"),
) -> Path:
    """Convert a spoilt graph; the metadata is that of a sound file."""
    target = get_target(target_name)
    defender, card = load_checkpoint(checkpoint)
    honest = ExportSpec(target_name, resolution=SIZE)
    text = padded(draft(target, honest, defender, card))
    spec = ExportSpec(target_name, resolution=resolution, outputs=outputs)
    with suppress_output(), coreml_head(spoil):
        graph = SpoiltGraph(
            defender,
            card.levels,
            target.layout,
            spoil,
            outputs=outputs,
            protected_scale=target.protected_scale,
        )
        target.convert(graph, spec, path)
        target.embed(path, text)
    reseal(path)
    return path


@contextlib.contextmanager
def coreml_head(spoil: Spoil) -> Iterator[None]:
    """Core ML's target adds the perturbation in levels, in a graph of its own: spoil that too."""
    from rid_export.graph import LevelsGraph

    def protect(self: Any, image: Tensor, delta: Tensor) -> Tensor:
        return spoil.protect(image / 255, delta, self.levels / 255) * spoil.scale(255.0)

    sound = LevelsGraph.protect
    if spoil.protect is not add or spoil.scale(255.0) != 255.0:
        LevelsGraph.protect = protect  # type: ignore[method-assign]
    try:
        yield
    finally:
        LevelsGraph.protect = sound  # type: ignore[method-assign]


def reseal(path: Path, **changes: Any) -> None:
    """Write changed metadata, with the digest of the network as it is now."""
    seal(path, dataclasses.replace(read_metadata(path), **changes))


# -- weights, as bytes: they lie in all three formats as plain float32 ----------------------------


def weight_file(path: Path) -> Path:
    return path / WEIGHTS if path.is_dir() else path


def stored(weights: np.ndarray, path: Path) -> np.ndarray:
    """A convolution's weights [O, I, H, W] in the order that the format keeps."""
    if weights.ndim != 4 or path.suffix != ".tflite":
        return weights
    depthwise = weights.shape[1] == 1 and weights.shape[0] > 1
    return weights.transpose((1, 2, 3, 0) if depthwise else (0, 2, 3, 1))


def rewrite(path: Path, before: np.ndarray, after: np.ndarray) -> None:
    """Replace one layer's weights; they must be there exactly once."""
    file = weight_file(path)
    old = np.ascontiguousarray(stored(before, path), np.float32).tobytes()
    new = np.ascontiguousarray(stored(after, path), np.float32).tobytes()
    data = file.read_bytes()
    assert data.count(old) == 1, f"{data.count(old)} places hold these weights"
    file.write_bytes(data.replace(old, new))


def lowered(checkpoint: Path, path: Path) -> dict[str, np.ndarray]:
    """Weights by name, as the target's graph has them."""
    defender, _ = load_checkpoint(checkpoint)
    defender.lower("nhwc" if path.suffix == ".tflite" else "nchw")
    return {name: tensor.numpy().copy() for name, tensor in defender.state_dict().items()}


def edit(path: Path, checkpoint: Path, **changes: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change layers of a sound file, by the names they have in the checkpoint (``_`` for ``.``)."""
    weights = {name.replace(".", "_"): value for name, value in lowered(checkpoint, path).items()}
    for name, change in changes.items():
        rewrite(path, weights[name], change(weights[name].copy()))
    reseal(path)


def by_colour(weights: np.ndarray, order: list[int], path: Path) -> np.ndarray:
    """Rows of the last convolution with the colours of every patch in another order."""
    square = weights.shape[0] // 3
    if path.suffix == ".tflite":  # (row, column, colour)
        return weights.reshape(square, 3, -1)[:, order].reshape(weights.shape)
    return weights.reshape(3, square, -1)[order].reshape(weights.shape)


# -- operators ------------------------------------------------------------------------------------


def replace_operator(path: Path, onnx: tuple[str, str], mil: tuple[str, str], tflite: Any) -> None:
    """Make another operator of one, in place."""
    if path.suffix == ".onnx":
        import onnx as package

        model = package.load(path)
        next(node for node in model.graph.node if node.op_type == onnx[0]).op_type = onnx[1]
        package.save(model, path)
    elif path.suffix == ".mlpackage":
        with edited_program(path) as operations:
            operation = next(entry for entry in operations if entry.type == mil[0])
            operation.type = mil[1]
            if mil[1] == "mul":  # by one: nothing is left of the operation
                number = operation.inputs["y"].arguments.add().value
                number.type.tensorType.dataType = FLOAT32
                number.immediateValue.tensor.floats.values.append(1.0)
    else:
        tflite(path)
    reseal(path)


class edited_program:
    """Operations of a package's program, to be changed in a with block."""

    def __init__(self, path: Path) -> None:
        from coremltools.proto import Model_pb2

        self.file = path / MODEL
        self.model = Model_pb2.Model()
        self.model.ParseFromString(self.file.read_bytes())

    def __enter__(self) -> Any:
        (function,) = self.model.mlProgram.functions.values()
        (block,) = function.block_specializations.values()
        return block.operations

    def __exit__(self, *error: object) -> None:
        self.file.write_bytes(self.model.SerializeToString(deterministic=True))


def retype_tflite(old: int, new: int) -> Callable[[Path], None]:
    """A function that makes ``new`` of the built-in operator ``old``, everywhere in the file."""

    def change(path: Path) -> None:
        from ai_edge_litert import schema_py_generated as schema

        data = bytearray(path.read_bytes())
        model = schema.Model.GetRootAs(data, 0)
        found = 0
        for index in range(model.OperatorCodesLength()):
            code = model.OperatorCodes(index)
            if max(code.DeprecatedBuiltinCode(), code.BuiltinCode()) == old:
                table = code._tab
                struct.pack_into("<b", data, table.Pos + table.Offset(4), min(new, 127))
                struct.pack_into("<i", data, table.Pos + table.Offset(10), new)
                found += 1
        assert found == 1
        path.write_bytes(data)

    return change


def unfuse_tflite_relu(path: Path) -> None:
    """Take the ReLU out of the first convolution that has one."""
    from ai_edge_litert import schema_py_generated as schema

    data = bytearray(path.read_bytes())
    graph = schema.Model.GetRootAs(data, 0).Subgraphs(0)
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        if operator.BuiltinOptionsType() == schema.BuiltinOptions.Conv2DOptions:
            options = schema.Conv2DOptions()
            options.Init(operator.BuiltinOptions().Bytes, operator.BuiltinOptions().Pos)
            if options.FusedActivationFunction() == schema.ActivationFunctionType.RELU:
                at = options._tab.Pos + options._tab.Offset(10)
                data[at] = schema.ActivationFunctionType.NONE
                path.write_bytes(data)
                return
    raise AssertionError("no convolution with a ReLU")


# -- quantization ---------------------------------------------------------------------------------


def convert_int8(target_name: str, checkpoint: Path, path: Path) -> Path:
    """A sound int8 file."""
    target = get_target(target_name)
    defender, card = load_checkpoint(checkpoint)
    spec = ExportSpec(target_name, precision="int8", resolution=SIZE, calib_samples=16)
    with suppress_output():
        scale = target.protected_scale
        graph = ExportGraph(defender, card.levels, target.layout, protected_scale=scale)
        target.convert(graph, spec, path)
        target.embed(path, padded(draft(target, spec, defender, card)))
    reseal(path)
    return path


def falsify_scale(path: Path, of_weights: bool) -> None:
    """Double the scale of one layer's weights, or make that of one activation wrong."""
    change = {".onnx": _double_onnx, ".mlpackage": _double_coreml, ".tflite": _double_tflite}
    change[path.suffix](path, of_weights)
    reseal(path)


def _double_onnx(path: Path, of_weights: bool) -> None:
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    node = [
        node
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and (node.input[0] in constants) == of_weights
    ][2]
    wrong = 2 * numpy_helper.to_array(constants[node.input[1]])
    model.graph.initializer.append(numpy_helper.from_array(wrong, "wrong_scale"))
    node.input[1] = "wrong_scale"
    onnx.save(model, path)


def _double_tflite(path: Path, of_weights: bool) -> None:
    from ai_edge_litert import schema_py_generated as schema

    from rid_export.backends.litert.graph import read_model, write_model

    model = read_model(path.read_bytes())
    graph = model.subgraphs[0]
    wanted = schema.BuiltinOperator.CONV_2D if of_weights else schema.BuiltinOperator.QUANTIZE
    operator = next(
        operator
        for operator in graph.operators
        if model.operatorCodes[operator.opcodeIndex].builtinCode == wanted
        # The first convolution computes in float; its weights have been made so before it.
        and (not of_weights or graph.tensors[operator.inputs[1]].quantization is not None)
    )
    # Whatever reads an activation decodes it as it was stored, so that a larger scale would only be
    # coarser. A smaller one saturates.
    index, factor = (operator.inputs[1], 2) if of_weights else (operator.outputs[0], 1 / 8)
    quantization = graph.tensors[index].quantization
    quantization.scale = factor * np.asarray(quantization.scale)
    path.write_bytes(write_model(model))


def _double_coreml(path: Path, of_weights: bool) -> None:
    with edited_program(path) as operations:
        wanted = "constexpr_affine_dequantize" if of_weights else "dequantize"
        operation = [entry for entry in operations if entry.type == wanted][2]
        if of_weights:
            value = operation.attributes["scale"]
        else:
            (argument,) = operation.inputs["scale"].arguments
            value = next(
                entry.attributes["val"]
                for entry in operations
                if entry.type == "const" and entry.outputs[0].name == argument.name
            )
        if value.WhichOneof("value") == "blobFileValue":
            _double_blob(path / WEIGHTS, value.blobFileValue.offset)
        else:
            _double_immediate(value.immediateValue.tensor)


def _double_blob(file: Path, record: int) -> None:
    """Half-precision numbers behind a record of sentinel, type, size and start."""
    data = bytearray(file.read_bytes())
    _, _, size, start = struct.unpack_from("<IIQQ", data, record)
    values = np.frombuffer(bytes(data[start : start + size]), np.float16)
    data[start : start + size] = (2 * values).astype(np.float16).tobytes()
    file.write_bytes(data)


def _double_immediate(tensor: Any) -> None:
    if tensor.WhichOneof("value") == "bytes":
        values = np.frombuffer(tensor.bytes.values, np.float16)
        tensor.bytes.values = (2 * values).astype(np.float16).tobytes()
    else:
        for index, value in enumerate(tensor.floats.values):
            tensor.floats.values[index] = 2 * value
