"""Core ML: an ML program for iOS 17 and later, converted on any machine."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rid_core.artifact import ArtifactMetadata, TensorInfo
from rid_core.errors import RidError
from rid_export.metadata import embed_coreml, float_tensors
from rid_export.registry import Runner, Target, register_target
from rid_export.spec import ExportSpec

if TYPE_CHECKING:
    from rid_export.graph import ExportGraph
    from rid_export.mil import MilProgram

_FEATURES = {
    "image": "Portrait, RGB, upright",
    "protected": "The portrait with the perturbation added",
    "delta": "Unit perturbation in [-1, 1], [1, 3, height, width]; times eps it is what was added",
}


@register_target
class CoreMLTarget(Target):
    """Image types for ``image`` and ``protected``, an fp16 multi-array for ``delta``.

    An output image takes no scale, so the graph multiplies by 255; and it holds 8 bits, so only
    ``delta`` is precise enough to upsample for a larger photo.
    """

    name = "coreml"
    suffix = ".mlpackage"
    format = "coreml"
    layout = "nchw"
    packages = ("coremltools",)
    tools = ("torch", "coremltools")
    protected_scale = 255.0
    rounded = True

    def signature(self, spec: ExportSpec) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
        """Inputs and outputs as the metadata states them."""
        inputs, outputs = float_tensors(spec, self.layout)
        kinds = {"image": "image", "protected": "image", "delta": "float16"}

        def typed(infos: tuple[TensorInfo, ...]) -> tuple[TensorInfo, ...]:
            return tuple(dataclasses.replace(info, dtype=kinds[info.name]) for info in infos)

        return typed(inputs), typed(outputs)

    def convert(self, graph: ExportGraph, spec: ExportSpec, path: Path) -> None:
        """Write the package."""
        import coremltools as ct
        import torch

        example = graph.example(spec.resolution)
        program = torch.export.export(graph, (example,)).run_decompositions({})
        rgb = ct.colorlayout.RGB
        kinds = {
            "protected": ct.ImageType("protected", color_layout=rgb),
            "delta": ct.TensorType("delta", dtype=np.float16),
        }
        model = ct.convert(
            program,
            convert_to="mlprogram",
            inputs=[
                ct.ImageType("image", shape=tuple(example.shape), scale=1 / 255, color_layout=rgb)
            ],
            outputs=[kinds[name] for name in graph.outputs],
            minimum_deployment_target=ct.target.iOS17,
            compute_precision=ct.precision.FLOAT32,
            skip_model_load=True,
        )
        for name in ("image", *graph.outputs):
            features = model.input_description if name == "image" else model.output_description
            features[name] = _FEATURES[name]
        model.short_description = (
            "Adds a bounded perturbation to a portrait that hinders its use in personalizing "
            "diffusion models"
        )
        model.save(str(path))
        # A debugging aid of coremltools that no runtime reads; most of a small package's bytes.
        (path / "executorch_debug_handle_mapping.json").unlink(missing_ok=True)

    def embed(self, path: Path, text: str) -> None:
        """Put the metadata block into the package."""
        embed_coreml(path, text)

    def runners(self, path: Path) -> list[Runner]:
        """Core ML itself on a Mac, and our interpreter of the program everywhere."""
        from rid_export.mil import MilProgram

        interpreter = MilRunner(MilProgram.load(path))
        if sys.platform == "darwin":
            from rid_core.runtimes.coreml_runtime import CoreMLRuntime

            return [CoreMLRuntime(path, sealed=False), interpreter]
        return [interpreter]

    def inspect(self, path: Path, metadata: ArtifactMetadata) -> None:
        """Hold the package's features against the metadata."""
        import coremltools as ct

        description = ct.utils.load_spec(str(path)).description
        found = {f.name: _feature(f) for f in (*description.input, *description.output)}
        for info in (*metadata.inputs, *metadata.outputs):
            if found.get(info.name) != (info.dtype, info.shape):
                raise RidError(
                    f"{path}: the package has {info.name} as {found.get(info.name)}, its metadata "
                    f"says {(info.dtype, info.shape)}"
                )


def _feature(feature: Any) -> tuple[str, tuple[int, ...]]:
    """(dtype, shape) of a feature in the words of the metadata."""
    kind = feature.type
    if kind.HasField("imageType"):
        space = kind.imageType.ColorSpace.Name(kind.imageType.colorSpace)
        dtype = "image" if space == "RGB" else f"image {space}"
        return dtype, (1, 3, kind.imageType.height, kind.imageType.width)
    array = kind.multiArrayType
    return array.ArrayDataType.Name(array.dataType).lower(), tuple(array.shape)


class MilRunner:
    """The interpreter of ML programs as a runner: 8-bit images in and out, as in an app."""

    def __init__(self, program: MilProgram) -> None:
        self.name = "rid_export.mil, a reference interpreter (not Core ML)"
        self._program = program

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs by name for a float32 image [H, W, 3] in [0, 1]."""
        pixels = np.rint(image * 255).clip(0, 255).astype(np.uint8)
        raw = self._program.predict({"image": pixels})
        plain = {}
        for name, value in raw.items():
            if value.dtype == np.uint8:
                plain[name] = value.astype(np.float32) / 255
            else:
                plain[name] = value[0].astype(np.float32).transpose(1, 2, 0)
        return plain
