"""Where to compute, as the command line says it."""

from __future__ import annotations

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
