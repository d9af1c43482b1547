"""ExecuTorch: ``torch.export``, then XNNPACK's partitioner; a program is one ``.pte`` file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rid_core.artifact import TensorInfo
from rid_export.metadata import contract_tensors, embed_executorch
from rid_export.registry import Target, register_target
from rid_export.spec import ExportSpec

if TYPE_CHECKING:
    from rid_core.runtimes import ModelRuntime
    from rid_export.graph import ExportGraph
    from rid_export.layers import QuantizationReport


@register_target
class ExecuTorchTarget(Target):
    """Tensors in NCHW; what XNNPACK can compute is one delegate, which is all of the networks."""

    name = "executorch"
    suffix = ".pte"
    format = "executorch"
    layout = "nchw"
    precisions = ("fp32", "int8")
    extra = "executorch"
    packages = ("executorch", "torchao")
    tools = ("torch", "executorch", "torchao")
    reasons: ClassVar[Mapping[str, str]] = {
        "fp16": "XNNPACK's delegate is given float32 here; the nearest is fp32",
        "w8": "XNNPACK has no convolutions of int8 weights and float values; the nearest is int8",
        "w8a16": "XNNPACK has no 16-bit activations; the nearest is int8",
        "pal8": "XNNPACK has no palettes of weights; the nearest is int8",
        "nhwc": "PyTorch's operators take nchw",
        "uint8": "convert to float32 in the app, which is one multiplication",
    }

    def signature(self, spec: ExportSpec) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
        """Inputs and outputs as the metadata states them."""
        return contract_tensors(spec, self.layout)

    def convert(
        self, graph: ExportGraph, spec: ExportSpec, path: Path
    ) -> QuantizationReport | None:
        """Write the file."""
        import torch
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        from rid_export.backends.executorch.quantize import ExecuTorchQuantizer, traced
        from rid_export.quantization import quantize

        example = graph.example(spec.resolution)
        model, report = traced(graph, example), None
        if spec.precision != "fp32":
            weights = graph.weights()
            model, report = quantize(
                lambda grids: ExecuTorchQuantizer(graph, example, spec.precision, grids, weights),
                graph,
                spec,
            )
        with torch.no_grad():
            program = torch.export.export(model, (example,), strict=False)
            edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
            path.write_bytes(edge.to_executorch().buffer)
        return report

    def embed(self, path: Path, text: str) -> None:
        """Put the metadata block behind the program."""
        embed_executorch(path, text)

    def runners(self, path: Path) -> list[ModelRuntime]:
        """ExecuTorch's own runtime on the CPU."""
        from rid_core.runtimes.executorch import ExecuTorchRuntime

        return [ExecuTorchRuntime(path, sealed=False)]
