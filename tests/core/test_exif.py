"""EXIF edited in place: what must go goes, and every other byte stays where it was."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rid_core.image import exif

JPEG = b"\xff\xd8\xff\xe0 the face, unprotected \xff\xd9"
SECRET = b"48 51 29 N"
SIZE = (4032, 3024)


def block(
    order: str = "<",
    *,
    turn: int = 6,
    note: bytes = b"maker's note",
    thumbnail: bytes = JPEG,
) -> bytes:
    """An EXIF block as a camera writes it: IFD0, Exif, GPS, then the thumbnail's IFD1."""
    data = bytearray({"<": b"II*\0", ">": b"MM\0*"}[order])

    def directory(entries, following=0):
        out = bytearray(struct.pack(order + "H", len(entries)))
        for tag, kind, count, value in entries:
            out += struct.pack(order + "HHI", tag, kind, count)
            if isinstance(value, bytes):
                out += value.ljust(4, b"\0")
            else:
                out += struct.pack(order + ("Hxx" if kind == 3 else "I"), value)
        return bytes(out + struct.pack(order + "I", following))

    main_at, details_at, gps_at, second_at, pool = 8, 200, 300, 400, 500
    values = {"make": b"Camera Works\0", "note": note, "gps": SECRET, "thumb": thumbnail}
    place = {}
    for name, value in values.items():
        place[name] = pool
        pool += len(value) + len(value) % 2
    main = [
        (0x0100, 4, 1, 4032),
        (0x0101, 4, 1, 3024),
        (0x010F, 2, len(values["make"]), place["make"]),
        (0x0112, 3, 1, turn),
        (0x8769, 4, 1, details_at),
        (0x8825, 4, 1, gps_at),
    ]
    inner = [
        (0x927C, 7, len(note), place["note"]),
        (0xA002, 3, 1, 4032),
        (0xA003, 3, 1, 3024),
    ]
    gps = [(0x0001, 2, 2, b"N\0"), (0x0002, 7, len(SECRET), place["gps"])]
    second = [(0x0201, 4, 1, place["thumb"]), (0x0202, 4, 1, len(thumbnail))]
    data += struct.pack(order + "I", main_at)
    for at, part in (
        (main_at, directory(main, second_at)),
        (details_at, directory(inner)),
        (gps_at, directory(gps)),
        (second_at, directory(second)),
    ):
        data = data.ljust(at, b"\0") + part
    data = data.ljust(500, b"\0")
    for name, value in values.items():
        data = data.ljust(place[name], b"\0") + value
    return bytes(data)


def parsed(tiff: bytes) -> Image.Exif:
    """Read by somebody else."""
    result = Image.Exif()
    result.load(b"Exif\0\0" + tiff)
    return result


@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_is_read_and_reset(order):
    tiff = block(order)
    assert exif.orientation(tiff) == 6
    fixed = exif.upright(tiff, SIZE)
    assert exif.orientation(fixed) == 1
    assert parsed(fixed)[0x0112] == 1
    assert len(fixed) == len(tiff)


@pytest.mark.parametrize(
    ("turn", "size"), [(1, (4032, 3024)), (3, (4032, 3024)), (6, (3024, 4032))]
)
def test_a_quarter_turn_swaps_the_stored_dimensions(turn, size):
    tags = parsed(exif.upright(block(turn=turn), SIZE))
    details = tags.get_ifd(0x8769)
    assert (tags[0x0100], tags[0x0101]) == size
    assert (details[0xA002], details[0xA003]) == size


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_thumbnail_is_gone_and_nothing_else(order):
    tiff = block(order, turn=1)
    fixed = exif.upright(tiff, SIZE)
    assert b"face" in tiff
    assert b"face" not in fixed
    tags = parsed(fixed)
    assert not tags.get_ifd(1)
    assert tags[0x010F] == "Camera Works"
    assert tags.get_ifd(0x8769)[0x927C] == b"maker's note"
    assert tags.get_ifd(0x8825)[2] == SECRET
    # Byte for byte: only the link to the thumbnail, its directory and its data changed.
    changed = [k for k, (a, b) in enumerate(zip(tiff, fixed, strict=True)) if a != b]
    thumbnail = tiff.index(JPEG)
    assert all(
        k in range(82, 86) or k in range(400, 430) or thumbnail <= k < thumbnail + len(JPEG)
        for k in changed
    ), changed


