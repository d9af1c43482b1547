"""Element types of the Model Intermediate Language, and how this interpreter holds their values.

Numbers of the types come from Apple's public ``mlmodel/format/MIL.proto`` (``DataType``) and
``mlmodel/src/MILBlob/Blob/BlobDataType.hpp`` (``BlobDataType``) in apple/coremltools.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rid_core.errors import RidError

if TYPE_CHECKING:
    import torch


class MilError(RidError, ValueError):
    """A package or an input that cannot be run: one line that says what is wrong and what to do."""


@dataclass(frozen=True)
class DType:
    """One element type.

    Attributes:
        name: as MIL writes it in text, e.g. ``fp16``.
        proto: number in MIL.proto's ``DataType``.
        blob: number in the weight file's ``BlobDataType``, or None where weights cannot have it.
        numpy: numpy type of stored values, little endian.
        carrier: torch type that carries them. torch has no arithmetic for unsigned 16 and 32 bit
            integers; the next wider signed type is exact.
    """

    name: str
    proto: int
    blob: int | None
    numpy: str
    carrier: str

    @property
    def is_float(self) -> bool:
        """Whether results of this type are rounded to it."""
        return self.name in ("fp16", "fp32")

    def carries(self, tensor: torch.Tensor) -> bool:
        """Whether ``tensor`` is of the carrying torch type; none is of a string's."""
        return str(tensor.dtype) == f"torch.{self.carrier}"

    def torch_dtype(self) -> torch.dtype:
        """The carrying torch type; MilError for strings, which no tensor carries."""
        import torch

        if not self.carrier:
            raise MilError(f"a {self.name} stands where a tensor belongs; export the package again")
        dtype = getattr(torch, self.carrier)
        assert isinstance(dtype, torch.dtype)
        return dtype


STRING = DType("string", 2, None, "U", "")

_DTYPES = (
    DType("bool", 1, None, "?", "bool"),
    STRING,
    DType("fp16", 10, 1, "<f2", "float16"),
    DType("fp32", 11, 2, "<f4", "float32"),
    DType("int8", 21, 4, "<i1", "int8"),
    DType("int16", 22, 6, "<i2", "int16"),
    DType("int32", 23, 14, "<i4", "int32"),
    DType("int64", 24, None, "<i8", "int64"),
    DType("uint8", 31, 3, "<u1", "uint8"),
    DType("uint16", 32, 7, "<u2", "int32"),
    DType("uint32", 33, 15, "<u4", "int64"),
)
_BY_PROTO = {dtype.proto: dtype for dtype in _DTYPES}
_BY_NAME = {dtype.name: dtype for dtype in _DTYPES}


def dtype_from_proto(number: int) -> DType:
    """The type behind a MIL.proto number; MilError for one the interpreter does not model."""
    try:
        return _BY_PROTO[number]
    except KeyError:
        raise MilError(
            f"element type number {number} of MIL.proto is not modelled; "
            "the interpreter refuses what it does not know"
        ) from None


def dtype_from_name(name: str) -> DType:
    """The type behind a name such as ``fp16`` (an op's ``dtype`` parameter)."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise MilError(
            f"element type {name!r} is not modelled; the interpreter refuses what it does not know"
        ) from None


@dataclass(frozen=True)
class TensorType:
    """Declared type of a tensor; a None in ``shape`` is a dimension left open."""

    dtype: DType
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        """As in error texts: ``fp16 [1, 3, 8, 8]``."""
        return f"{self.dtype.name} [{', '.join('?' if n is None else str(n) for n in self.shape)}]"

    def admits(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of ``shape`` fits."""
        return len(shape) == len(self.shape) and all(
            want is None or want == got for want, got in zip(self.shape, shape, strict=True)
        )


def byte_count(dtype: DType, count: int) -> int:
    """Bytes that ``count`` elements take when stored."""
    return count * np.dtype(dtype.numpy).itemsize
