"""Core ML: an ML program for iOS 17 and later, converted on any machine."""

from __future__ import annotations

import dataclasses
import math
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rid_core.artifact import ArtifactMetadata, TensorInfo
from rid_core.errors import RidError
from rid_export.backends.coreml.graph import block_of, name_layers, quiet
from rid_export.layers import QuantizationReport
from rid_export.metadata import embed_coreml, float_tensors
from rid_export.registry import Target, register_target
from rid_export.spec import ExportSpec

if TYPE_CHECKING:
    from torch import Tensor

    from rid_core.runtimes import ModelRuntime
    from rid_export.graph import ExportGraph

FEATURES = {
    "image": "Portrait, RGB, upright",
    "protected": "The portrait with the perturbation added",
    "delta": "Unit perturbation in [-1, 1], [1, 3, height, width]; times eps it is what was added",
}
_ABOUT = (
    "Adds a bounded perturbation to a portrait that hinders its use in personalizing diffusion "
    "models"
)
_COMPRESSED = {
    "fp32": frozenset[str](),
    "fp16": frozenset[str](),
    "w8": frozenset(("constexpr_affine_dequantize",)),
    "pal8": frozenset(("constexpr_lut_to_dense",)),
    "int8": frozenset(("constexpr_affine_dequantize", "quantize")),
}
"""Operations that a program of each precision has, and that no other has."""


@register_target
class CoreMLTarget(Target):
    """Image types for ``image`` and ``protected``, an fp16 multi-array for ``delta``.

    An output image takes no scale, so the graph works in levels, 0 to 255; and it holds 8 bits, so
    only ``delta`` is precise enough to upsample for a larger photo.

    Precisions: ``fp32``; ``fp16``, which the Neural Engine computes in anyway; ``w8``, 8-bit linear
    weights, and ``pal8``, weights as indices into 256 values per layer, both computed in fp16;
    ``int8``, weights and activations in 8 bits. Palettes of 6 bits were measured at 20 to 25 dB,
    below what is asked of compressed weights.
    """

    name = "coreml"
    suffix = ".mlpackage"
    format = "coreml"
    layout = "nchw"
    precisions = tuple(_COMPRESSED)
    reasons: ClassVar[Mapping[str, str]] = {
        "w8a16": (
            "Core ML has no 16-bit integer activations; the nearest is w8, whose activations are "
            "16-bit floats"
        ),
        "uint8": "image and protected are image types, 8 bits per colour, as it is; leave --io out",
        "nhwc": "an image type has no order of axes, and delta is NCHW; leave --layout out",
        "dynamic": "an image type has one size; make one file per --resolution",
    }
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

    def convert(
        self, graph: ExportGraph, spec: ExportSpec, path: Path
    ) -> QuantizationReport | None:
        """Write the package."""
        from rid_export.backends.coreml.quantize import CoreMLQuantizer
        from rid_export.quantization import quantize

        model = to_program(graph, spec.resolution, half=spec.precision != "fp32")
        report = None
        if spec.precision not in ("fp32", "fp16"):
            exact, weights = model, graph.weights()
            names = name_layers(model.get_spec(), dict(graph.defender.named_modules()))
            with tempfile.TemporaryDirectory() as folder:
                (model, _), report = quantize(
                    lambda grids: CoreMLQuantizer(
                        exact, spec.precision, grids, weights, names=names, scratch=Path(folder)
                    ),
                    graph,
                    spec,
                )
        describe(model, graph.outputs)
        save(model, path)
        return report

    def embed(self, path: Path, text: str) -> None:
        """Put the metadata block into the package."""
        embed_coreml(path, text)

    def runners(self, path: Path) -> list[ModelRuntime]:
        """Core ML itself on a Mac, and our interpreter of the program everywhere."""
        from rid_core.artifact import read_metadata
        from rid_core.runtimes.base import ExportedRuntime
        from rid_export.backends.coreml.runner import MilRunner

        interpreter = ExportedRuntime(path, MilRunner.load(path), read_metadata(path))
        if sys.platform == "darwin":
            from rid_core.runtimes.coreml import CoreMLRuntime

            return [CoreMLRuntime(path, sealed=False), interpreter]
        return [interpreter]

    def remarks(self, path: Path) -> tuple[str, ...]:
        """That Core ML did not run it, where it did not."""
        if sys.platform == "darwin":
            return ()
        return ("not run in Core ML, which only a Mac has; the figures are our interpreter's",)

    def inspect(self, path: Path, metadata: ArtifactMetadata) -> None:
        """Hold the package's features, and how it is compressed, against the metadata."""
        import coremltools as ct

        spec = ct.utils.load_spec(str(path))
        description = spec.description
        found = {f.name: _feature(f) for f in (*description.input, *description.output)}
        for info in (*metadata.inputs, *metadata.outputs):
            if found.get(info.name) != (info.dtype, info.shape):
                raise RidError(
                    f"{path}: the package has {info.name} as {found.get(info.name)}, its metadata "
                    f"says {(info.dtype, info.shape)}"
                )
        marks = frozenset[str]().union(*_COMPRESSED.values())
        present = marks & {operation.type for operation in block_of(spec).operations}
        if present != _COMPRESSED.get(metadata.precision):
            listed = ", ".join(sorted(present)) or "nothing compressed"
            raise RidError(f"{path}: not the {metadata.precision} it says: it has {listed}")


