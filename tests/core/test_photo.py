"""Photos in and out: pixels upright, metadata kept, nothing leaked, bad files refused."""

from __future__ import annotations

import builtins
import contextlib
import dataclasses
import errno
import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo
from skimage import data

from rid_core.errors import RidError
from rid_core.image import io as photo

FACE = data.astronaut()[:256, 100:300]  # [256, 200, 3]
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description tiff:Orientation="6" '
    b'exif:GPSLatitude="48,51.29N" xmp:Rating="5"/></rdf:RDF></x:xmpmeta>'
)


def camera_exif(orientation=6):
    tags = Image.Exif()
    tags[0x0112] = orientation
    tags[0x010F] = "Camera Works"
    tags.get_ifd(0x8769)[0x9286] = b"a comment"
    tags.get_ifd(0x8825)[1] = "N"
    tags.get_ifd(0x8825)[2] = (48.0, 51.0, 29.0)
    return tags


def written(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    body = name + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def png16(pixels: np.ndarray, colour: int, extra: bytes = b"") -> bytes:
    """A PNG of 16 bits per channel; Pillow writes none in colour."""
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, -1).astype(">u2")
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", zlib.compress(raw))
        + chunk(b"IEND", b"")
    )


# Pixels


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_a_lossless_round_trip_changes_nothing(tmp_path, suffix):
    alpha = np.random.default_rng(0).integers(0, 256, FACE.shape[:2], dtype=np.uint8)
    alpha[:50] = 0  # colours under full transparency count too
    original = photo.Photo(FACE, alpha, icc=ICC, exif=b"", xmp=XMP)
    photo.save(original, tmp_path / f"out{suffix}")
    back = photo.load(tmp_path / f"out{suffix}")
    np.testing.assert_array_equal(back.pixels, FACE)
    np.testing.assert_array_equal(back.alpha, alpha)
    assert back.icc == ICC
    assert back.notes == ()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_applied(tmp_path, orientation):
    path = written(tmp_path / "a.png", Image.fromarray(FACE), exif=camera_exif(orientation))
    loaded = photo.load(path)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    np.testing.assert_array_equal(loaded.pixels, expected)
    assert loaded.pixels.flags.c_contiguous
    photo.save(loaded, tmp_path / "b.png")
    again = Image.open(tmp_path / "b.png")
    assert again.getexif()[0x0112] == 1
    np.testing.assert_array_equal(np.asarray(ImageOps.exif_transpose(again)), expected)


def test_alpha_is_turned_with_the_pixels(tmp_path):
    rgba = np.dstack([FACE, FACE[:, :, 0]])
    loaded = photo.load(written(tmp_path / "a.png", Image.fromarray(rgba), exif=camera_exif(6)))
    np.testing.assert_array_equal(loaded.alpha, loaded.pixels[:, :, 0])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_modes_become_rgb(tmp_path, mode):
    image = Image.fromarray(FACE).convert(mode)
    loaded = photo.load(written(tmp_path / "a.png", image))
    assert loaded.pixels.shape == FACE.shape
    np.testing.assert_array_equal(loaded.pixels, np.asarray(image.convert("RGB")))
    assert (loaded.alpha is not None) == (mode in ("LA", "RGBA"))


@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
def test_a_transparent_colour_becomes_alpha(tmp_path, mode):
    image = Image.fromarray(np.full((64, 64, 3), 200, np.uint8)).convert(mode)
    key = image.getpixel((0, 0))
    image.paste(0, (0, 0, 10, 10))
    loaded = photo.load(written(tmp_path / "a.png", image, transparency=key))
    assert loaded.alpha[5, 5] == 255
    assert loaded.alpha[30, 30] == 0


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bits_become_8_rounded_with_a_note(tmp_path, colour, channels):
    """All 65,536 values, in more than one strip."""
    deep = np.random.default_rng(0).permutation(65536)[: 512 * 128].reshape(512, 128)
    deep = np.stack([np.roll(deep, k, 0) for k in range(channels)], axis=2)
    (tmp_path / "a.png").write_bytes(png16(deep, colour))
    loaded = photo.load(tmp_path / "a.png")
    rounded = np.floor(deep / 65535 * 255 + 0.5).astype(np.uint8)
    np.testing.assert_array_equal(
        loaded.pixels, rounded[:, :, :3] if channels >= 3 else rounded[:, :, :1].repeat(3, 2)
    )
    if channels in (2, 4):
        np.testing.assert_array_equal(loaded.alpha, rounded[:, :, -1])
    assert loaded.notes == ("16 bits per channel became 8",)


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3)])
def test_a_transparent_colour_in_16_bits(tmp_path, colour, channels):
    deep = np.full((64, 64, channels), 0x12F4)  # rounds up
    deep[:10] = 0xFFFF
    key = chunk(b"tRNS", struct.pack(">H", 0x12F4) * channels)
    (tmp_path / "a.png").write_bytes(png16(deep, colour, key))
    loaded = photo.load(tmp_path / "a.png")
    assert loaded.alpha[5, 5] == 255
    assert loaded.alpha[30, 30] == 0


