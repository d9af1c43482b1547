"""TFLite: litert-torch, NHWC from end to end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rid_core.artifact import TensorInfo
from rid_export.metadata import embed_tflite, float_tensors
from rid_export.registry import Runner, Target, register_target
from rid_export.spec import ExportSpec

if TYPE_CHECKING:
    from rid_export.graph import ExportGraph


@register_target
class TFLiteTarget(Target):
    """Float32 tensors in NHWC; one signature, ``serving_default``."""

    name = "tflite"
    suffix = ".tflite"
    format = "tflite"
    layout = "nhwc"
    packages = ("litert_torch", "ai_edge_litert")
    tools = ("torch", "litert-torch", "litert-converter", "ai-edge-litert")

    def signature(self, spec: ExportSpec) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
        """Inputs and outputs as the metadata states them."""
        return float_tensors(spec, self.layout)

    def convert(self, graph: ExportGraph, spec: ExportSpec, path: Path) -> None:
        """Write the file."""
        import litert_torch

        example = {"image": graph.example(spec.resolution)}
        litert_torch.convert(graph, sample_kwargs=example).export(str(path))

    def embed(self, path: Path, text: str) -> None:
        """Put the metadata block into the file."""
        embed_tflite(path, text)

    def runners(self, path: Path) -> list[Runner]:
        """LiteRT: XNNPACK as in an app, then the kernels that define the operators."""
        from rid_core.runtimes.litert_runtime import LiteRTRuntime

        return [
            LiteRTRuntime(path, sealed=False),
            LiteRTRuntime(path, sealed=False, kernels="reference"),
        ]
