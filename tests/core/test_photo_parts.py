"""Metadata never points to what is gone, and nothing goes without a word."""

from __future__ import annotations

import io
import re
import struct
from xml.dom import minidom

import numpy as np
import pytest
from photo_files import FACE, VIDEO, box, chunk, jpeg, png, xmp
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from rid_core.image import io as photo

HDRGM = 'hdrgm:Version="1.0" hdrgm:GainMapMax="2.3"'
CONTAINER = (
    "<Container:Directory><rdf:Seq><rdf:li rdf:parseType='Resource'>"
    "<Container:Item Item:Semantic='Primary' Item:Mime='image/jpeg'/></rdf:li><rdf:li "
    "rdf:parseType='Resource'><Container:Item Item:Semantic='GainMap' Item:Mime='image/jpeg' "
    "Item:Length='5000'/></rdf:li></rdf:Seq></Container:Directory>"
)
MOTION = 'GCamera:MotionPhoto="1" GCamera:MotionPhotoVersion="1" GCamera:MicroVideoOffset="5000"'
ANNOUNCED = re.compile(
    rb"hdrgm|hdr-gain-map|Container:|GainMap|MotionPhoto|MicroVideo|HasExtendedXMP|GDepth|self#"
)


def second_jpeg(packet: bytes) -> bytes:
    return jpeg(FACE[::4, ::4], xmp=packet)


def ultra_hdr(end: bytes = b"") -> bytes:
    """A JPEG with a gain map behind it, as phones write it."""
    gain_map = second_jpeg(xmp(HDRGM))
    return jpeg(
        FACE,
        (0xE2, b"urn:iso:std:iso:ts:21496:-1\0\0\0\0\0"),
        end=gain_map + end,
        xmp=xmp(HDRGM + ' xmp:Rating="5"', CONTAINER),
    )


