"""Photos in and out: upright 8-bit RGB, and everything beside the pixels that is worth keeping.

Kept: EXIF (orientation applied and reset), the ICC profile byte for byte, XMP, resolution, alpha.
Dropped, because it shows the face unprotected or describes pixels that are gone: thumbnails and
previews in EXIF and XMP, further pictures of a JPEG (gain map, depth map), Photoshop's resources.
"""

from __future__ import annotations

import io
import re
import stat
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
from PIL import Image, features

from rid_core import _avif, _png16, _tiff
from rid_core import exif as exif_block
from rid_core.errors import RidError
from rid_core.files import replacing

MAX_PIXELS = 50_000_000
"""Largest photo that is opened, in pixels; checked on the header, before anything is decoded."""
MIN_SIDE = 64
"""Smallest height and width."""

DEFAULT_QUALITY = 95
"""JPEG, HEIC and AVIF quality where none is asked for; PNG, WebP and TIFF are then lossless."""

FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".heic": "HEIF",
    ".heif": "HEIF",
    ".avif": "AVIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
"""Format by suffix of a file's name, for writing and for finding photos in a folder."""

_READABLE = ("JPEG", "PNG", "WEBP", "TIFF")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis", b"mif1", b"msf1")
_DEEP_MODES = ("I;16", "I;16B")
_PLAIN_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA"}
_EXIF_PREFIX = b"Exif\0\0"
_XMP_KEYWORD = "XML:com.adobe.xmp"
_HEAD = 1 << 16
_STRIP = 256
# What a decoder raises on a damaged file, found by feeding it damaged files.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    OverflowError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo, upright.

    Attributes:
        pixels: uint8 RGB [H, W, 3].
        alpha: uint8 [H, W], 255 opaque, or None.
        format: of the file it came from: a value of ``FORMATS``.
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
    """Read a JPEG, PNG, WebP, TIFF, AVIF or (with pillow-heif) HEIC photo.

    Palettes and grey become RGB. 16 bits per channel become 8, rounded, with a note. Of a
    JPEG or HEIC file with several pictures the main one is read; animations, TIFFs of several pages
    and raw files are refused, and so is CMYK, whose right conversion depends on a printing profile.

    Args:
        path: the file; its format is found by content, not by name.
        strip_gps: leave out GPS data: the GPS directory of EXIF, and XMP as a whole.

    Raises:
        RidError: missing, unreadable, empty, damaged, foreign, animated, under 64 x 64 or over
            ``MAX_PIXELS``.
    """
    path = Path(path)
    try:
        if stat.S_ISFIFO(path.stat().st_mode):
            raise RidError(f"{path}: a pipe; save the photo to a file first")
        handle = path.open("rb")
    except OSError as error:
        raise RidError(f"{path}: cannot be opened ({error.strerror or error})") from None
    with handle, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns where we refuse or note
        head = handle.read(_HEAD)
        handle.seek(0)
        if not head:
            raise RidError(f"{path}: the file is empty")
        image = _open(handle, head, path)
        _check(image, head, path)
        try:
            image.load()
            if image.format == "PNG" and head[24] == 16:
                _png16.round_high_bytes(image, handle)
        except _DAMAGE as error:
            raise RidError(f"{path}: damaged or truncated ({_one_line(error)})") from None
        return _photo(image, head, strip_gps, path)


def save(photo: Photo, path: str | Path, *, quality: int | None = None) -> None:
    """Write a photo, as a whole or not at all; the suffix of ``path`` decides on the format.

    Args:
        photo: what to write.
        path: its suffix is one of ``FORMATS``.
        quality: 1 to 100 for JPEG, WebP, HEIC and AVIF. Without it WebP is lossless and the others
            use ``DEFAULT_QUALITY``. JPEG, HEIC and AVIF keep full colour resolution (4:4:4). PNG
            and TIFF are lossless whatever it says.

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
    buffer = io.BytesIO()
    try:
        # Encoded in memory first: encoders turn a full disk into an error number of their own.
        _image(photo.pixels, alpha).save(buffer, kind, **options)
    except (OSError, ValueError, struct.error) as error:
        raise RidError(
            f"{path}: cannot be written as {kind} ({_one_line(error)}); try .png"
        ) from None
    with replacing(path) as fresh:
        fresh.write_bytes(buffer.getbuffer())


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
        RidError: unknown suffix, or HEIC without the library.
    """
    path = Path(path)
    try:
        kind = FORMATS[path.suffix.lower()]
    except KeyError:
        ending = f"ends in {path.suffix}" if path.suffix else "has no ending"
        raise RidError(f"{path}: {ending}; a photo ends in {', '.join(FORMATS)}") from None
    if kind == "HEIF":
        _register_heif(path)
    if kind == "AVIF" and not features.check("avif"):
        _need_avif(path)
    return kind


