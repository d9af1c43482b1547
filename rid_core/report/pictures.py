"""Photos in reports: JPEG, no larger than they are shown."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from rid_core.errors import RidError
from rid_core.report.content import Image

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image as Picture

_QUALITY = 80


def photo(pixels: np.ndarray, side: int) -> Image:
    """An image, scaled down if it is larger.

    Args:
        pixels: RGB [H, W, 3], uint8, or float in [0, 1].
        side: longest side that it may have, in pixels.
    """
    import numpy as np
    import PIL.Image

    if pixels.dtype != np.uint8:
        pixels = np.rint(pixels.clip(0, 1) * 255).astype(np.uint8)
    return _encode(PIL.Image.fromarray(pixels), (side, side))


def sheet(path: Path, width: int = 1600) -> Image:
    """A file, such as a sheet of samples, scaled down to a width in pixels if it is wider.

    Raises:
        RidError: it cannot be read as a picture.
    """
    import PIL.Image

    try:
        with PIL.Image.open(path) as opened:
            picture = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise RidError(f"{path}: cannot be read as a picture ({error})") from None
    return _encode(picture, (width, 4 * width))


def amplified(delta: np.ndarray) -> np.ndarray:
    """A unit perturbation as a picture: grey is no change, white and black are the bound."""
    return 0.5 + 0.5 * delta


def _encode(picture: Picture, limit: tuple[int, int]) -> Image:
    import PIL.Image

    picture.thumbnail(limit, PIL.Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
    return Image(buffer.getvalue(), "jpeg", picture.width, picture.height)
