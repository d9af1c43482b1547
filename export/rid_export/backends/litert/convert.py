"""TFLite: litert-torch, NHWC from end to end, then ai-edge-quantizer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rid_core.artifact import TensorInfo
from rid_export.backends.litert import edits
from rid_export.backends.litert.graph import Graph, name_layers, read_model, write_model
from rid_export.metadata import contract_tensors, embed_tflite
from rid_export.registry import Target, register_target
from rid_export.spec import ExportSpec

if TYPE_CHECKING:
    import numpy as np

    from rid_core.runtimes import ModelRuntime
    from rid_export.graph import ExportGraph
    from rid_export.layers import QuantizationReport


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

    def convert(
        self, graph: ExportGraph, spec: ExportSpec, path: Path
    ) -> QuantizationReport | None:
        """Write the file."""
        import litert_torch

        from rid_export.backends.litert.quantize import TFLiteQuantizer
        from rid_export.quantization import quantize

        example = {"image": graph.example(spec.resolution)}
        litert_torch.convert(graph, sample_kwargs=example).export(str(path))
        weights = graph.weights()
        exact = data = named_model(path.read_bytes(), weights)
        report = None
        if spec.precision != "fp32":
            data, report = quantize(
                lambda grids: TFLiteQuantizer(exact, spec.precision, grids, weights), graph, spec
            )
        # What follows changes no value, and quantizers and layer reports know the longer spelling.
        final = Graph(read_model(data))
        edits.shuffle_at_once(final)
        edits.clamp_in_two(final)
        if spec.io == "uint8":
            edits.bytes_at_the_ends(final)
        path.write_bytes(write_model(final.model))
        return report

    def embed(self, path: Path, text: str) -> None:
        """Put the metadata block into the file."""
        embed_tflite(path, text)

    def runners(self, path: Path) -> list[ModelRuntime]:
        """LiteRT: XNNPACK as in an app, then the kernels that define the operators.

        And TensorFlow's own interpreter, where it is installed: there are apps that still ship it.
        """
        from rid_core.runtimes.litert import LiteRTRuntime
        from rid_core.runtimes.tensorflow import TensorFlowRuntime, is_installed

        found: list[ModelRuntime] = [
            LiteRTRuntime(path, sealed=False),
            LiteRTRuntime(path, sealed=False, kernels="reference"),
        ]
        if is_installed():
            found.append(TensorFlowRuntime(path, sealed=False))
        return found

    def remarks(self, path: Path) -> tuple[str, ...]:
        """What XNNPACK takes of it, and which runtime was not there to run it."""
        from rid_core.errors import pip_line
        from rid_core.runtimes.tensorflow import is_installed

        lines = [xnnpack_delegation(path).line()]
        if not is_installed():
            lines.append(
                "not run in TensorFlow's own TFLite interpreter, which is not installed: "
                f"{pip_line('tensorflow')}"
            )
        return tuple(lines)


def named_model(data: bytes, weights: Mapping[str, np.ndarray]) -> bytes:
    """What the converter wrote, with layers named by modules and biases that are torch's."""
    graph = Graph(read_model(data))
    edits.split_sums(graph)
    name_layers(graph, weights)
    edits.own_biases(graph, weights)
    return write_model(graph.model)


@dataclass(frozen=True)
class Delegation:
    """What a delegate takes of a file, and in how many pieces.

    Every border between a delegate and the built-in kernels copies tensors and waits.

    Attributes:
        partitions: pieces that the delegate took.
        taken: how often each operator occurs in them.
        left: how often each operator is left to the built-in kernels.
    """

    partitions: int
    taken: dict[str, int]
    left: dict[str, int]

    def line(self) -> str:
        """For people: ``XNNPACK takes 38 of 40 operators in 1 partition; left: TANH 2``."""
        taken, left = sum(self.taken.values()), sum(self.left.values())
        plural = "" if self.partitions == 1 else "s"
        line = f"XNNPACK takes {taken} of {taken + left} operators in {self.partitions} partition"
        names = ", ".join(f"{name} {count}" for name, count in sorted(self.left.items()))
        return f"{line}{plural}; left: {names}" if left else f"{line}{plural}"


def xnnpack_delegation(path: Path) -> Delegation:
    """Load a file in LiteRT with its default delegate and look at the plan of execution."""
    from rid_core.runtimes.litert import open_model

    return delegation(open_model(path).operators)


def delegation(operators: list[dict[str, Any]]) -> Delegation:
    """Sort operators by who runs them.

    Args:
        operators: as the interpreter lists them: those of the file, then one ``DELEGATE`` per
            partition, with ``op_name``, ``inputs`` and ``outputs``.
    """
    plain = [op for op in operators if op["op_name"] != "DELEGATE"]
    partitions = [op for op in operators if op["op_name"] == "DELEGATE"]
    producer = {int(tensor): number for number, op in enumerate(plain) for tensor in op["outputs"]}
    taken: set[int] = set()
    for partition in partitions:
        borders = {int(tensor) for tensor in partition["inputs"]}
        waiting = [int(tensor) for tensor in partition["outputs"]]
        while waiting:
            tensor = waiting.pop()
            number = producer.get(tensor)
            if tensor in borders or number is None or number in taken:
                continue
            taken.add(number)
            waiting += [int(t) for t in plain[number]["inputs"] if t >= 0]
    inside = Counter(plain[number]["op_name"] for number in sorted(taken))
    outside = Counter(op["op_name"] for number, op in enumerate(plain) if number not in taken)
    return Delegation(len(partitions), dict(inside), dict(outside))
