"""Core ML: an ML program for iOS 17 and later, converted on any machine."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rid_core.artifact import ArtifactMetadata, TensorInfo
from rid_core.errors import RidError
from rid_export.layers import LayerError, Notes, float_copy
from rid_export.metadata import embed_coreml, float_tensors
from rid_export.registry import Target, register_target
from rid_export.spec import ExportSpec

if TYPE_CHECKING:
    import numpy as np

    from rid_core.runtimes import ModelRuntime
    from rid_export.graph import ExportGraph

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

    def convert(self, graph: ExportGraph, spec: ExportSpec, path: Path) -> Notes | None:
        """Write the package, and return what quantization did."""
        from rid_export.backends.coreml.package import write_package

        return write_package(graph, spec, path)

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

    def layer_errors(self, path: Path, images: Sequence[np.ndarray]) -> list[LayerError]:
        """Compare a compressed package with its fp16 copy layer by layer."""
        from rid_export.backends.coreml.quantize import package_layer_errors

        copy = float_copy(path)
        return package_layer_errors(copy, path, images) if copy.exists() else []

    def remarks(self, path: Path) -> tuple[str, ...]:
        """That Core ML did not run it, where it did not."""
        if sys.platform == "darwin":
            return ()
        return ("not run in Core ML, which only a Mac has; the figures are our interpreter's",)

    def inspect(self, path: Path, metadata: ArtifactMetadata) -> None:
        """Hold the package's features, and how it is compressed, against the metadata."""
        import coremltools as ct

        from rid_export.backends.coreml.activations import block_of

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
