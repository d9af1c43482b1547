"""Photos in and out: upright 8-bit RGB, and everything beside the pixels that is worth keeping.

Kept: EXIF (orientation applied and reset), XMP, resolution, alpha, and the description of colour:
an ICC profile byte for byte, any other as an equivalent one (:mod:`rid_core.image.colour`).
Dropped, because it shows the face unprotected or describes pixels that are gone: thumbnails and
previews in EXIF and XMP, further pictures, maps and videos (the list is in
:mod:`rid_core.image.parts`).
Each is noted, but for the thumbnail of EXIF, and XMP announces none of it
(:mod:`rid_core.image.xmp`).
"""

from __future__ import annotations

import struct
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rid_core.errors import RidError
from rid_core.files import replacing
from rid_core.image import colour, spill, tiff, xmp
from rid_core.image import exif as exif_block
from rid_core.image.decode import decode, one_line, reader_of, turn
from rid_core.image.parts import Parts

MAX_PIXELS = 210_000_000
"""Largest photo that is opened, in pixels; checked on the header, before anything is decoded."""
DEFAULT_QUALITY = 95
"""JPEG, HEIC and AVIF quality where none is asked for; the others are then lossless."""

FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".heic": "HEIF",
    ".heif": "HEIF",
    ".avif": "AVIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".jfif": "JPEG",
    ".jpe": "JPEG",
    ".hif": "HEIF",
}
"""Format by suffix of a file's name, for writing and for finding photos in a folder."""

_EXIF_PREFIX = b"Exif\0\0"
_XMP_KEYWORD = "XML:com.adobe.xmp"
_STRIP = 256


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo, upright.

    Attributes:
        pixels: uint8 RGB [H, W, 3].
        alpha: uint8 [H, W], 255 opaque, or None.
        format: of the file it came from: "JPEG", "PNG", "WEBP", "HEIF", "AVIF" or "TIFF".
        exif: EXIF as a TIFF block with orientation 1, or empty.
        icc: ICC profile of the RGB values, or empty.
        xmp: XMP packet, or empty.
        dpi: resolution (horizontal, vertical), or None.
        notes: what could not be kept, one line each, for people.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    format: str = "PNG"
    exif: bytes = b""
    icc: bytes = b""
    xmp: bytes = b""
    dpi: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()


def load(path: str | Path, *, strip_gps: bool = False) -> Photo:
    """Read a JPEG, PNG, WebP, AVIF, TIFF or (with pillow-heif) HEIC photo.

    Palettes and grey become RGB. 16 bits per channel become 8, rounded, with a note. Of a
    file with several pictures the main one is read. Refused are animations, TIFFs of several pages,
    raw files, CMYK, whose right conversion depends on a printing profile, and PQ and HLG, which 8
    bits cannot hold.

    Pixels of a very large photo lie in a nameless file in the system's temporary folder.

    Args:
        path: the file; its format is found by content, not by name.
        strip_gps: leave out GPS data: the GPS directory of EXIF, and XMP as a whole.

    Raises:
        RidError: missing, unreadable, empty, damaged, foreign, animated, under 64 x 64, over
            ``MAX_PIXELS`` or too large for the free memory.
    """
    path = Path(path)
    found = decode(path, MAX_PIXELS)
    info, parts = found.info, found.parts
    notes = []
    if parts.depth > 8:
        notes.append(f"{parts.depth} bits per channel became 8")
    raw = bytes(info.get("exif") or b"")
    while raw.startswith(_EXIF_PREFIX):
        raw = raw[len(_EXIF_PREFIX) :]
    orientation = 1
    if raw:
        try:
            orientation = exif_block.orientation(raw)
            raw = exif_block.upright(raw, found.size, strip_gps=strip_gps)
        except ValueError as error:
            notes.append(f"EXIF dropped: {error}")
            raw = b""
    packet = b"" if strip_gps else info.get("xmp") or b""
    packet = packet.encode() if isinstance(packet, str) else bytes(packet)
    if packet:
        try:
            packet, lost = xmp.clean(packet, orientation, found.size)
            notes += lost
        except ValueError as error:
            notes.append(f"XMP dropped: {one_line(error)}")
            packet = b""
    icc = _profile(bytes(info.get("icc_profile") or b""), parts, notes, path)
    return Photo(
        pixels=turn(found.pixels, orientation),
        alpha=None if found.alpha is None else turn(found.alpha, orientation),
        format=found.kind,
        exif=raw,
        icc=icc,
        xmp=packet,
        dpi=_dpi(info.get("dpi"), turned=orientation >= 5),
        notes=(*notes, *parts.lost),
    )


