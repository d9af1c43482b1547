"""Where to compute: devices by name, a lack of memory in one line, and random numbers on loan."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from rid_core.errors import RidError


def device_named(name: str) -> torch.device:
    """A device; ``auto`` is a GPU where there is one.

    Raises:
        RidError: no such kind of device, or none here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise RidError(f"--device {name}: no such kind of device; auto, cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RidError("--device cuda: no GPU is to be seen here; leave it out to use the CPU")
    return device


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


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Fix what libraries draw by themselves in the block, such as new weights.

    The caller's own random state is as before once the block is left.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
