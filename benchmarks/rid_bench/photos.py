"""The photos that are measured on: the export gate's portraits, in 8-bit levels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rid_core.errors import RidError


def gate_photos(resolution: int) -> tuple[list[str], list[np.ndarray]]:
    """Names and uint8 RGB [resolution, resolution, 3] arrays of the bundled portraits."""
    from rid_export.portraits import bundled_portraits

    images = [np.rint(p * 255).astype(np.uint8) for p in bundled_portraits(resolution)]
    return [f"portrait-{number}" for number in range(len(images))], images


def folder_photos(
    folder: Path, resolution: int, limit: int | None = None
) -> tuple[list[str], list[np.ndarray]]:
    """The same of a folder: short side scaled to ``resolution``, centre cropped square.

    Raises:
        RidError: no photos in it, or one that cannot be read.
    """
    from PIL import Image

    from rid_core.image import io as photo

    files = sorted(path for path in folder.glob("*") if path.suffix.lower() in photo.FORMATS)
    if not files:
        raise RidError(f"{folder}: no photos in it")
    names, images = [], []
    for file in files[:limit]:
        picture = Image.fromarray(photo.load(file).pixels)
        scale = resolution / min(picture.size)
        size = [max(resolution, round(side * scale)) for side in picture.size]
        picture = picture.resize((size[0], size[1]), Image.Resampling.LANCZOS)
        left, top = (size[0] - resolution) // 2, (size[1] - resolution) // 2
        picture = picture.crop((left, top, left + resolution, top + resolution))
        names.append(file.name)
        images.append(np.asarray(picture))
    return names, images


def photo_at(resolution: int) -> np.ndarray:
    """The first bundled portrait, uint8 RGB [resolution, resolution, 3]."""
    return gate_photos(resolution)[1][0]


def digest(images: Sequence[np.ndarray]) -> str:
    """SHA-256 over shapes and values."""
    found = hashlib.sha256()
    for image in images:
        found.update(f"{image.dtype}{list(image.shape)}".encode())
        found.update(np.ascontiguousarray(image).tobytes())
    return found.hexdigest()


def synthetic_jpeg(path: Path, megapixels: float) -> tuple[int, int]:
    """Write a 4:3 JPEG of about ``megapixels``, quality 92: a portrait, enlarged.

    Enlarging gives a decoder and an encoder less detail than a camera does; the network's share
    does not depend on it.

    Returns:
        Width and height.
    """
    from PIL import Image

    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    height = round(width * 3 / 4)
    picture = Image.fromarray(photo_at(512)).crop((0, 64, 512, 448))
    # In one go PIL would hold a float copy of the whole; in 8 bits it is small.
    picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    picture.save(path, "JPEG", quality=92)
    return width, height
