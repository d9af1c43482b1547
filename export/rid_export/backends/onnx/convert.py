"""ONNX: ``torch.onnx`` (the dynamo exporter), onnxsim, then ONNX Runtime's quantizers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rid_core.artifact import TensorInfo
from rid_core.errors import RidError
from rid_export.metadata import contract_tensors, embed_onnx
from rid_export.registry import Target, register_target
from rid_export.spec import ExportSpec

if TYPE_CHECKING:
    from rid_core.runtimes import ModelRuntime
    from rid_export.graph import ExportGraph
    from rid_export.layers import QuantizationReport

OPSET = 18
"""Has all that the phone networks need; onnxruntime-web and onnxruntime-mobile run it."""
_TRACED = (3, 5)
"""Height and width in strides at which a dynamic file is traced; its graph is that of any size."""


@register_target
class OnnxTarget(Target):
    """Tensors in NCHW, or NHWC on request; pixel shuffles become DepthToSpace.

    All operators are of the standard's own domain in every precision, so that onnxruntime-web and
    other runtimes take the file.
    """

    name = "onnx"
    suffix = ".onnx"
    format = "onnx"
    layout = "nchw"
    precisions = ("fp32", "fp16", "w8", "w8a16", "int8")
    layouts = ("nchw", "nhwc")
    io = ("float32", "uint8")
    dynamic = True
    packages = ("onnx", "onnxscript", "onnxsim", "onnxruntime")
    tools = ("torch", "onnx", "onnxscript", "onnxsim", "onnxruntime")
    reasons: ClassVar[Mapping[str, str]] = {
        "pal8": "ONNX has no palettes of weights; the nearest is w8"
    }

    def signature(self, spec: ExportSpec) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
        """Inputs and outputs as the metadata states them."""
        return contract_tensors(spec, spec.layout or self.layout)

    def convert(
        self, graph: ExportGraph, spec: ExportSpec, path: Path
    ) -> QuantizationReport | None:
        """Write the file."""
        import onnx

        from rid_export.backends.onnx.edits import bytes_at_the_ends
        from rid_export.backends.onnx.graph import name_layers
        from rid_export.backends.onnx.quantize import OnnxQuantizer
        from rid_export.quantization import quantize

        model = export_graph(graph, spec)
        name_layers(model)
        report = None
        if spec.precision != "fp32":
            float_model, weights = model, graph.weights()
            model, report = quantize(
                lambda grids: OnnxQuantizer(float_model, spec.precision, grids, weights),
                graph,
                spec,
            )
        if spec.io == "uint8":
            bytes_at_the_ends(model)
        model.graph.name = "rid"
        model.producer_name = "rid-export"
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)
        return report

    def embed(self, path: Path, text: str) -> None:
        """Put the metadata block into the file."""
        embed_onnx(path, text)

    def runners(self, path: Path) -> list[ModelRuntime]:
        """ONNX Runtime on the CPU."""
        from rid_core.runtimes.onnxruntime import OnnxRuntime

        return [OnnxRuntime(path, sealed=False)]

    def remarks(self, path: Path) -> tuple[str, ...]:
        """Why int8 may be slower than float in ONNX Runtime."""
        import onnx

        nodes = onnx.load(path).graph.node
        kinds = Counter(node.op_type for node in nodes)
        changes = kinds["QuantizeLinear"] + kinds["DequantizeLinear"]
        if kinds["QuantizeLinear"] < kinds["Conv"] / 2:
            return ()
        return (
            "smaller than fp32, but not always faster in ONNX Runtime: x86 processors without VNNI "
            f"multiply bytes in 16-bit steps, and {changes} of {len(nodes)} operators change "
            "types. Compare both on your device with rid-bench",
        )


def export_graph(graph: ExportGraph, spec: ExportSpec) -> Any:
    """``ModelProto`` of the graph, simplified and without the exporter's notes."""
    import onnx
    import onnxsim
    import torch

    example = graph.example(spec.resolution)
    shapes = None
    axes = (1, 2) if graph.layout == "nhwc" else (2, 3)
    if spec.dynamic:
        stride = graph.defender.stride
        example = graph.example(*(stride * count for count in _TRACED))
        sizes = (torch.export.Dim(name) for name in ("rows", "columns"))
        shapes = {"image": {axis: stride * size for axis, size in zip(axes, sizes, strict=True)}}
    program = torch.onnx.export(
        graph,
        (example,),
        dynamo=True,
        input_names=["image"],
        output_names=list(graph.outputs),
        opset_version=OPSET,
        dynamic_shapes=shapes,
        verbose=False,
    )
    if program is None:
        raise RidError("torch's ONNX exporter gave no program")
    model, sound = onnxsim.simplify(program.model_proto)
    if not sound:
        raise RidError("onnxsim changed what the network computes; its own check says so")
    # The exporter's notes on every node (module paths, stack traces) only make the file larger.
    for node in (*model.graph.node, *model.graph.value_info, *model.graph.initializer):
        del node.metadata_props[:]
        node.doc_string = ""
    del model.graph.value_info[:]
    del model.metadata_props[:]
    if spec.dynamic:
        for value in (*model.graph.input, *model.graph.output):
            sizes = value.type.tensor_type.shape.dim
            for axis, name in zip(axes, ("height", "width"), strict=True):
                sizes[axis].Clear()
                sizes[axis].dim_param = name
    onnx.checker.check_model(model, full_check=True)
    return model
