"""EXIF edited in place: every byte that need not change stays where it is.

Reading EXIF into a dictionary and writing it out again moves its parts, and camera makers' notes
hold offsets that then point nowhere. So values are patched where they lie.

An EXIF block is a small TIFF file: a byte order, then directories (IFDs) of 12-byte entries
(tag, type, count, value or offset to it), each followed by the offset of the next directory.
Tags and types: CIPA DC-008 (Exif 2.32) and TIFF 6.0.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_ORIENTATION = 0x0112
_EXIF_IFD = 0x8769
_GPS_IFD = 0x8825
_MAKER_NOTE = 0x927C
_PLACES = (0x9214, 0xA214)  # SubjectArea, SubjectLocation: pixels before the turn
_DIMENSIONS = ((0x0100, 0x0101), (0xA002, 0xA003))  # (width, height) of the main image
_DATA = ((0x0201, 0x0202), (0x0111, 0x0117))  # (offsets, byte counts) of a thumbnail
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_JPEG = b"\xff\xd8\xff"


@dataclass(frozen=True)
class _Entry:
    """An entry of a directory; ``at`` is its own place, ``value_at`` that of its value."""

    at: int
    tag: int
    kind: int
    count: int
    value_at: int
    size: int


class _Tiff:
    """A TIFF block that is read and patched in place; raises ValueError where it is damaged."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        self.order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(data[:4]), "")
        if not self.order:
            raise ValueError("no TIFF header")

    def get(self, code: str, at: int) -> int:
        if at < 0 or at + struct.calcsize(code) > len(self.data):
            raise ValueError("an offset points outside")
        return int(struct.unpack_from(self.order + code, self.data, at)[0])

    def put(self, code: str, at: int, value: int) -> None:
        try:
            struct.pack_into(self.order + code, self.data, at, value)
        except struct.error:  # directories that overlap change under our hands
            raise ValueError("its parts overlap") from None

    def blank(self, at: int, size: int) -> None:
        end = min(at + size, len(self.data))
        self.data[at:end] = bytes(max(end - at, 0))

    def entries(self, directory: int) -> Iterator[_Entry]:
        """Sound entries of a directory, in order."""
        for k in range(self.get("H", directory)):
            at = directory + 2 + 12 * k
            kind, count = self.get("H", at + 2), self.get("I", at + 4)
            size = _SIZES.get(kind, 1) * count
            value_at = at + 8 if size <= 4 else self.get("I", at + 8)
            # A value that reaches past the end is one that nobody can read: left as it is.
            if value_at + size <= len(self.data):
                yield _Entry(at, self.get("H", at), kind, count, value_at, size)

    def find_all(self, directory: int, *tags: int) -> list[_Entry]:
        return [entry for entry in self.entries(directory) if entry.tag in tags]

    def find(self, directory: int, tag: int) -> _Entry | None:
        return next(iter(self.find_all(directory, tag)), None)

    def next_at(self, directory: int) -> int:
        return directory + 2 + 12 * self.get("H", directory)

    def numbers(self, entry: _Entry) -> list[int]:
        code = {1: "B", 3: "H", 4: "I", 13: "I"}.get(entry.kind)
        if code is None:
            raise ValueError(f"tag {entry.tag:#x} has type {entry.kind}")
        return [self.get(code, entry.value_at + k * _SIZES[entry.kind]) for k in range(entry.count)]

    def pointer(self, entry: _Entry) -> int:
        places = self.numbers(entry)
        if len(places) != 1:
            raise ValueError(f"tag {entry.tag:#x} points to {len(places)} places")
        return places[0]

    def remove(self, directory: int, entry: _Entry) -> None:
        """Take an entry out and close the gap; the directory ends 12 bytes earlier."""
        end = self.next_at(directory) + 4
        self.data[entry.at : end - 12] = self.data[entry.at + 12 : end]
        self.blank(end - 12, 12)
        self.put("H", directory, self.get("H", directory) - 1)