GAIN_MAP = "gain map dropped: HDR screens show the plain photo"
SIGNED = "content credentials dropped: the pixels they sign have changed"
DROPPED = {
    "gain map": (ultra_hdr(), (GAIN_MAP,)),
    "gain map and motion video": (ultra_hdr(VIDEO), (GAIN_MAP, "motion video dropped")),
    "motion video": (
        jpeg(end=VIDEO, xmp=xmp(MOTION + ' xmp:Rating="5"')),
        ("motion video dropped",),
    ),
    "Samsung's trailer": (
        jpeg(end=b"\0\0\x30\x0aMotionPhoto_Data" + VIDEO + b"SEFT"),
        ("motion video dropped",),
    ),
    "depth map": (
        jpeg(end=second_jpeg(xmp('GDepth:Format="RangeInverse"'))),
        ("depth map dropped",),
    ),
    "further picture": (jpeg(end=second_jpeg(xmp())), ("further pictures dropped",)),
    "something": (jpeg(end=b"secret"), ("data behind the photo dropped",)),
    "padding": (jpeg(end=bytes(64)), ()),
    "extended XMP": (
        jpeg(
            FACE,
            (0xE1, b"http://ns.adobe.com/xmp/extension/\0" + b"A" * 32 + bytes(8) + b"<x/>"),
            xmp=xmp(f'xmpNote:HasExtendedXMP="{"A" * 32}" xmp:Rating="5"'),
        ),
        ("extended XMP dropped",),
    ),
    "Photoshop": (
        jpeg(FACE, (0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\0")),
        ("Photoshop's block dropped, IPTC captions in it too",),
    ),
    "content credentials": (
        jpeg(
            FACE,
            (0xEB, b"JP\0\1\0\0\0\1\0\0\0\x20jumb"),
            xmp=xmp('xmp:provenance="self#jumbf=/c2pa/abc" xmp:Rating="5"'),
        ),
        (SIGNED,),
    ),
    "comment": (jpeg(FACE, (0xFE, b"by me")), ("comment dropped",)),
    "announced and gone already": (jpeg(xmp=xmp(HDRGM + " " + MOTION, CONTAINER)), ()),
    "text of a PNG": (png(FACE, 8, 2, chunk(b"tEXt", b"Title\0me")), ("text dropped",)),
    "signed PNG": (png(FACE, 8, 2, chunk(b"caBX", b"jumb")), (SIGNED,)),
    "cropped PNG": (
        png(FACE, 8, 2, end=b"IDAT of a larger screenshot"),
        ("data behind the photo dropped",),
    ),
}


@pytest.mark.parametrize("name", DROPPED)
def test_what_is_dropped_is_noted_once_and_announced_no_more(tmp_path, name):
    content, notes = DROPPED[name]
    path = tmp_path / ("a.png" if content.startswith(b"\x89") else "a.jpg")
    path.write_bytes(content)
    loaded = photo.load(path)
    assert loaded.notes == notes
    photo.save(loaded, tmp_path / f"b{path.suffix}")
    written = (tmp_path / f"b{path.suffix}").read_bytes()
    assert ANNOUNCED.search(written) is None
    assert b"ftypmp42" not in written
    if b"Rating" in content:
        assert b'xmp:Rating="5"' in loaded.xmp
        minidom.parseString(loaded.xmp)  # with namespaces: well-formed
    again = photo.load(tmp_path / f"b{path.suffix}")
    assert again.notes == ()


def heic(*boxes: bytes) -> bytes:
    pytest.importorskip("pillow_heif")
    import pillow_heif

    pillow_heif.register_heif_opener()
    buffer = io.BytesIO()
    Image.fromarray(FACE).save(buffer, "HEIF", quality=90)
    return buffer.getvalue() + b"".join(boxes)


def test_a_motion_video_in_heic(tmp_path):
    (tmp_path / "a.heic").write_bytes(heic(box(b"mpvd", VIDEO)))
    assert photo.load(tmp_path / "a.heic").notes == ("motion video dropped",)


def test_a_second_picture_in_heic(tmp_path):
    heic()  # registers the writer
    frames = [Image.fromarray(FACE), Image.fromarray(FACE[::-1].copy())]
    frames[0].save(tmp_path / "a.heic", save_all=True, append_images=frames[1:], quality=90)
    loaded = photo.load(tmp_path / "a.heic")
    assert loaded.notes == ("further pictures dropped",)
    assert np.abs(loaded.pixels.astype(int) - FACE).mean() < 8


def test_a_gain_map_in_heic(tmp_path):
    """The property that names an auxiliary picture a gain map, in a list of properties."""
    content = heic()
    place = content.index(b"ipco") - 4
    length = struct.unpack_from(">I", content, place)[0]
    named = box(b"auxC", bytes(4) + b"urn:com:apple:photo:2020:aux:hdrgainmap\0")
    grown = bytearray(content[: place + length] + named + content[place + length :])
    struct.pack_into(">I", grown, place, length + len(named))
    for name in (b"iprp", b"meta"):  # around it
        at = grown.index(name) - 4
        struct.pack_into(">I", grown, at, struct.unpack_from(">I", grown, at)[0] + len(named))
    (tmp_path / "a.heic").write_bytes(_moved(bytes(grown), len(named)))
    assert photo.load(tmp_path / "a.heic").notes == (GAIN_MAP,)


def _moved(content: bytes, by: int) -> bytes:
    """Put right where the picture lies: `iloc` of the writer counts from the file's beginning."""
    at = content.index(b"iloc") + 4
    sizes = struct.unpack_from(">H", content, at + 4)[0]
    assert (sizes >> 12, sizes >> 8 & 15) == (4, 4)
    base = sizes >> 4 & 15
    moved = bytearray(content)
    wide = content[at] > 0
    count = struct.unpack_from(">H", content, at + 6)[0]
    at += 8
    for _ in range(count):
        at += 2 + 2 * wide + 2 + base
        extents = struct.unpack_from(">H", content, at)[0]
        at += 2
        for _ in range(extents):
            offset = struct.unpack_from(">I", content, at)[0]
            struct.pack_into(">I", moved, at, offset + by)
            at += 8
    return bytes(moved)


def test_a_packet_without_anything_of_it_stays_byte_for_byte(tmp_path):
    packet = xmp("xmp:Rating='5'   tiff:Orientation = '1'")
    Image.fromarray(FACE).save(tmp_path / "a.jpg", xmp=packet)
    assert photo.load(tmp_path / "a.jpg").xmp == packet


def test_a_packet_that_is_not_well_formed_goes_with_a_note(tmp_path):
    Image.fromarray(FACE).save(tmp_path / "a.jpg", xmp=xmp()[:-40])
    loaded = photo.load(tmp_path / "a.jpg")
    assert loaded.xmp == b""
    assert loaded.notes[0].startswith("XMP dropped: it is not well-formed")


@pytest.mark.parametrize("declaration", ["<!DOCTYPE x [<!ENTITY a 'b'>]>", ""])
def test_undeclared_prefixes_are_understood_and_entities_refused(tmp_path, declaration):
    packet = (declaration + "<x><y hdrgm:Version='1' tiff:Orientation='6' z='7'/></x>").encode()
    Image.fromarray(FACE).save(tmp_path / "a.jpg", xmp=packet)
    expected = b"" if declaration else b'<x><y tiff:Orientation="1" z="7"/></x>'
    assert photo.load(tmp_path / "a.jpg").xmp == expected


# Orientation and places


def turned_face(orientation: int) -> np.ndarray:
    """How a camera stores FACE so that this orientation makes it upright."""
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    method = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(inverse)
    image = Image.fromarray(FACE)
    return np.asarray(image if method is None else image.transpose(method))


MARK = (60, 40, 30, 50)
"""A region of FACE: left, top, width, height in pixels."""


def stored_region(orientation: int) -> tuple[float, float, float, float]:
    """Where MARK lies in the stored picture: found by looking for it, not by formula."""
    left, top, width, height = MARK
    mask = np.zeros(FACE.shape[:2], np.uint8)
    mask[top : top + height, left : left + width] = 255
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    image = Image.fromarray(mask)
    exif = Image.Exif()
    exif[0x0112] = inverse
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=exif)
    stored = np.asarray(ImageOps.exif_transpose(Image.open(buffer)))
    rows, columns = np.nonzero(stored)
    return (
        columns.min(),
        rows.min(),
        columns.max() + 1 - columns.min(),
        rows.max() + 1 - rows.min(),
    )


def region_xmp(orientation: int, stored: np.ndarray, as_elements: bool = False) -> bytes:
    left, top, width, height = stored_region(orientation)
    h, w = stored.shape[:2]
    values = {
        "x": (left + width / 2) / w,
        "y": (top + height / 2) / h,
        "w": width / w,
        "h": height / h,
        "unit": "normalized",
    }
    if as_elements:
        area = "".join(f"<stArea:{k}>{v}</stArea:{k}>" for k, v in values.items())
        area = f"<mwg-rs:Area rdf:parseType='Resource'>{area}</mwg-rs:Area>"
    else:
        area = "<mwg-rs:Area " + " ".join(f'stArea:{k}="{v}"' for k, v in values.items()) + "/>"
    return xmp(
        f'tiff:Orientation="{orientation}" tiff:ImageWidth="{w}" tiff:ImageLength="{h}"',
        "<mwg-rs:Regions rdf:parseType='Resource'>"
        f"<mwg-rs:AppliedToDimensions stDim:w='{w}' stDim:h='{h}' stDim:unit='pixel'/>"
        "<mwg-rs:RegionList><rdf:Bag><rdf:li rdf:parseType='Resource'>"
        f"<mwg-rs:Name>Ada</mwg-rs:Name>{area}"
        "</rdf:li></rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions>",
    )


def read(packet: bytes, name: str) -> str:
    found = re.search(rf"{name}(?:=[\"']|>)([^\"'<]*)".encode(), packet)
    assert found is not None, packet
    return found[1].decode()


@pytest.mark.parametrize("as_elements", [False, True])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_face_regions_turn_with_the_pixels(tmp_path, orientation, as_elements):
    stored = turned_face(orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    left, top, width, height = stored_region(orientation)
    centre = (left + width // 2, top + height // 2, width, height)
    exif.get_ifd(0x8769)[0x9214] = tuple(int(v) for v in centre)
    packet = region_xmp(orientation, stored, as_elements)
    path = tmp_path / "a.jpg"
    Image.fromarray(stored).save(path, quality=95, exif=exif, xmp=packet)
    loaded = photo.load(path)
    assert np.abs(loaded.pixels.astype(int) - FACE).mean() < 5
    assert loaded.notes == ()
    x, y, w, h = (float(read(loaded.xmp, f"stArea:{k}")) for k in "xywh")
    height, width = FACE.shape[:2]
    found = ((x - w / 2) * width, (y - h / 2) * height, w * width, h * height)
    np.testing.assert_allclose(found, MARK, atol=0.01)
    assert (read(loaded.xmp, "stDim:w"), read(loaded.xmp, "stDim:h")) == ("200", "256")
    assert read(loaded.xmp, "tiff:ImageWidth") == "200"
    assert read(loaded.xmp, "tiff:Orientation") == "1"
    photo.save(loaded, tmp_path / "b.png")
    area = Image.open(tmp_path / "b.png").getexif().get_ifd(0x8769)[0x9214]
    wanted = (MARK[0] + MARK[2] // 2, MARK[1] + MARK[3] // 2, MARK[2], MARK[3])
    np.testing.assert_allclose(area, wanted, atol=1)


def test_regions_that_cannot_be_turned_go_with_a_note(tmp_path):
    stored = turned_face(6)
    exif = Image.Exif()
    exif[0x0112] = 6
    packets = {
        # Written by somebody who saw the photo upright already.
        "a": region_xmp(6, stored).replace(
            b"stDim:w='256' stDim:h='200'", b"stDim:w='200' stDim:h='256'"
        ),
        "b": xmp("", "<MP:RegionInfo><MP:Regions>0.1, 0.2</MP:Regions></MP:RegionInfo>"),
    }
    for name, packet in packets.items():
        Image.fromarray(stored).save(tmp_path / f"{name}.jpg", exif=exif, xmp=packet)
        loaded = photo.load(tmp_path / f"{name}.jpg")
        assert loaded.notes == ("face regions dropped: the photo was turned",)
        assert b"mwg-rs:Area" not in loaded.xmp
        assert b"MP:Reg" not in loaded.xmp
        Image.fromarray(stored).save(tmp_path / f"{name}1.jpg", xmp=packet)  # upright: they stay
        assert b"Region" in photo.load(tmp_path / f"{name}1.jpg").xmp


@pytest.mark.parametrize("order", ["<", ">"])
def test_two_orientation_entries_leave_no_turn_behind(tmp_path, order):
    entries = b"".join(
        struct.pack(order + "HHIHH", *entry)
        for entry in ((0x0112, 3, 1, 6, 0), (0x0112, 3, 1, 8, 0), (0x0112, 1, 1, 0, 0))
    )
    tiff = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "IH", 8, 3) + entries
    Image.fromarray(turned_face(6)).save(tmp_path / "a.png", exif=b"Exif\0\0" + tiff + bytes(4))
    loaded = photo.load(tmp_path / "a.png")
    np.testing.assert_array_equal(loaded.pixels, FACE)
    for k in range(3):
        at = 10 + 12 * k
        assert struct.unpack_from(order + "HHIHH", loaded.exif, at) == (0x0112, 3, 1, 1, 0)


def test_xmp_of_a_png_is_no_lost_text(tmp_path):
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp('xmp:Rating="5"').decode())
    Image.fromarray(FACE).save(tmp_path / "a.png", pnginfo=info)
    loaded = photo.load(tmp_path / "a.png")
    assert loaded.notes == ()
    assert b"Rating" in loaded.xmp