# Metadata


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_metadata_is_kept(tmp_path, suffix):
    source = written(
        tmp_path / "a.jpg",
        Image.fromarray(FACE),
        exif=camera_exif(),
        icc_profile=ICC,
        xmp=XMP,
        dpi=(300, 200),
    )
    loaded = photo.load(source)
    photo.save(loaded, tmp_path / f"b{suffix}")
    back = Image.open(tmp_path / f"b{suffix}")
    back.load()
    assert back.info["icc_profile"] == ICC
    tags = back.getexif()
    assert tags[0x010F] == "Camera Works"
    assert tags[0x0112] == 1
    assert tags.get_ifd(0x8769)[0x9286] == b"a comment"
    assert tags.get_ifd(0x8825)[2] == (48.0, 51.0, 29.0)
    xmp = back.info["xmp"]
    assert xmp == XMP.replace(b'Orientation="6"', b'Orientation="1"')
    if suffix != ".webp":
        assert back.info["dpi"] == pytest.approx((200, 300), abs=0.1)  # turned with the photo


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_strip_gps(tmp_path, suffix):
    source = written(
        tmp_path / f"a{suffix}", Image.fromarray(FACE), exif=camera_exif(), **with_xmp(suffix)
    )
    assert photo.load(source).xmp
    photo.save(photo.load(source, strip_gps=True), tmp_path / f"b{suffix}")
    back = Image.open(tmp_path / f"b{suffix}")
    back.load()
    tags = back.getexif()
    assert 0x8825 not in tags
    assert tags[0x010F] == "Camera Works"
    assert "xmp" not in back.info
    assert b"48,51.29N" not in (tmp_path / f"b{suffix}").read_bytes()


def with_xmp(suffix):
    if suffix != ".png":
        return {"xmp": XMP}
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", XMP.decode())
    return {"pnginfo": info}


def test_pictures_in_xmp_are_dropped(tmp_path):
    packet = XMP.replace(b"<rdf:RDF>", b"<rdf:RDF><xmpGImg:image>/9j/4AAQ</xmpGImg:image>")
    loaded = photo.load(written(tmp_path / "a.jpg", Image.fromarray(FACE), xmp=packet))
    assert b"/9j/4AAQ" not in loaded.xmp
    assert b'xmp:Rating="5"' in loaded.xmp
    assert loaded.notes == ("picture in XMP dropped",)


def test_an_icc_profile_of_other_colours_is_dropped(tmp_path):
    grey = ICC[:16] + b"GRAY" + ICC[20:]
    path = written(tmp_path / "a.png", Image.fromarray(FACE).convert("L"), icc_profile=grey)
    loaded = photo.load(path)
    assert loaded.icc == b""
    assert loaded.notes == ("ICC profile dropped: it describes GRAY",)


def test_damaged_exif_is_dropped_with_a_note(tmp_path):
    path = written(tmp_path / "a.png", Image.fromarray(FACE), exif=b"Exif\0\0not a TIFF")
    loaded = photo.load(path)
    assert loaded.exif == b""
    assert loaded.notes == ("EXIF dropped: no TIFF header",)
    np.testing.assert_array_equal(loaded.pixels, FACE)


def test_exif_of_64_kilobytes(tmp_path):
    """The most that a JPEG holds goes through; more is an error that names a way out."""
    tags = camera_exif()
    tags.get_ifd(0x8769)[0x9286] = bytes(64_000)
    path = written(tmp_path / "a.jpg", Image.fromarray(FACE), exif=tags)
    photo.save(photo.load(path), tmp_path / "b.jpg")
    assert len(Image.open(tmp_path / "b.jpg").getexif().get_ifd(0x8769)[0x9286]) == 64_000
    tags.get_ifd(0x8769)[0x9286] = bytes(70_000)
    large = photo.load(written(tmp_path / "c.png", Image.fromarray(FACE), exif=tags))
    photo.save(large, tmp_path / "c2.png")
    with pytest.raises(RidError, match=r"cannot be written as JPEG \(EXIF.*; try \.png"):
        photo.save(large, tmp_path / "c.jpg")
    assert not (tmp_path / "c.jpg").exists()


