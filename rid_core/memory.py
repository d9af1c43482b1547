"""A lack of memory, said in one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from rid_core.errors import RidError


@contextlib.contextmanager
def enough_memory(advice: str) -> Iterator[None]:
    """Turn a lack of memory in the block into a line with ``advice`` on what to lower.

    Raises:
        RidError: the device's or the computer's memory did not suffice.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        lacking = isinstance(error, MemoryError | torch.OutOfMemoryError)
        # The CPU's allocator has no class of its own.
        if not lacking and "can't allocate memory" not in str(error):
            raise
        raise RidError(f"out of memory: {advice}") from error
