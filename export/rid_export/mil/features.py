"""What an app passes in and gets back: images and multi-arrays.

An image feature is a CVPixelBuffer on a phone. It holds 8-bit colour [1]; here it is a uint8 array
[H, W, 3] in RGB order; other orders and grey images are refused. Scale and bias of an image input
are not part of the description of an ML program: coremltools writes them into the program as
ordinary operations, so that running the program applies them [2].

An image output is the program's tensor, in 0..255, stored as 8 bits. Apple documents neither how
Core ML rounds nor that it clamps; here it is clamped and rounded to nearest. Our programs round and
clamp their own output, and so are free of the question.

[1] coremltools guide, "Image Input and Output", section "Set the Scalar Type".
[2] Same page, "Add Image Preprocessing Options"; pass ``mil_backend::insert_image_preprocessing``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from rid_export.mil.dtypes import MilError, TensorType

if TYPE_CHECKING:
    from torch import Tensor

# Values of ``ArrayDataType`` and ``ColorSpace`` in Apple's public FeatureTypes.proto.
_ARRAY_DTYPES = {
    65568: "float32",
    65600: "float64",
    131104: "int32",
    131080: "int8",
    65552: "float16",
}
_RGB = 20


@dataclass(frozen=True)
class Feature:
    """An input or output as the model description has it.

    Attributes:
        name: name in the app's generated class.
        kind: ``image`` or ``multiarray``.
        shape: of the array to pass or to expect; [H, W, 3] for an image.
        dtype: numpy type of that array; uint8 for images.
    """

    name: str
    kind: Literal["image", "multiarray"]
    shape: tuple[int, ...]
    dtype: str


def read_feature(proto: Any) -> Feature:
    """A FeatureDescription message; MilError for flexible shapes and other kinds."""
    name = str(proto.name)
    kind = proto.type.WhichOneof("Type")
    if kind not in ("imageType", "multiArrayType"):
        raise MilError(f"feature {name!r} is a {kind}; only images and multi-arrays are modelled")
    message = getattr(proto.type, kind)
    if message.WhichOneof("SizeFlexibility" if kind == "imageType" else "ShapeFlexibility"):
        raise MilError(f"feature {name!r} has a flexible size; export with a fixed resolution")
    if kind == "multiArrayType":
        dtype = _ARRAY_DTYPES.get(message.dataType)
        if dtype is None:
            raise MilError(f"feature {name!r} has array type {message.dataType}, not modelled")
        return Feature(name, "multiarray", tuple(int(n) for n in message.shape), dtype)
    if message.colorSpace != _RGB:
        raise MilError(f"feature {name!r} has colour space {message.colorSpace}, not modelled")
    return Feature(name, "image", (int(message.height), int(message.width), 3), "uint8")


def check_feature(feature: Feature, declared: TensorType | None, what: str) -> Feature:
    """The feature, with the program's shape where the description gives none.

    MilError when the program's tensor cannot be the feature's.
    """
    if declared is None:
        raise MilError(f"the program has no {what} {feature.name!r}; export the package again")
    shape = feature.shape
    if feature.kind == "image":
        shape = (1, 3, *feature.shape[:2])
        if not declared.dtype.is_float:
            raise MilError(f"image {feature.name!r} is {declared}; images must be float tensors")
    if not shape:
        return replace(feature, shape=tuple(n or 0 for n in declared.shape))
    if not declared.admits(shape):
        raise MilError(
            f"the description says {what} {feature.name!r} is {list(shape)}, the program says "
            f"{declared}; export the package again"
        )
    return feature


def to_tensor(feature: Feature, value: NDArray[Any], declared: TensorType) -> Tensor:
    """An app's array as the program's input tensor; MilError when it is not what is described."""
    import torch

    array = np.asarray(value)
    if array.shape != feature.shape or array.dtype.kind != np.dtype(feature.dtype).kind:
        raise MilError(
            f"input {feature.name!r} must be {feature.dtype} {list(feature.shape)}, "
            f"not {array.dtype} {list(array.shape)}"
        )
    if feature.kind == "image":
        if array.dtype != np.uint8:
            raise MilError(f"input {feature.name!r} must be uint8, not {array.dtype}")
        array = array.transpose(2, 0, 1)[None]
    elif not np.isfinite(array).all():
        raise MilError(f"input {feature.name!r} holds NaN or infinity; pass finite numbers")
    else:
        array = array.astype(feature.dtype)
    tensor = torch.from_numpy(np.array(array, order="C"))
    return tensor.to(declared.dtype.torch_dtype())


def from_tensor(feature: Feature, tensor: Tensor) -> NDArray[Any]:
    """The program's output tensor as the app's array.

    A multi-array may hold NaN, as on a phone; an image cannot, and MilError names it.
    """
    array: NDArray[Any] = tensor.numpy()
    if feature.kind == "multiarray":
        return array.astype(feature.dtype)
    if np.isnan(array).any():
        raise MilError(
            f"output image {feature.name!r} holds NaN; look for the layer that makes it with "
            "observe="
        )
    levels = np.rint(np.clip(array[0].astype(np.float32), 0, 255)).astype(np.uint8)
    return levels.transpose(1, 2, 0).copy()


def check_names(given: Mapping[str, object], features: tuple[Feature, ...]) -> None:
    """MilError when inputs are missing or unknown."""
    wanted = {feature.name for feature in features}
    if given.keys() != wanted:
        raise MilError(f"inputs are {sorted(wanted)}, not {sorted(given)}")