def _need_avif(path: Path) -> NoReturn:
    raise RidError(f"{path}: this Pillow knows no AVIF; get one that does: pip install -U pillow")


def _register_heif(path: Path) -> None:
    try:
        import pillow_heif
    except ImportError:
        raise RidError(f"{path}: HEIC needs one more package: pip install pillow-heif") from None
    pillow_heif.register_heif_opener()


def _open(handle: IO[bytes], head: bytes, path: Path) -> Image.Image:
    formats: tuple[str, ...] = _READABLE
    brand = head[8:12] if head[4:8] == b"ftyp" else b""
    avif = brand in _AVIF_BRANDS and features.check("avif")
    if avif:
        formats = (*formats, "AVIF")
    elif brand in _AVIF_BRANDS[:2]:
        _need_avif(path)
    if brand in _HEIF_BRANDS and not (avif and b"avif" in head[12:]):
        _register_heif(path)
        formats = (*formats, "HEIF")
    try:
        return Image.open(handle, formats=formats)
    except Image.DecompressionBombError:
        raise RidError(f"{path}: {_too_large('its header claims more')}") from None
    except _DAMAGE:
        raise RidError(
            f"{path}: no JPEG, PNG, WebP, HEIC, AVIF or TIFF photo, or a damaged one; convert it "
            "first"
        ) from None


def _too_large(size: str) -> str:
    return f"at most {MAX_PIXELS // 1_000_000} megapixels are opened, {size}; scale it down first"


def _check(image: Image.Image, head: bytes, path: Path) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise RidError(f"{path}: {_too_large(f'it has {width} x {height}')}")
    if min(width, height) < MIN_SIDE:
        raise RidError(
            f"{path}: {width} x {height} is too small; a photo has {MIN_SIDE} x {MIN_SIDE} or more"
        )
    # A phone's JPEG often carries a gain or depth map, which Pillow counts as a second frame.
    if image.format in ("PNG", "WEBP", "AVIF") and getattr(image, "is_animated", False):
        raise RidError(f"{path}: animated; save a single frame and protect that")
    if image.format == "TIFF" and (reason := _tiff.refusal(image, head)):
        raise RidError(f"{path}: {reason}")
    if image.format == "AVIF" and (transfer := _avif.colours(head)[1]):
        raise RidError(f"{path}: AVIF in {transfer}, a kind of HDR; convert it to sRGB first")
    if image.mode == "CMYK":
        raise RidError(f"{path}: CMYK, a format for print; convert it to sRGB first")
    if image.mode not in _PLAIN_MODES and image.mode not in _DEEP_MODES:
        raise RidError(f"{path}: pixels of kind {image.mode}; convert it to 8-bit RGB first")


def _photo(image: Image.Image, head: bytes, strip_gps: bool, path: Path) -> Photo:
    info = image.info
    kind = "JPEG" if image.format == "MPO" else str(image.format)
    notes = []
    # The 25th byte of a PNG is its bit depth; pillow-heif says its own.
    depth = head[24] if kind == "PNG" else int(info.get("bit_depth", 8))
    if kind == "TIFF":
        depth = _tiff.depth(image)
        _tiff.complete_info(image)
    if kind == "AVIF":
        depth = _avif.depth(head)
    if depth > 8:
        notes.append(f"{depth} bits per channel became 8")
    raw = bytes(info.get("exif") or b"")
    while raw.startswith(_EXIF_PREFIX):
        raw = raw[len(_EXIF_PREFIX) :]
    orientation = 1
    if raw:
        try:
            orientation = exif_block.orientation(raw)
            raw = exif_block.upright(raw, strip_gps=strip_gps)
        except ValueError as error:
            notes.append(f"EXIF dropped: {error}")
            raw = b""
    xmp, note = _clean_xmp(info.get("xmp") or b"", strip_gps)
    icc = bytes(info.get("icc_profile") or b"")
    if kind == "AVIF" and not icc and (primaries := _avif.colours(head)[0]):
        notes.append(f"colours are {primaries} by a tag that is not kept: they may look paler")
    # Bytes 16 to 20 of a profile name the kind of values it describes; ours are RGB now.
    if icc and icc[16:20] != b"RGB ":
        notes.append(f"ICC profile dropped: it describes {icc[16:20].decode('latin-1').strip()}")
        icc = b""
    try:
        pixels, alpha = _arrays(_to_rgb(image, depth))
    except _DAMAGE as error:
        raise RidError(f"{path}: damaged ({_one_line(error)})") from None
    return Photo(
        pixels=_turn(pixels, orientation),
        alpha=None if alpha is None else _turn(alpha, orientation),
        format=kind,
        exif=raw,
        icc=icc,
        xmp=xmp,
        dpi=_dpi(info.get("dpi"), turned=orientation >= 5),
        notes=(*notes, note) if note else tuple(notes),
    )


