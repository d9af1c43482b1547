"""TIFF: what is refused, and metadata in and out of the directory that also says how pixels lie."""

from __future__ import annotations

from typing import Any

from PIL import Image

_DNG_VERSION = 0xC612
_SUBFILE_TYPE = 0x00FE
_BITS = 0x0102
_PHOTOMETRIC = 0x0106
_RESOLUTION = 0x011A
_XMP = 0x02BC
_EXIF_IFD = 0x8769
_INTEROP = 0xA005
_DIRECTORIES = (_EXIF_IFD, 0x8825)
# Description, camera, software, date, artist, copyright: the rest says how the pixels lie.
_KEPT = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298)


def rewritten(found: Image.Exif, xmp: bytes = b"") -> bytes:
    """A block of those tags of a TIFF directory that describe the photo, not how its pixels lie.

    Args:
        found: all tags of the directory.
        xmp: a packet to put in beside them.

    Returns:
        EXIF with the ``Exif`` prefix; empty if there is nothing to keep.
    """
    kept = Image.Exif()
    for tag in _KEPT:
        if tag in found:
            kept[tag] = found[tag]
    for tag in _DIRECTORIES:
        if tag in found:
            inner = found.get_ifd(tag)
            kept.get_ifd(tag).update({key: inner[key] for key in inner if key != _INTEROP})
    if xmp:
        kept[_XMP] = xmp
    return kept.tobytes() if xmp or {*_KEPT, *_DIRECTORIES} & set(found) else b""


def complete_info(image: Any) -> None:
    """Put into ``info`` of a loaded TIFF what Pillow has for other formats.

    The EXIF is upright: Pillow has turned the pixels and taken the orientation out.
    """
    image.info["exif"] = rewritten(image.getexif())
    if _RESOLUTION not in image.tag_v2:
        image.info.pop("dpi", None)  # Pillow makes one up


def for_writing(exif: bytes, xmp: bytes) -> bytes:
    """EXIF of any photo, a block without the ``Exif`` prefix, for a TIFF to be written."""
    found = Image.Exif()
    if exif:
        found.load(exif)
    return rewritten(found, xmp)


def refusal(image: Any, head: bytes) -> str | None:
    """Why an opened TIFF is not read, or None."""
    tags = image.tag_v2
    if _DNG_VERSION in tags or tags.get(_SUBFILE_TYPE, 0) & 1 or head[8:10] == b"CR":
        return "a camera's raw file, of which only a preview could be read; convert it first"
    if getattr(image, "n_frames", 1) > 1:
        return "it has several pages; save a single one and protect that"
    if tags.get(_PHOTOMETRIC) == 0 and image.mode.startswith("I;16"):
        return "16 bits that count down to white; convert it to 8-bit RGB first"
    return None


def depth(image: Any) -> int:
    """Bits per channel of an opened TIFF."""
    return max(int(bits) for bits in image.tag_v2.get(_BITS) or (8,))