def test_a_phones_jpeg_with_a_second_picture_is_a_photo(tmp_path):
    """Gain and depth maps are further frames; they go, the photo stays."""
    path = tmp_path / "a.jpg"
    frames = [Image.fromarray(FACE), Image.fromarray(FACE[::2, ::2])]
    frames[0].save(path, "MPO", save_all=True, append_images=frames[1:], quality=95)
    assert Image.open(path).n_frames == 2
    loaded = photo.load(path)
    assert loaded.format == "JPEG"
    assert loaded.pixels.shape == FACE.shape
    photo.save(loaded, tmp_path / "b.jpg")
    assert Image.open(tmp_path / "b.jpg").format == "JPEG"


# Formats


def test_jpeg_keeps_full_colour_resolution_and_asks_for_quality(tmp_path):
    sizes = []
    for name, quality in (("a.jpg", None), ("b.JPEG", 95), ("c.jpg", 60)):
        photo.save(photo.Photo(FACE), tmp_path / name, quality=quality)
        image = Image.open(tmp_path / name)
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3
        sizes.append((tmp_path / name).stat().st_size)
    assert sizes[0] == sizes[1] > 1.5 * sizes[2]


def test_webp_is_lossless_unless_a_quality_is_asked_for(tmp_path):
    photo.save(photo.Photo(FACE), tmp_path / "a.webp")
    photo.save(photo.Photo(FACE), tmp_path / "b.webp", quality=80)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.webp")), FACE)
    assert (tmp_path / "b.webp").stat().st_size < 0.4 * (tmp_path / "a.webp").stat().st_size


def test_transparency_in_jpeg_is_refused_and_opaque_alpha_is_not(tmp_path):
    alpha = np.full(FACE.shape[:2], 255, np.uint8)
    photo.save(photo.Photo(FACE, alpha), tmp_path / "a.jpg")
    alpha[3, 3] = 254
    with pytest.raises(RidError, match=r"partly transparent.*write \.png or \.webp"):
        photo.save(photo.Photo(FACE, alpha), tmp_path / "b.jpg")


@pytest.mark.parametrize("quality", [0, -1, 101])
def test_quality_out_of_range(tmp_path, quality):
    with pytest.raises(RidError, match="quality must be between 1 and 100"):
        photo.save(photo.Photo(FACE), tmp_path / "a.jpg", quality=quality)


@pytest.mark.parametrize("name", ["a.bmp", "a", "a.exe"])
def test_unknown_suffix(tmp_path, name):
    with pytest.raises(RidError, match=r"a photo ends in \.jpg, \.jpeg, \.png"):
        photo.save(photo.Photo(FACE), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_heic_without_the_library_names_it(tmp_path, monkeypatch):
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name == "pillow_heif":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    with pytest.raises(RidError, match="pip install pillow-heif"):
        photo.load(tmp_path / "a.heic")
    with pytest.raises(RidError, match="pip install pillow-heif"):
        photo.save(photo.Photo(FACE), tmp_path / "b.heic")


def test_heic_with_the_library(tmp_path):
    pytest.importorskip("pillow_heif")
    original = photo.load(
        written(
            tmp_path / "a.jpg",
            Image.fromarray(FACE),
            exif=camera_exif(),
            icc_profile=ICC,
            xmp=XMP,
            quality=95,
        )
    )
    photo.save(original, tmp_path / "b.heic")
    back = photo.load(tmp_path / "b.heic")
    assert back.format == "HEIF"
    assert back.pixels.shape == original.pixels.shape == (200, 256, 3)
    assert np.abs(back.pixels.astype(int) - original.pixels).mean() < 3
    assert back.icc == ICC
    assert back.exif == original.exif
    assert b'Orientation="1"' in back.xmp
    # As a phone writes it: the turn is stated in the file and in EXIF.
    Image.fromarray(FACE).save(tmp_path / "c.heic", exif=camera_exif().tobytes())
    assert photo.load(tmp_path / "c.heic").pixels.shape == (200, 256, 3)


# Bad files


def jpeg_bytes():
    buffer = io.BytesIO()
    Image.fromarray(FACE).save(buffer, "JPEG", exif=camera_exif(), icc_profile=ICC, xmp=XMP)
    return buffer.getvalue()


def png_bytes():
    buffer = io.BytesIO()
    Image.fromarray(FACE).save(buffer, "PNG", exif=camera_exif(), icc_profile=ICC)
    return buffer.getvalue()


def webp_bytes():
    buffer = io.BytesIO()
    Image.fromarray(FACE).save(buffer, "WEBP", exif=camera_exif(), icc_profile=ICC, xmp=XMP)
    return buffer.getvalue()


def bomb():
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99)))


def animated(kind):
    buffer = io.BytesIO()
    frames = [Image.fromarray(FACE), Image.fromarray(FACE[::-1].copy())]
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def of_mode(mode, kind, size=(80, 80)):
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, kind)
    return buffer.getvalue()


