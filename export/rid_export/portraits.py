"""The portraits that artefacts are measured on."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np

from rid_core.errors import RidError


def bundled_portraits(resolution: int) -> list[np.ndarray]:
    """Portraits that come with the package: float32 RGB in [0, 1], [resolution, resolution, 3].

    Values are whole 8-bit levels, as any photo's are, so that image types lose nothing.

    Raises:
        RidError: the package is incomplete.
    """
    from PIL import Image

    folder = Path(str(resources.files("rid_core"))) / "assets" / "portraits"
    portraits = []
    for file in sorted(folder.glob("*.jpg")):
        with Image.open(file) as opened:
            picture = opened.convert("RGB")
        if picture.size != (resolution, resolution):
            picture = picture.resize((resolution, resolution), Image.Resampling.LANCZOS)
        portraits.append(np.asarray(picture, dtype=np.float32) / np.float32(255))
    if not portraits:
        raise RidError(f"no portraits in {folder}; the installation is incomplete")
    return portraits