@pytest.mark.parametrize("order", ["<", ">"])
def test_gps_is_gone_and_nothing_else(order):
    fixed = exif.upright(block(order), SIZE, strip_gps=True)
    assert SECRET not in fixed
    tags = parsed(fixed)
    assert 0x8825 not in tags
    assert tags[0x010F] == "Camera Works"
    assert tags[0x0112] == 1
    assert tags.get_ifd(0x8769)[0x927C] == b"maker's note"
    assert SECRET in exif.upright(block(order), SIZE)


def test_two_gps_directories_both_go():
    tiff = bytearray(block())
    entry = tiff.index(struct.pack("<HHI", 0x010F, 2, 13))
    tiff[entry : entry + 12] = struct.pack("<HHII", 0x8825, 4, 1, 300)
    assert 0x8825 not in parsed(exif.upright(bytes(tiff), SIZE, strip_gps=True))


def test_a_preview_in_the_makers_note_is_blanked():
    fixed = exif.upright(block(note=b"header" + JPEG), SIZE)
    assert b"face" not in fixed
    assert parsed(fixed)[0x010F] == "Camera Works"


def test_a_picture_in_an_unknown_place_is_refused():
    with pytest.raises(ValueError, match="holds a picture"):
        exif.upright(block() + JPEG, SIZE)


@pytest.mark.parametrize("turn", [0, 9, 65535])
def test_an_invalid_orientation_counts_as_upright(turn):
    assert exif.orientation(block(turn=turn)) == 1
    assert parsed(exif.upright(block(turn=turn), SIZE))[0x0112] == 1


def test_a_value_that_reaches_past_the_end_does_not_cost_the_rest():
    tiff = bytearray(block())
    entry = tiff.index(struct.pack("<HHI", 0x010F, 2, 13))
    struct.pack_into("<I", tiff, entry + 4, 10**9)
    assert exif.orientation(bytes(tiff)) == 6
    assert exif.orientation(exif.upright(bytes(tiff), SIZE)) == 1


@pytest.mark.parametrize("tiff", [b"", b"II*\0", b"PK\3\4 no TIFF", b"II*\0\xff\xff\xff\xff"])
def test_damage_is_a_value_error(tiff):
    with pytest.raises(ValueError):  # noqa: PT011 the texts differ
        exif.upright(tiff, SIZE)


def test_parts_that_overlap_are_refused():
    tiff = bytearray(block())
    entry = tiff.index(struct.pack("<HHI", 0x8825, 4, 1))
    struct.pack_into("<I", tiff, entry + 8, 8)  # the GPS directory is the main one
    with pytest.raises(ValueError, match=r"overlap|cannot be found"):
        exif.upright(bytes(tiff), SIZE, strip_gps=True)


def test_a_pointer_to_nowhere_is_refused():
    tiff = bytearray(block())
    entry = tiff.index(struct.pack("<HHI", 0x8769, 4, 1))
    struct.pack_into("<I", tiff, entry + 4, 0)
    with pytest.raises(ValueError, match="0x8769 points to 0 places"):
        exif.upright(bytes(tiff), SIZE)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_no_damage_raises_anything_else(data):
    tiff = bytearray(block(data.draw(st.sampled_from("<>"))))
    for _ in range(data.draw(st.integers(1, 6))):
        tiff[data.draw(st.integers(0, len(tiff) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(tiff[: data.draw(st.integers(0, len(tiff)))])
    try:
        fixed = exif.upright(damaged, SIZE, strip_gps=True)
    except ValueError:
        return
    assert len(fixed) == len(damaged)
    assert JPEG[:3] not in fixed
    assert exif.orientation(fixed) == 1


def test_pillows_own_exif():
    """A block that somebody else wrote."""
    tags = Image.Exif()
    tags[0x0112] = 8
    tags[0x010F] = "Camera Works"
    tags.get_ifd(0x8825)[1] = "N"
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG", exif=tags)
    raw = Image.open(buffer).info["exif"][6:]
    assert exif.orientation(raw) == 8
    fixed = parsed(exif.upright(raw, SIZE, strip_gps=True))
    assert dict(fixed) == {0x0112: 1, 0x010F: "Camera Works"}