def orientation(exif: bytes) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none or an invalid one, the first of several.

    Args:
        exif: a TIFF block, without the ``Exif`` prefix of JPEG.

    Raises:
        ValueError: damaged.
    """
    tiff = _Tiff(exif)
    entry = tiff.find(tiff.get("I", 4), _ORIENTATION)
    if entry is None or entry.count != 1 or entry.kind not in (1, 3, 4):
        return 1
    value = tiff.numbers(entry)[0]
    return value if 1 <= value <= 8 else 1


def turned(x: float, y: float, size: tuple[float, float], orientation: int) -> tuple[float, float]:
    """Where a place of the stored picture lies in the upright one.

    >>> turned(1, 2, (10, 20), 6)
    (18, 1)

    Args:
        x: from the left, 0 to the width.
        y: from the top, 0 to the height.
        size: width and height of the stored picture.
        orientation: EXIF orientation, 1 to 8.
    """
    width, height = size
    if orientation in (5, 6, 7, 8):
        x, y, width, height = y, x, height, width
    if orientation in (2, 3, 6, 7):
        x = width - x
    if orientation in (3, 4, 7, 8):
        y = height - y
    return x, y


def upright(exif: bytes, size: tuple[int, int], *, strip_gps: bool = False) -> bytes:
    """EXIF for the protected photo, which is upright already.

    Every orientation becomes 1, the subject's area turns with the pixels, and stored dimensions are
    swapped if it was a quarter turn. Pictures inside (the thumbnail, previews in a maker's note)
    are removed: they show the unprotected face.

    Args:
        exif: a TIFF block, without the ``Exif`` prefix of JPEG.
        size: width and height of the stored picture, before it was turned.
        strip_gps: remove the GPS directory too.

    Raises:
        ValueError: damaged, or it holds a picture in a place that is not understood.
    """
    turn = orientation(exif)
    tiff = _Tiff(exif)
    main = tiff.get("I", 4)
    for entry in tiff.find_all(main, _ORIENTATION):
        # Whatever type and count it had: one short number.
        for code, offset, value in (("H", 2, 3), ("I", 4, 1), ("I", 8, 0), ("H", 8, 1)):
            tiff.put(code, entry.at + offset, value)
    link = tiff.find(main, _EXIF_IFD)
    details = tiff.pointer(link) if link is not None else None
    if details is not None:
        for entry in tiff.find_all(details, *_PLACES):
            _turn_place(tiff, entry, size, turn)
    if turn >= 5:
        for directory in (main, details):
            if directory is not None:
                _swap_dimensions(tiff, directory)
    _remove_thumbnail(tiff, main)
    if strip_gps:
        _remove_gps(tiff, main)
    if _JPEG in tiff.data and details is not None:
        note = tiff.find(details, _MAKER_NOTE)
        if note is not None and _JPEG in tiff.data[note.value_at : note.value_at + note.size]:
            tiff.blank(note.value_at, note.size)
    if _JPEG in tiff.data:
        raise ValueError("it holds a picture")
    return bytes(tiff.data)


def _turn_place(tiff: _Tiff, entry: _Entry, size: tuple[int, int], turn: int) -> None:
    """Turn a place: x and y, perhaps with a diameter or with width and height."""
    if turn == 1 or entry.kind != 3 or not 2 <= entry.count <= 4:
        return
    x, y, *extent = tiff.numbers(entry)
    x, y = (int(v) for v in turned(x, y, (size[0] - 1, size[1] - 1), turn))
    if turn >= 5:
        extent.reverse()
    for k, value in enumerate((x, y, *extent)):
        tiff.put("H", entry.value_at + 2 * k, min(max(value, 0), 0xFFFF))


def _swap_dimensions(tiff: _Tiff, directory: int) -> None:
    for tags in _DIMENSIONS:
        width, height = (tiff.find(directory, tag) for tag in tags)
        if width is None or height is None or width.count != 1 or height.count != 1:
            continue
        values = tiff.numbers(width)[0], tiff.numbers(height)[0]
        if max(values) <= 0xFFFF or width.kind == height.kind:
            for entry, value in zip((height, width), values, strict=True):
                tiff.put("H" if entry.kind == 3 else "I", entry.value_at, value)


def _remove_thumbnail(tiff: _Tiff, main: int) -> None:
    link = tiff.next_at(main)
    # Some writers leave the link out where the block ends with the directory.
    directory = tiff.get("I", link) if link + 4 <= len(tiff.data) else 0
    if not 0 < directory < len(tiff.data) - 2:
        return
    for offsets, sizes in _DATA:
        places, counts = tiff.find(directory, offsets), tiff.find(directory, sizes)
        if places is not None and counts is not None:
            for at, size in zip(tiff.numbers(places), tiff.numbers(counts), strict=False):
                tiff.blank(at, size)
    _blank_directory(tiff, directory)
    tiff.put("I", link, 0)


def _remove_gps(tiff: _Tiff, main: int) -> None:
    while (link := tiff.find(main, _GPS_IFD)) is not None:
        _blank_directory(tiff, tiff.pointer(link))
        tiff.remove(main, link)
    tags = [tiff.get("H", main + 2 + 12 * k) for k in range(tiff.get("H", main))]
    if _GPS_IFD in tags:
        raise ValueError("its GPS directory cannot be found")


def _blank_directory(tiff: _Tiff, directory: int) -> None:
    end = tiff.next_at(directory)
    for entry in list(tiff.entries(directory)):
        tiff.blank(entry.value_at, entry.size)
    tiff.blank(directory, end - directory)
