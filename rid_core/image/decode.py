"""A photo's file to arrays: as they are stored, not turned yet, in 8 bits."""

from __future__ import annotations

import importlib
import mmap
import re
import stat
import struct
import threading
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, features

from rid_core.errors import LowMemoryError, RidError
from rid_core.image import spill, tiff
from rid_core.image.parts import Data, Parts, read_parts

MIN_SIDE = 64
"""Smallest height and width."""

# How a file begins, and the module and class of Pillow that read it. Called directly: what
# Image.open adds is a limit on the size, process-wide and below that of today's cameras.
_READERS = {
    "JPEG": (re.compile(rb"\xff\xd8\xff"), "PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": (re.compile(rb"\x89PNG\r\n\x1a\n"), "PIL.PngImagePlugin", "PngImageFile"),
    "WEBP": (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "PIL.WebPImagePlugin", "WebPImageFile"),
    "AVIF": (re.compile(rb".{4}ftyp(?:avi[fs]|mi[af][f1].{4,}avif)", re.DOTALL),
             "PIL.AvifImagePlugin", "AvifImageFile"),
    "HEIF": (re.compile(rb".{4}ftyp(?:he[iv][cmsx]|mif1|msf1)", re.DOTALL),
             "pillow_heif", "HeifImageFile"),
    "TIFF": (re.compile(rb"II\*\0|MM\0\*"),
             "PIL.TiffImagePlugin", "TiffImageFile"),
}  # fmt: skip
_PLAIN_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "I;16", "I;16B"}
_STRIP = 256
_BROAD_STRIP = 1024
_warnings = threading.Lock()
# What a decoder raises on a damaged file, found by feeding it damaged files.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    IndexError,
    OverflowError,
    RuntimeError,
    struct.error,
    zlib.error,
)


@dataclass(eq=False)
class Decoded:
    """What a file gave.

    Attributes:
        kind: its format, one of Pillow's names.
        size: width and height as stored.
        pixels: uint8 RGB [H, W, 3].
        alpha: uint8 [H, W], 255 opaque, or None.
        info: what Pillow found beside the pixels; ``exif`` of a TIFF file too.
        parts: what we found.
    """

    kind: str
    size: tuple[int, int]
    pixels: np.ndarray
    alpha: np.ndarray | None
    info: dict[str, Any]
    parts: Parts


def decode(path: Path, max_pixels: int) -> Decoded:
    """Read a file; its format is found by content.

    Raises:
        RidError: see :func:`rid_core.image.io.load`.
    """
    try:
        if stat.S_ISFIFO(path.stat().st_mode):
            raise RidError(f"{path}: a pipe; save the photo to a file first")
        handle = path.open("rb")
    except OSError as error:
        raise RidError(f"{path}: cannot be opened ({error.strerror or error})") from None
    with handle:
        head = handle.read(64)
        handle.seek(0)
        if not head:
            raise RidError(f"{path}: the file is empty")
        kind = kind_of(head)
        image = None if kind is None else _open(kind, handle, path)
        if kind is None or image is None:
            raise RidError(
                f"{path}: no JPEG, PNG, WebP, HEIC, AVIF or TIFF photo, or a damaged one; "
                "convert it first"
            )
        _check(image, kind, head, max_pixels, path)
        try:
            with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
                parts = read_parts(kind, data)
                _add_what_pillow_knows(parts, image, kind)
                image.load()
                deep = _deep(image, parts, data, path) if kind == "PNG" else None
            if kind == "TIFF":
                tiff.complete_info(image)
            pixels, alpha = _arrays(image, deep, parts)
        except _DAMAGE as error:
            raise RidError(f"{path}: damaged or truncated ({one_line(error)})") from None
        return Decoded(kind, image.size, pixels, alpha, image.info, parts)


def kind_of(head: bytes) -> str | None:
    """Format of a file by its first 64 bytes; None if it is none that is read."""
    return next((kind for kind, reader in _READERS.items() if reader[0].match(head)), None)


def reader_of(kind: str, path: Path) -> Any:
    """Pillow's class that reads a format; afterwards Pillow can write it too.

    Raises:
        RidError: its library is not installed; ``path`` is named.
    """
    _, module, name = _READERS[kind]
    if kind == "AVIF" and not features.check("avif"):
        raise RidError(
            f"{path}: this Pillow knows no AVIF; get one that does: pip install -U pillow"
        )
    if kind == "HEIF":
        try:
            import pillow_heif
        except ImportError:
            raise RidError(
                f"{path}: HEIC needs one more package: pip install pillow-heif"
            ) from None
        pillow_heif.register_heif_opener()
    return getattr(importlib.import_module(module), name)


