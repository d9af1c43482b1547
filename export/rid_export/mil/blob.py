"""Reader of a package's weight file (``weights/weight.bin``).

Layout, from Apple's public ``mlmodel/src/MILBlob/Blob/StorageFormat.hpp``: a 64-byte header (count
of blobs, version 2), then for each blob a 64-byte record (sentinel 0xDEADBEEF, element type, size
in bytes, offset of the data) and the data; everything starts on a multiple of 64. A program refers
to a blob by its record's offset.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rid_export.mil.dtypes import DType, MilError, byte_count

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ALIGNMENT = 64
_VERSION = 2
_SENTINEL = 0xDEADBEEF
_HEADER = struct.Struct("<II")
_RECORD = struct.Struct("<IIQQ")


class BlobFile:
    """An open-on-demand weight file whose header has been checked."""

    def __init__(self, path: Path) -> None:
        """Check ``path``; MilError when it is missing, short, or not of version 2."""
        self.path = path
        try:
            self._size = path.stat().st_size
            with path.open("rb") as file:
                header = file.read(_ALIGNMENT)
        except OSError as error:
            raise MilError(
                f"the weight file {path} cannot be read ({error.strerror}); copy the package again"
            ) from error
        if len(header) < _ALIGNMENT:
            raise self._damaged(f"it has {len(header)} bytes, less than its header")
        self._count, version = _HEADER.unpack_from(header)
        if version != _VERSION:
            raise self._damaged(f"its header says version {version}, not {_VERSION}")

    def _damaged(self, what: str) -> MilError:
        return MilError(f"the weight file {self.path} is damaged: {what}; export the package again")

    def read(self, offset: int, dtype: DType, count: int) -> NDArray[np.generic]:
        """``count`` elements of ``dtype`` from the blob whose record starts at ``offset`` bytes.

        MilError when the record or the data lie outside the file, when the sentinel is wrong, or
        when the record's type or size disagree with the program's.
        """
        where = f"the record at byte {offset}"
        if offset % _ALIGNMENT or not _ALIGNMENT <= offset <= self._size - _ALIGNMENT:
            raise self._damaged(f"the program refers to {where}, outside its {self._size} bytes")
        with self.path.open("rb") as file:
            file.seek(offset)
            sentinel, blob_dtype, size, start = _RECORD.unpack(file.read(_RECORD.size))
            if sentinel != _SENTINEL:
                raise self._damaged(f"{where} has sentinel {sentinel:#010x}, not {_SENTINEL:#010x}")
            if blob_dtype != dtype.blob:
                raise self._damaged(
                    f"{where} holds element type {blob_dtype}, but the program expects "
                    f"{dtype.name} ({dtype.blob})"
                )
            if size != byte_count(dtype, count):
                raise self._damaged(
                    f"{where} holds {size} bytes, but the program expects {count} elements of "
                    f"{dtype.name}"
                )
            if start % _ALIGNMENT or start < _ALIGNMENT or start + size > self._size:
                raise self._damaged(
                    f"the data of {where} end at byte {start + size}, but the file has {self._size}"
                )
            file.seek(start)
            return np.frombuffer(file.read(size), dtype.numpy).copy()
