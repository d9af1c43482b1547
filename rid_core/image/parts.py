"""What a photo's file holds beside its pixels, EXIF, XMP and ICC profile: read here, never written.

Each container (JPEG, PNG, WebP, HEIC and AVIF) is walked once, without decoding. Two things come of
it: what is needed to read the pixels right (bits per channel, the colour that stands for
transparency, a description of colour that is no profile), and what is lost when the photo is
written anew. For the latter there is one table, :data:`_LOST`, and one note per thing.

Sources: ITU-T T.81 (JPEG), CIPA DC-007 (further pictures in JPEG), the PNG specification, RFC 9649
(WebP), ISO/IEC 14496-12 and 23008-12 (boxes of HEIC and AVIF).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from mmap import mmap
from typing import NamedTuple

from rid_core.image.colour import CodePoints, GammaAndChromaticities

Data = bytes | mmap


class Piece(NamedTuple):
    """A named stretch of a file: ``data[start:end]`` is its content."""

    name: str
    start: int
    end: int


@dataclass
class Parts:
    """What :func:`read_parts` found.

    Attributes:
        depth: bits per channel, as far as the container says.
        colour: description of colour in the container itself, not in a profile.
        colour_first: whether it counts more than a profile in the same file.
        key: values of the colour that stands for transparency, one for grey or three for RGB, in
            the file's own bit depth; empty if there is none.
        lost: what the photo will lose when it is written anew, one note each.
    """

    depth: int = 8
    colour: CodePoints | GammaAndChromaticities | None = None
    colour_first: bool = False
    key: tuple[int, ...] = ()
    lost: list[str] = field(default_factory=list)


_HDR_MAP = rb"hdrgm[:=]|ns\.adobe\.com/hdr-gain-map|iso:ts:21496|HDRGainMap|hdrgainmap"
_DEPTH_MAP = (
    rb"photos/1\.0/depthmap|photos/dd/1\.0|(?i:disparity|aux:depth|auxiliary:depth|auxid:2)"
)

# Name of the piece, what it holds, what is said. The last lines are for what nobody recognized.
_LOST = [
    (name, re.compile(content, re.DOTALL), note)
    for name, content, note in (
        ("trailer|APP2", _HDR_MAP, "gain map dropped: HDR screens show the plain photo"),
        ("meta", rb"hdrgainmap|infe.{8}tmap", "gain map dropped: HDR screens show the plain photo"),
        ("gmAP|gdAT", b"", "gain map dropped: HDR screens show the plain photo"),
        ("trailer", rb"ftyp(?:mp4|isom|iso\d|qt  |avc|M4V|MSNV|3gp)", "motion video dropped"),
        ("mpvd", b"", "motion video dropped"),
        ("trailer|APP1|meta", _DEPTH_MAP, "depth map dropped"),
        ("trailer|meta", rb"(?i:matte)", "mattes dropped"),
        ("APP1", rb"\Ahttp://ns\.adobe\.com/xmp/extension/\0", "extended XMP dropped"),
        ("APP13", rb"\APhotoshop 3\.0\0", "Photoshop's block dropped, IPTC captions in it too"),
        ("APP11", rb"jumb", "content credentials dropped: the pixels they sign have changed"),
        ("caBX|C2PA", b"", "content credentials dropped: the pixels they sign have changed"),
        ("uuid", rb"\A\xd8\xfe\xc3\xd6\x1b\x0e\x48\x3c",
         "content credentials dropped: the pixels they sign have changed"),
        ("COM", rb"[^\0 ]", "comment dropped"),
        ("tEXt|zTXt|iTXt", rb"\A(?!XML:com\.adobe\.xmp\0)", "text dropped"),
    )
]  # fmt: skip
_UNKNOWN = [
    ("trailer", re.compile(rb"\xff\xd8\xff"), "further pictures dropped"),
    ("trailer", re.compile(rb"[^\0\s]"), "data behind the photo dropped"),
]


def read_parts(kind: str, data: Data) -> Parts:
    """Look through a file.

    Args:
        kind: "JPEG", "PNG", "WEBP", "HEIF", "AVIF"; of any other nothing is known.
        data: the file. Damage ends the walk early: to refuse it is the decoder's task.
    """
    parts = Parts()
    lost: dict[str, None] = {}
    walk = _WALKS.get(kind)
    if walk is None:
        return parts
    try:
        for piece in walk(data):
            _collect(parts, piece, data)
            notes = _notes(_LOST, piece, data) or _notes(_UNKNOWN, piece, data)[:1]
            lost.update(dict.fromkeys(notes))
    except (struct.error, IndexError, ValueError):
        pass
    parts.lost = list(lost)
    return parts


def _notes(table: list[tuple[str, re.Pattern[bytes], str]], piece: Piece, data: Data) -> list[str]:
    return [
        note
        for name, content, note in table
        if re.fullmatch(name, piece.name) and content.search(data[piece.start : piece.end])
    ]


def _collect(parts: Parts, piece: Piece, data: Data) -> None:
    """Keep what is needed to read the pixels."""
    content = data[piece.start : min(piece.end, piece.start + 64)]
    if piece.name == "IHDR":
        parts.depth = content[8]
    elif piece.name == "tRNS" and len(content) in (2, 6):
        parts.key = struct.unpack(f">{len(content) // 2}H", content)
    elif piece.name == "cICP":
        parts.colour = CodePoints(content[0], content[1], full_range=content[3] == 1)
        parts.colour_first = True
    elif piece.name == "sRGB" and not parts.colour_first:
        parts.colour = CodePoints(1, 13)
    elif piece.name in ("gAMA", "cHRM") and not isinstance(parts.colour, CodePoints):
        known = parts.colour or GammaAndChromaticities()
        count = 1 if piece.name == "gAMA" else 8
        values = tuple(value / 100_000 for value in struct.unpack_from(f">{count}I", content))
        if piece.name == "gAMA":
            parts.colour = replace(known, gamma=values[0])
        else:
            parts.colour = replace(known, chromaticities=values)
    elif piece.name == "colr" and content[:4] == b"nclx":
        parts.colour = CodePoints(*struct.unpack_from(">HH", content, 4))
    elif piece.name == "pixi" and content[4]:
        parts.depth = max(content[5 : 5 + content[4]])
    elif piece.name == "av1C" and content[2] & 0x40:
        parts.depth = 12 if content[2] & 0x20 else 10


# -- JPEG ----------------------------------------------------------------------------------------

# In coded data 0xFF is followed by 0 or a restart marker.
_MARKER = re.compile(rb"\xff([\x02-\xcf\xd8-\xfe])")
_APPS = {0xE0 + k: f"APP{k}" for k in range(16)} | {0xFE: "COM"}
_CARRIED = re.compile(rb"Exif\0\0|http://ns\.adobe\.com/xap/1\.0/\0|ICC_PROFILE\0")


def _jpeg(data: Data) -> Iterator[Piece]:
    at = 2
    while (found := _MARKER.search(data, at)) is not None:
        marker = found[1][0]
        if marker == 0xD9:
            yield Piece("trailer", found.end(), len(data))
            return
        at = found.end()
        if marker == 0xD8:
            continue
        length = struct.unpack_from(">H", data, at)[0]
        if marker in _APPS and not _CARRIED.match(data, at + 2):
            yield Piece(_APPS[marker], at + 2, at + length)
        at += length


# -- PNG and WebP --------------------------------------------------------------------------------


def _png(data: Data) -> Iterator[Piece]:
    at, name = 8, b""
    while at + 12 <= len(data) and name != b"IEND":
        length, name = struct.unpack_from(">I4s", data, at)
        yield Piece(name.decode("latin-1"), at + 8, at + 8 + length)
        at += 12 + length
    yield Piece("trailer", at, len(data))


def _webp(data: Data) -> Iterator[Piece]:
    end = 8 + struct.unpack_from("<I", data, 4)[0]
    at = 12
    while at + 8 <= min(end, len(data)):
        name, length = struct.unpack_from("<4sI", data, at)
        yield Piece(name.decode("latin-1"), at + 8, at + 8 + length)
        at += 8 + length + length % 2
    yield Piece("trailer", end + end % 2, len(data))


# -- Boxes of HEIC and AVIF ----------------------------------------------------------------------


def _boxes(data: Data, at: int, end: int) -> Iterator[Piece]:
    while at + 8 <= end:
        length, name = struct.unpack_from(">I4s", data, at)
        start = at + 8
        if length == 1:
            length = struct.unpack_from(">Q", data, start)[0]
            start += 8
        stop = end if length == 0 else at + length
        if stop < start or stop > end:
            raise ValueError("a box that does not fit")
        yield Piece(name.decode("latin-1"), start, stop)
        at = stop


def _bmff(data: Data) -> Iterator[Piece]:
    for box in _boxes(data, 0, len(data)):
        yield box
        if box.name == "meta":
            yield from _primary_properties(data, box)


def _primary_properties(data: Data, meta: Piece) -> Iterator[Piece]:
    """Properties of the main picture: the others (thumbnails, maps) have their own."""
    inside = {box.name: box for box in _boxes(data, meta.start + 4, meta.end)}
    if not {"pitm", "iprp"} <= inside.keys():
        return
    at = inside["pitm"].start
    primary = struct.unpack_from(">I" if data[at] else ">H", data, at + 4)[0]
    container = inside["iprp"]
    properties = {box.name: box for box in _boxes(data, container.start, container.end)}
    known = list(_boxes(data, properties["ipco"].start, properties["ipco"].end))
    for index in _associated(data, properties["ipma"].start, primary):
        if 0 < index <= len(known):
            yield known[index - 1]


def _associated(data: Data, at: int, wanted: int) -> list[int]:
    """Numbers, from 1, of an item's properties, by the ``ipma`` box with its content at ``at``."""
    wide_item, wide_index = data[at] > 0, data[at + 3] & 1
    count = struct.unpack_from(">I", data, at + 4)[0]
    at += 8
    for _ in range(count):
        item = struct.unpack_from(">I" if wide_item else ">H", data, at)[0]
        at += 4 if wide_item else 2
        number = data[at]
        code, mask = (">H", 0x7FFF) if wide_index else (">B", 0x7F)
        size = struct.calcsize(code)
        indices = [
            struct.unpack_from(code, data, at + 1 + size * k)[0] & mask for k in range(number)
        ]
        if item == wanted:
            return indices
        at += 1 + size * number
    return []


_WALKS: dict[str, Callable[[Data], Iterator[Piece]]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "WEBP": _webp,
    "HEIF": _bmff,
    "AVIF": _bmff,
}