BAD = {
    "empty": (b"", "the file is empty"),
    "text": (b"hello, I am no photo", "no JPEG, PNG, WebP, HEIC, AVIF or TIFF photo"),
    "zip": (b"PK\3\4" + bytes(1000), "no JPEG, PNG, WebP, HEIC, AVIF or TIFF photo"),
    "gif": (of_mode("P", "GIF"), "no JPEG, PNG, WebP, HEIC, AVIF or TIFF photo"),
    "header only": (jpeg_bytes()[:20], "no JPEG, PNG, WebP, HEIC, AVIF or TIFF photo"),
    "truncated jpeg": (jpeg_bytes()[:-4000], "damaged or truncated"),
    "truncated png": (png_bytes()[:-9000], "damaged or truncated"),
    "truncated webp": (webp_bytes()[:-2000], "damaged"),
    "flipped png": (
        (lambda b: b[: len(b) // 2] + bytes([b[len(b) // 2] ^ 255]) + b[len(b) // 2 + 1 :])(
            png_bytes()
        ),
        "damaged or truncated",
    ),
    "bomb": (bomb(), "at most 210 megapixels are opened"),
    "small": (of_mode("RGB", "PNG", (63, 200)), "63 x 200 is too small"),
    "cmyk": (of_mode("CMYK", "JPEG"), "CMYK, a format for print; convert it to sRGB first"),
    "apng": (animated("PNG"), "animated; save a single frame"),
    "animated webp": (animated("WEBP"), "animated; save a single frame"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_in_one_line(tmp_path, name):
    content, text = BAD[name]
    path = tmp_path / "bad.jpg"
    path.write_bytes(content)
    with pytest.raises(RidError, match=text) as caught:
        photo.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_size_is_checked_before_anything_is_decoded(tmp_path, monkeypatch):
    path = written(tmp_path / "a.png", Image.fromarray(FACE))
    assert photo.load(path).pixels.shape == FACE.shape
    monkeypatch.setattr(photo, "MAX_PIXELS", 50_000)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(RidError, match="it has 200 x 256; scale it down first"):
        photo.load(path)


@pytest.mark.parametrize("name", ["missing.jpg", "."])
def test_what_cannot_be_opened(tmp_path, name):
    with pytest.raises(RidError, match=r"cannot be opened \((No such file|Is a directory)"):
        photo.load(tmp_path / name)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_no_damage_raises_anything_else(tmp_path_factory, kind):
    whole = {"JPEG": jpeg_bytes(), "PNG": png_bytes(), "WEBP": webp_bytes()}[kind]
    path = tmp_path_factory.mktemp("fuzz") / "a"

    @given(st.data())
    @settings(max_examples=60, deadline=None)
    def damaged(data):
        content = bytearray(whole)
        end = len(content) - 1
        for _ in range(data.draw(st.integers(1, 8))):
            # Most of the structure is at the beginning.
            place = data.draw(st.one_of(st.integers(0, min(1500, end)), st.integers(0, end)))
            content[place] = data.draw(st.integers(0, 255))
        path.write_bytes(bytes(content[: data.draw(st.integers(end // 2, end + 1))]))
        with contextlib.suppress(RidError):
            assert photo.load(path).pixels.dtype == np.uint8

    damaged()


# Writing


@pytest.mark.parametrize(
    ("number", "text"), [(errno.ENOSPC, "no space left"), (errno.EACCES, "permission denied")]
)
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, number, text):
    target = tmp_path / "a.png"
    target.write_bytes(b"old")

    class Full(io.FileIO):
        def write(self, content):
            if self.tell() > 1000:
                raise OSError(number, os.strerror(number))
            return super().write(content)

    monkeypatch.setattr(Path, "open", lambda self, mode: Full(self, mode.replace("b", "")))
    with pytest.raises(RidError, match=text):
        photo.save(photo.Photo(FACE), target)
    monkeypatch.undo()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_an_unwritable_folder(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RidError, match="cannot write"):
        photo.save(photo.Photo(FACE), tmp_path / "file" / "a.png")


def test_a_side_that_webp_cannot_hold(tmp_path):
    wide = photo.Photo(np.zeros((64, 17000, 3), np.uint8))
    with pytest.raises(RidError, match=r"cannot be written as WEBP .*; try \.png"):
        photo.save(wide, tmp_path / "a.webp")
    photo.save(wide, tmp_path / "a.png")


def test_a_photo_can_be_derived():
    derived = dataclasses.replace(photo.Photo(FACE, icc=ICC), pixels=FACE[:100])
    assert derived.icc == ICC
