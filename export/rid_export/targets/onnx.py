"""ONNX: ``torch.onnx`` (the dynamo exporter), then onnxsim."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rid_core.artifact import TensorInfo
from rid_core.errors import RidError
from rid_export.metadata import embed_onnx, float_tensors
from rid_export.registry import Runner, Target, register_target
from rid_export.spec import ExportSpec

if TYPE_CHECKING:
    from rid_export.graph import ExportGraph

OPSET = 18
"""Has all that the phone networks need; onnxruntime-web and onnxruntime-mobile run it."""


@register_target
class OnnxTarget(Target):
    """Float32 tensors in NCHW; pixel shuffles become DepthToSpace."""

    name = "onnx"
    suffix = ".onnx"
    format = "onnx"
    layout = "nchw"
    packages = ("onnx", "onnxscript", "onnxsim", "onnxruntime")
    tools = ("torch", "onnx", "onnxscript", "onnxsim", "onnxruntime")

    def signature(self, spec: ExportSpec) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
        """Inputs and outputs as the metadata states them."""
        return float_tensors(spec, self.layout)

    def convert(self, graph: ExportGraph, spec: ExportSpec, path: Path) -> None:
        """Write the file."""
        import onnx
        import onnxsim
        import torch

        program = torch.onnx.export(
            graph,
            (graph.example(spec.resolution),),
            dynamo=True,
            input_names=["image"],
            output_names=list(graph.outputs),
            opset_version=OPSET,
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
        model.graph.name = "rid"
        model.producer_name = "rid-export"
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)

    def embed(self, path: Path, text: str) -> None:
        """Put the metadata block into the file."""
        embed_onnx(path, text)

    def runners(self, path: Path) -> list[Runner]:
        """ONNX Runtime on the CPU."""
        from rid_core.runtimes.onnx_runtime import OnnxRuntime

        return [OnnxRuntime(path, sealed=False)]