def one_line(error: BaseException) -> str:
    """An error's text, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _open(kind: str, handle: IO[bytes], path: Path) -> Any:
    """The header read by Pillow; None if that fails."""
    reader = reader_of(kind, path)
    # Pillow warns where we refuse or note. Filters belong to the process, hence the lock.
    with _warnings, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return reader(handle)
        except Image.DecompressionBombError:
            raise RidError(f"{path}: its header claims too many pixels; scale it down") from None
        except _DAMAGE:
            return None


def _check(image: Any, kind: str, head: bytes, max_pixels: int, path: Path) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise RidError(
            f"{path}: at most {max_pixels // 1_000_000} megapixels are opened, it has "
            f"{width} x {height}; scale it down first"
        )
    if min(width, height) < MIN_SIDE:
        raise RidError(
            f"{path}: {width} x {height} is too small; a photo has {MIN_SIDE} x {MIN_SIDE} or more"
        )
    if kind in ("PNG", "WEBP", "AVIF") and getattr(image, "is_animated", False):
        raise RidError(f"{path}: animated; save a single frame and protect that")
    if kind == "TIFF":
        try:
            reason = tiff.refusal(image, head)
        except _DAMAGE as error:
            raise RidError(f"{path}: damaged or truncated ({one_line(error)})") from None
        if reason:
            raise RidError(f"{path}: {reason}")
    if image.mode == "CMYK":
        raise RidError(f"{path}: CMYK, a format for print; convert it to sRGB first")
    if image.mode not in _PLAIN_MODES:
        raise RidError(f"{path}: pixels of kind {image.mode}; convert it to 8-bit RGB first")
    needed, free = spill.memory_for(width * height), spill.free_memory()
    if free is not None and needed > free:
        raise LowMemoryError(
            f"{path}: {width} x {height} takes {needed // 1_000_000} MB of memory and "
            f"{free // 1_000_000} MB are free; close other programs or scale it down first"
        )


def _add_what_pillow_knows(parts: Parts, image: Any, kind: str) -> None:
    if kind == "HEIF":
        parts.depth = int(image.info.get("bit_depth", 8))
    elif kind == "TIFF":
        parts.depth = tiff.depth(image)
    if kind == "HEIF" and getattr(image, "n_frames", 1) > 1:
        parts.lost.append("further pictures dropped")


def _deep(image: Image.Image, parts: Parts, data: Data, path: Path) -> np.ndarray | None:
    """Colour of 16 bits per channel, uint16 [H, W, 3 or 4] in the order blue, green, red.

    Pillow keeps grey of 16 bits, but of colour the high byte alone: half a level too dark.
    """
    if parts.depth != 16 or image.mode.startswith("I;16"):
        return None
    try:
        import cv2
    except ImportError:
        raise RidError(
            f"{path}: colour of 16 bits per channel needs one more package: "
            "pip install opencv-python-headless"
        ) from None
    found: np.ndarray | None
    try:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        found = None
    if found is None or found.dtype != np.uint16 or found.shape[:2] != (image.height, image.width):
        raise ValueError("16 bits per channel")
    return np.asarray(found)


def _arrays(
    image: Image.Image, deep: np.ndarray | None, parts: Parts
) -> tuple[np.ndarray, np.ndarray | None]:
    """Pixels and alpha, in strips: asking for all at once holds them three times."""
    width, height = image.size
    key: np.ndarray | None = None
    if parts.key and image.mode in ("1", "L", "I;16", "RGB"):
        # Of the 16 bits in the file those count that a channel has; Pillow spreads few over 8.
        top = 2**parts.depth - 1
        key = (np.array(parts.key) & top) * (255 // top if top < 255 else 1)
        image.info.pop("transparency", None)
    clear = key is not None or "transparency" in image.info
    mode = {"1": "L", "P": "RGBA" if clear else "RGB", "PA": "RGBA"}.get(image.mode, image.mode)
    pixels = spill.empty(height, width, 3)
    alpha = spill.empty(height, width) if clear or mode in ("LA", "RGBA") else None
    for start in range(0, height, _STRIP):
        rows = slice(start, min(start + _STRIP, height))
        if deep is not None:
            values = deep[rows][:, :, [2, 1, 0, 3][: deep.shape[2]]]
        else:
            part = image.crop((0, rows.start, width, rows.stop))
            values = np.asarray(part if part.mode == mode else part.convert(mode))
        values = values.reshape(*values.shape[:2], -1)
        if alpha is not None and key is not None:
            alpha[rows] = np.where((values[:, :, : len(key)] == key).all(axis=2), 0, 255)
        elif alpha is not None:
            alpha[rows] = _to_8_bits(values[:, :, -1])
        if values.shape[2] in (2, 4):
            values = values[:, :, :-1]
        pixels[rows] = _to_8_bits(values)
        spill.release(pixels)
    return pixels, alpha


def _to_8_bits(values: np.ndarray) -> np.ndarray:
    """``floor(x * 255 + 0.5)`` of ``x = value / 65535``, in whole numbers; 8 bits stay."""
    if values.dtype == np.uint8:
        return values
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def turn(array: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation to [H, W] or [H, W, C]."""
    if orientation == 1:
        return array
    view = array.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else array
    if orientation in (2, 3, 6, 7):
        view = view[:, ::-1]
    if orientation in (3, 4, 7, 8):
        view = view[::-1]
    result = spill.empty(*view.shape)
    for top in range(0, len(view), _BROAD_STRIP):
        result[top : top + _BROAD_STRIP] = view[top : top + _BROAD_STRIP]
        spill.release(array, result)
    return result
