"""Arrays of very large photos lie in a file, so that memory holds the strip at work and no more."""

from __future__ import annotations

import math
import mmap
import tempfile
from pathlib import Path

import numpy as np

from rid_core.errors import RidError

LARGE = 200_000_000
"""An array of more bytes than this goes to the disk; a photo of 66 megapixels reaches it."""
_PIECE = 1 << 24
_MARGIN = 100_000_000
_sharers = 1


def empty(*shape: int) -> np.ndarray:
    """A uint8 array: in memory, or if it is large in a nameless file that goes with it.

    Raises:
        RidError: no room for the file. It is reserved at once: a mapped file that cannot grow ends
            the process, without a word.
    """
    size = math.prod(shape)
    if size <= LARGE:
        return np.empty(shape, np.uint8)
    try:
        # The array holds the mapping, and the mapping the file.
        with tempfile.TemporaryFile(prefix="rid-") as file:
            for start in range(0, size, _PIECE):
                file.write(bytes(min(_PIECE, size - start)))
            file.flush()
            return np.memmap(file, np.uint8, "r+", shape=shape)
    except OSError as error:
        raise RidError(
            f"a photo of this size needs {size // 1_000_000} MB in the temporary folder "
            f"({error.strerror or error}); free some, or set TMPDIR to another folder"
        ) from None


def release(*arrays: np.ndarray) -> None:
    """Give back the memory that the strips read and written so far took; contents stay."""
    for array in arrays:
        mapping = getattr(array, "_mmap", None)
        if mapping is not None and hasattr(mapping, "madvise"):
            mapping.madvise(mmap.MADV_DONTNEED)


def share_memory(processes: int) -> None:
    """Let this process take a part of the free memory only, as one of several at work."""
    global _sharers
    _sharers = processes


def free_memory() -> int | None:
    """Bytes that can be had without swapping, this process's share of them.

    None where the system does not say.
    """
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if "MemAvailable" in line)
        return free // _sharers
    except (OSError, ValueError, StopIteration):
        return None


def memory_for(pixels: int) -> int:
    """Bytes that it takes to open or write a photo: Pillow holds four a pixel, arrays three."""
    array = 3 * pixels
    return 4 * pixels + _MARGIN + (array if array <= LARGE else 0)