def save(photo: Photo, path: str | Path, *, quality: int | None = None) -> None:
    """Write a photo, as a whole or not at all; the suffix of ``path`` decides on the format.

    Args:
        photo: what to write.
        path: its ending is one of ``FORMATS``.
        quality: 1 to 100 for JPEG, WebP, HEIC and AVIF. Without it WebP is lossless and the others
            use ``DEFAULT_QUALITY``. They keep full colour resolution (4:4:4). PNG and TIFF are
            lossless whatever it says.

    Raises:
        RidError: unknown suffix, quality out of range, transparency in a JPEG, metadata too large
            for the format, or the file cannot be written.
    """
    path = Path(path)
    kind = format_of(path)
    check_quality(quality)
    alpha = photo.alpha
    if alpha is not None and kind == "JPEG":
        if int(alpha.min()) < 255:
            raise RidError(
                f"{path}: the photo is partly transparent and JPEG cannot hold that; "
                "write .png or .webp"
            )
        alpha = None
    options = _options(photo, kind, quality)
    with replacing(path) as fresh, fresh.open("w+b") as handle:
        # Without the file's number encoders leave writing to Python, which knows a full disk.
        methods = ("write", "read", "seek", "tell", "flush")
        stream: Any = types.SimpleNamespace(**{name: getattr(handle, name) for name in methods})
        try:
            _image(photo.pixels, alpha).save(stream, kind, **options)
        except (OSError, ValueError, RuntimeError, struct.error) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise RidError(
                f"{path}: cannot be written as {kind} ({one_line(error)}); try .png"
            ) from None


def check_quality(quality: int | None) -> None:
    """Refuse a quality that is out of range.

    Raises:
        RidError: not None and not 1 to 100.
    """
    if quality is not None and not 1 <= quality <= 100:
        raise RidError(f"quality must be between 1 and 100, not {quality}")


def format_of(path: str | Path) -> str:
    """Format that :func:`save` writes for this name.

    Raises:
        RidError: unknown suffix, or a format whose library is not installed.
    """
    path = Path(path)
    try:
        kind = FORMATS[path.suffix.lower()]
    except KeyError:
        ending = f"ends in {path.suffix}" if path.suffix else "has no ending"
        raise RidError(f"{path}: {ending}; a photo ends in {', '.join(FORMATS)}") from None
    reader_of(kind, path)
    return kind


def _profile(icc: bytes, parts: Parts, notes: list[str], path: Path) -> bytes:
    """The one description of colour that counts, as a profile."""
    found: list[bytes] = []
    try:
        if icc:
            try:
                found.append(colour.usable_profile(icc))
            except colour.HdrError:
                raise
            except ValueError as error:
                notes.append(f"ICC profile dropped: {error}")
        if parts.colour is not None:
            try:
                found.insert(0 if parts.colour_first else len(found), parts.colour.profile())
            except colour.HdrError:
                raise
            except ValueError as error:
                notes.append(f"description of colour dropped: {error}")
    except colour.HdrError as error:
        raise RidError(
            f"{path}: {error}, which is for HDR screens; convert it to sRGB or Display P3 first"
        ) from None
    return next(filter(None, found), b"")


def _dpi(value: Any, *, turned: bool) -> tuple[float, float] | None:
    try:
        horizontal, vertical = (float(v) for v in value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if not (0 < horizontal < 65536 and 0 < vertical < 65536):
        return None
    return (vertical, horizontal) if turned else (horizontal, vertical)


def _image(pixels: np.ndarray, alpha: np.ndarray | None) -> Image.Image:
    """The reverse of :func:`_arrays`."""
    height, width = pixels.shape[:2]
    image = Image.new("RGB" if alpha is None else "RGBA", (width, height))
    for top in range(0, height, _STRIP):
        strip = pixels[top : top + _STRIP]
        if alpha is not None:
            strip = np.dstack([strip, alpha[top : top + _STRIP]])
        image.paste(Image.fromarray(strip), (0, top))
        spill.release(pixels)
    return image


def _options(photo: Photo, kind: str, quality: int | None) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if photo.icc:
        options["icc_profile"] = photo.icc
    if photo.exif:
        options["exif"] = _EXIF_PREFIX + photo.exif
    if photo.dpi and kind in ("JPEG", "PNG", "TIFF"):
        options["dpi"] = photo.dpi
    if photo.xmp and kind not in ("PNG", "TIFF"):
        options["xmp"] = photo.xmp
    lossy = quality or DEFAULT_QUALITY
    if kind == "JPEG":
        options.update(quality=lossy, subsampling=0)
    elif kind == "HEIF":
        options.update(quality=lossy, chroma=444)
    elif kind == "AVIF":
        # Speed 6, the default, takes six times as long for a file 9 % smaller.
        options.update(quality=lossy, subsampling="4:4:4", speed=10)
    elif kind == "TIFF":
        # Not compressed: Pillow leaves EXIF out of TIFFs that are.
        options["exif"] = tiff.for_writing(photo.exif, photo.xmp)
    elif kind == "WEBP":
        # Lossless, quality and method are effort: this one takes 2 s for 12 megapixels, the default
        # 6 s for a file 1 % smaller. exact keeps colours under full transparency: the bound is
        # promised for every pixel.
        options.update(lossless=quality is None, quality=quality or 20, exact=True)
        options.update(method=1 if quality is None else 4)
    else:
        # Level 3 takes a third of the default's time, for a file 12 % larger.
        options.update(compress_level=3, **_png_xmp(photo.xmp))
    return options


def _png_xmp(xmp: bytes) -> dict[str, Any]:
    if not xmp:
        return {}
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    chunks.add_itxt(_XMP_KEYWORD, xmp.decode("utf-8", "replace"))
    return {"pnginfo": chunks}