def _clean_xmp(xmp: bytes | str, strip_gps: bool) -> tuple[bytes, str]:
    """The packet with its orientation reset, or nothing and perhaps a note."""
    if isinstance(xmp, str):
        xmp = xmp.encode()
    if not xmp or strip_gps:
        return b"", ""
    if b"xmpGImg:image" in xmp or b"GImage:Data" in xmp:
        return b"", "XMP dropped: it holds a picture"
    return re.sub(rb"(tiff:Orientation\s*(?:=\s*[\"']|>)\s*)[2-8]", rb"\g<1>1", xmp), ""


def _dpi(value: Any, *, turned: bool) -> tuple[float, float] | None:
    try:
        horizontal, vertical = (float(v) for v in value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if not (0 < horizontal < 65536 and 0 < vertical < 65536):
        return None
    return (vertical, horizontal) if turned else (horizontal, vertical)


def _to_rgb(image: Image.Image, depth: int) -> Image.Image:
    """To RGB or RGBA; a colour that stands for transparency becomes alpha."""
    key = image.info.get("transparency")
    if image.mode in _DEEP_MODES:
        image = Image.fromarray(
            _png16.to_8_bits(np.asarray(image).astype(np.int32)).astype(np.uint8)
        )
    if key is not None and depth > 8:
        # Pillow leaves the colour in 16 bits beside pixels of 8.
        key = _png16.to_8_bits(key) if isinstance(key, int) else tuple(map(_png16.to_8_bits, key))
    if key is not None:
        image.info["transparency"] = key
    clear = image.mode in ("LA", "PA", "RGBA") or key is not None
    wanted = "RGBA" if clear else "RGB"
    return image if image.mode == wanted else image.convert(wanted)


def _arrays(image: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """Copy the pixels out in strips: asking for all at once holds them three times."""
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    alpha = np.empty((height, width), np.uint8) if image.mode == "RGBA" else None
    for top in range(0, height, _STRIP):
        bottom = min(top + _STRIP, height)
        strip = np.asarray(image.crop((0, top, width, bottom)))
        pixels[top:bottom] = strip[:, :, :3]
        if alpha is not None:
            alpha[top:bottom] = strip[:, :, 3]
    return pixels, alpha


def _turn(array: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation to [H, W] or [H, W, C]."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return np.ascontiguousarray(array)


def _image(pixels: np.ndarray, alpha: np.ndarray | None) -> Image.Image:
    """The reverse of :func:`_arrays`."""
    height, width = pixels.shape[:2]
    image = Image.new("RGB" if alpha is None else "RGBA", (width, height))
    for top in range(0, height, _STRIP):
        strip = pixels[top : top + _STRIP]
        if alpha is not None:
            strip = np.dstack([strip, alpha[top : top + _STRIP]])
        image.paste(Image.fromarray(strip), (0, top))
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
    elif kind == "AVIF":
        # Speed 6, the default, takes six times as long for a file 9 % smaller.
        options.update(quality=lossy, subsampling="4:4:4", speed=10)
    elif kind == "TIFF":
        # Not compressed: Pillow leaves EXIF out of TIFFs that are.
        options["exif"] = _tiff.for_writing(photo.exif, photo.xmp)
    elif kind == "HEIF":
        options.update(quality=lossy, chroma=444)
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


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
