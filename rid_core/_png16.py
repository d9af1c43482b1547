"""PNG files of 16 bits per channel, rounded to 8: Pillow alone cuts the low byte off."""

from __future__ import annotations

from typing import IO, Any

import numpy as np
from PIL import Image

_STRIP = 256
_LOW = {"LA;16B": "RGBA", "RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L"}


def to_8_bits(value: Any) -> Any:
    """``floor(x * 255 + 0.5)`` of ``x = value / 65535``, in whole numbers.

    >>> to_8_bits(0xFFFF), to_8_bits(128), to_8_bits(129)
    (255, 0, 1)
    """
    return (value + 128) // 257


def round_high_bytes(image: Image.Image, handle: IO[bytes]) -> None:
    """Round a loaded 16-bit PNG, in place.

    Of colour and alpha Pillow keeps the high byte, which is half a level too dark on average. The
    same rows decoded once more, as something else of the same width, give the low one. Plain grey
    (mode I;16) is kept whole by Pillow and left as it is.

    Args:
        image: what Pillow made of the file.
        handle: the file.
    """
    if image.mode == "I;16":
        return
    handle.seek(0)
    other: Any = Image.open(handle, formats=("PNG",))
    grey = other.tile[0].args == "LA;16B"
    other.tile = [part._replace(args=_LOW[part.args]) for part in other.tile]
    other.load()
    for top in range(0, image.height, _STRIP):
        box = (0, top, image.width, min(top + _STRIP, image.height))
        high = np.asarray(image.crop(box)).astype(np.int16)
        low = np.asarray(other.crop(box))
        rest = (low[:, :, [1, 1, 1, 3]] if grey else low) - high
        # (256 high + low) / 257 = high + (low - high) / 257
        rounded = high + (rest > 128) - (rest < -128)
        image.paste(Image.fromarray(rounded.astype(np.uint8)), box)