def _feature(feature: Any) -> tuple[str, tuple[int, ...]]:
    """(dtype, shape) of a feature in the words of the metadata."""
    kind = feature.type
    if kind.HasField("imageType"):
        space = kind.imageType.ColorSpace.Name(kind.imageType.colorSpace)
        dtype = "image" if space == "RGB" else f"image {space}"
        return dtype, (1, 3, kind.imageType.height, kind.imageType.width)
    array = kind.multiArrayType
    return array.ArrayDataType.Name(array.dataType).lower(), tuple(array.shape)


def _gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    """GELU in elementary operations, which coremltools joins to its own gelu again.

    Its converter of exported programs ignores ``approximate`` and writes the exact function
    (apple/coremltools#2863); of these spellings it recognises both forms.
    """
    import torch

    if approximate == "tanh":
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + torch.erf(x * math.sqrt(0.5)))


def to_program(graph: ExportGraph, resolution: int, *, half: bool) -> Any:
    """Convert to an ML program for iOS 17.

    ``delta`` is an fp16 multi-array in every precision, so that an app can change the model without
    changing a line: at 8 levels its rounding is below 0.002 levels.

    Args:
        graph: the contract; what it multiplies ``protected`` by does not matter.
        resolution: height and width in pixels.
        half: whether the program computes in fp16 (as the Neural Engine does), or in fp32.

    Returns:
        coremltools' ``MLModel``, not loaded into Core ML.
    """
    import coremltools as ct
    import torch

    from rid_export.graph import LevelsGraph

    shape = (1, 3, resolution, resolution)
    levels = LevelsGraph(graph)
    program = torch.export.export(levels, (torch.full(shape, 128.0),)).run_decompositions(
        {torch.ops.aten.gelu.default: _gelu}
    )
    rgb = ct.colorlayout.RGB
    kinds = {
        "protected": ct.ImageType("protected", color_layout=rgb),
        "delta": ct.TensorType("delta", dtype=np.float16),
    }
    with quiet():
        return ct.convert(
            program,
            convert_to="mlprogram",
            inputs=[ct.ImageType("image", shape=shape, color_layout=rgb)],
            outputs=[kinds[name] for name in graph.outputs],
            minimum_deployment_target=ct.target.iOS17,
            compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
            skip_model_load=True,
        )


def describe(model: Any, outputs: tuple[str, ...]) -> None:
    """Set the texts that Xcode shows."""
    model.input_description["image"] = FEATURES["image"]
    for name in outputs:
        model.output_description[name] = FEATURES[name]
    model.short_description = _ABOUT


def save(model: Any, path: Path) -> None:
    """Write an ``MLModel`` to a folder of any name."""
    package = path.with_name(f"{path.name}.mlpackage")  # coremltools insists on the suffix
    with quiet():
        model.save(str(package))
    # A debugging aid of coremltools that no runtime reads; most of a small package's bytes.
    (package / "executorch_debug_handle_mapping.json").unlink(missing_ok=True)
    package.replace(path)
