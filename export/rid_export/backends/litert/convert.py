"""TFLite: litert-torch, NHWC from end to end, then ai-edge-quantizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rid_core.artifact import TensorInfo
from rid_export.metadata import contract_tensors, embed_tflite
from rid_export.registry import Runner, Target, register_target
from rid_export.spec import ExportSpec

if TYPE_CHECKING:
    import numpy as np

    from rid_export.graph import ExportGraph
    from rid_export.layers import LayerError, Notes


@register_target
class TFLiteTarget(Target):
    """Tensors in NHWC; one signature, ``serving_default``."""

    name = "tflite"
    suffix = ".tflite"
    format = "tflite"
    layout = "nhwc"
    precisions = ("fp32", "fp16", "w8", "w8a16", "int8")
    io = ("float32", "uint8")
    packages = ("litert_torch", "ai_edge_litert", "ai_edge_quantizer")
    tools = ("torch", "litert-torch", "litert-converter", "ai-edge-quantizer", "ai-edge-litert")
    reasons: ClassVar[Mapping[str, str]] = {
        "nchw": "TFLite's kernels work on NHWC, and would transpose every image and every result; "
        "the nearest is --layout nhwc",
        "dynamic": "its reshapes hold the size as constants; make one file per --resolution, or "
        "use --target onnx",
        "pal8": "TFLite has no palettes of weights; the nearest is w8",
    }

    def signature(self, spec: ExportSpec) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
        """Inputs and outputs as the metadata states them."""
        return contract_tensors(spec, self.layout)

    def convert(self, graph: ExportGraph, spec: ExportSpec, path: Path) -> Notes | None:
        """Write the file."""
        import litert_torch

        from rid_export.backends.litert import edits
        from rid_export.backends.litert.flatbuffer import Graph, read_model, write_model
        from rid_export.backends.litert.quantize import TFLiteQuantizer
        from rid_export.layers import float_copy
        from rid_export.quantization import prepare, quantize

        example = {"image": graph.example(spec.resolution)}
        litert_torch.convert(graph, sample_kwargs=example).export(str(path))
        edited = Graph(read_model(path.read_bytes()))
        edits.split_sums(edited)
        state = graph.defender.state_dict()
        weights = {name: value.numpy() for name, value in state.items()}
        edits.name_layers(edited, weights)
        edits.own_biases(edited, weights)
        data = write_model(edited.model)
        notes = None
        if spec.precision != "fp32":
            float_copy(path).write_bytes(data)
            grids, yardstick = prepare(graph, spec)
            data, notes = quantize(TFLiteQuantizer(data, spec.precision, grids), yardstick)
        # What follows changes no value, and quantizers and layer reports know the longer spelling.
        final = Graph(read_model(data))
        edits.shuffle_at_once(final)
        edits.clamp_in_two(final)
        if spec.io == "uint8":
            edits.bytes_at_the_ends(final)
        path.write_bytes(write_model(final.model))
        return notes

    def embed(self, path: Path, text: str) -> None:
        """Put the metadata block into the file."""
        embed_tflite(path, text)

    def runners(self, path: Path) -> list[Runner]:
        """LiteRT: XNNPACK as in an app, then the kernels that define the operators.

        And TensorFlow's own interpreter, where it is installed: there are apps that still ship it.
        """
        from rid_core.runtimes.litert_runtime import LiteRTRuntime
        from rid_export.tensorflow_runtime import TensorFlowRuntime, tensorflow_is_installed

        found: list[Runner] = [
            LiteRTRuntime(path, sealed=False),
            LiteRTRuntime(path, sealed=False, kernels="reference"),
        ]
        if tensorflow_is_installed():
            found.append(TensorFlowRuntime(path, sealed=False))
        return found

    def layer_errors(self, path: Path, images: Sequence[np.ndarray]) -> list[LayerError]:
        """Compare a quantized file with its float copy layer by layer."""
        from rid_export.backends.litert.quantize import tflite_layer_errors
        from rid_export.layers import float_copy

        copy = float_copy(path)
        if not copy.exists():
            return []
        return tflite_layer_errors(copy.read_bytes(), path.read_bytes(), images)

    def remarks(self, path: Path) -> tuple[str, ...]:
        """What XNNPACK takes of it, and which runtime was not there to run it."""
        from rid_core.errors import pip_line
        from rid_export.backends.litert.delegation import xnnpack_delegation
        from rid_export.tensorflow_runtime import tensorflow_is_installed

        lines = [xnnpack_delegation(path).line()]
        if not tensorflow_is_installed():
            lines.append(
                "not run in TensorFlow's own TFLite interpreter, which is not installed: "
                f"{pip_line('tensorflow')}"
            )
        return tuple(lines)
