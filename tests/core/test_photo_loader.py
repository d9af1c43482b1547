"""One loader: training and evaluation see a photo as rid-protect does, in every kind of file."""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from photo_files import FACE, chunk, png
from PIL import Image, ImageOps

from rid_core.data import list_portraits, load_rgb
from rid_core.errors import RidError
from rid_core.image import decode
from rid_core.image import io as photo
from rid_core.training import terms


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def deep(colour: int, channels: int) -> bytes:
    values = np.random.default_rng(1).integers(0, 65536, (*FACE.shape[:2], channels))
    return png(values, 16, colour)


def write_all(folder: Path) -> dict[str, Path]:
    """A photo of each kind."""
    image = Image.fromarray(FACE)
    paths = {}
    for k in range(1, 9):
        paths[f"EXIF {k}"] = folder / f"exif{k}.jpg"
        image.save(paths[f"EXIF {k}"], exif=exif(k), quality=95)
    for name, colour, channels in (
        ("grey", 0, 1), ("RGB", 2, 3), ("grey and alpha", 4, 2), ("RGB and alpha", 6, 4)
    ):  # fmt: skip
        paths[f"16 bit {name}"] = folder / f"deep{colour}.png"
        paths[f"16 bit {name}"].write_bytes(deep(colour, channels))
    paths["palette"] = folder / "palette.png"
    image.convert("P").save(paths["palette"])
    paths["grey"] = folder / "grey.jpe"
    image.convert("L").save(paths["grey"], "JPEG")
    paths["jfif"] = folder / "b.jfif"
    image.save(paths["jfif"], "JPEG", exif=exif(6))
    paths["webp"] = folder / "c.webp"
    image.save(paths["webp"], exif=exif(8))
    for suffix in (".heic", ".avif", ".tif", ".tiff", ".hif"):
        paths[suffix] = folder / f"d{suffix}"
        photo.save(photo.Photo(FACE), paths[suffix])
    turned = folder / "turned.tif"
    image.save(turned, exif=exif(6))
    return {**paths, "turned TIFF": turned}


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory) -> dict[str, Path]:
    pytest.importorskip("pillow_heif")
    return write_all(tmp_path_factory.mktemp("kinds"))


def test_training_and_evaluation_load_what_is_protected(every_kind):
    for name, path in every_kind.items():
        pixels = photo.load(path).pixels
        np.testing.assert_array_equal(np.asarray(load_rgb(path)), pixels, err_msg=name)
        as_tensor = np.moveaxis(pixels, 2, 0)[None] / np.float32(255)
        np.testing.assert_array_equal(terms.read_target(path).numpy(), as_tensor)


def test_the_pixels_are_the_right_ones(every_kind):
    """Not only the same everywhere: upright, and not nearly white."""
    for k in range(1, 9):
        path = every_kind[f"EXIF {k}"]
        expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))
        np.testing.assert_array_equal(np.asarray(load_rgb(path)), expected)
    for name in (".heic", ".avif", ".tif", ".tiff", ".hif"):
        assert np.abs(np.asarray(load_rgb(every_kind[name])).astype(int) - FACE).mean() < 3
    upright = np.asarray(Image.fromarray(FACE).transpose(Image.Transpose.ROTATE_270))
    np.testing.assert_array_equal(np.asarray(load_rgb(every_kind["turned TIFF"])), upright)
    grey = np.random.default_rng(1).integers(0, 65536, (*FACE.shape[:2], 1))
    found = np.asarray(load_rgb(every_kind["16 bit grey"]))
    np.testing.assert_array_equal(found, np.floor(grey / 257 + 0.5).repeat(3, axis=2))


def test_every_kind_is_found_in_a_folder(every_kind):
    folder = every_kind["grey"].parent
    assert set(list_portraits(folder, [])) == set(every_kind.values())


def test_scaling_goes_by_the_upright_short_side(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(FACE).save(path, exif=exif(6))
    assert load_rgb(path, 100).size == (128, 100)


def test_what_cannot_be_protected_cannot_be_trained_on(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no photo")
    with pytest.raises(RidError, match=r"a\.jpg: no JPEG"):
        load_rgb(tmp_path / "a.jpg")


# Transparency by colour


@pytest.mark.parametrize(
    ("depth", "colour"), [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (8, 2), (16, 2)]
)
def test_a_transparent_colour_is_compared_in_the_files_own_depth(tmp_path, depth, colour):
    """All values of a channel beside the one that is transparent, and its nearest neighbours."""
    channels = 1 if colour == 0 else 3
    top = 2**depth - 1
    key = np.array([top // 3, top // 5, top // 2][:channels])
    rng = np.random.default_rng(depth)
    values = rng.integers(0, top + 1, (64, 64, channels))
    values[::2] = key
    values[::3] = (key + rng.integers(-1, 2, values[::3].shape)).clip(0, top)
    stored = key | (0xFF00 if depth == 8 and colour == 2 else 0)  # bits that do not count
    extra = chunk(b"tRNS", struct.pack(f">{channels}H", *stored))
    (tmp_path / "a.png").write_bytes(png(values, depth, colour, extra))
    loaded = photo.load(tmp_path / "a.png")
    clear = (values == key).all(axis=2)
    assert 0 < clear.mean() < 1
    np.testing.assert_array_equal(loaded.alpha, np.where(clear, 0, 255))
    scaled = np.floor(values / top * 255 + 0.5).astype(np.uint8)
    np.testing.assert_array_equal(loaded.pixels, np.broadcast_to(scaled, loaded.pixels.shape))


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("entries", [1, 2])
def test_a_palettes_transparency_is_by_entry(tmp_path, depth, entries):
    """Two entries are two bytes, as many as a transparent grey has."""
    count = 2**depth
    palette = np.random.default_rng(0).integers(0, 256, (count, 3), dtype=np.uint8)
    alpha = np.full(count, 255)
    alpha[:entries] = (0, 100)[:entries]
    values = np.random.default_rng(1).integers(0, count, (64, 64, 1))
    extra = chunk(b"PLTE", palette.tobytes()) + chunk(b"tRNS", bytes(alpha[:entries].tolist()))
    (tmp_path / "a.png").write_bytes(png(values, depth, 3, extra))
    loaded = photo.load(tmp_path / "a.png")
    np.testing.assert_array_equal(loaded.pixels, palette[values[:, :, 0]])
    np.testing.assert_array_equal(loaded.alpha, alpha[values[:, :, 0]])


def test_colour_of_16_bits_names_the_package_that_it_needs(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(deep(2, 3))
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(RidError, match="pip install opencv-python-headless"):
        photo.load(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(deep(0, 1))  # grey needs none
    assert photo.load(tmp_path / "b.png").notes == ("16 bits per channel became 8",)


def test_damage_in_16_bits_is_one_line(tmp_path):
    content = bytearray(deep(2, 3))
    content[len(content) // 2] ^= 255
    (tmp_path / "a.png").write_bytes(bytes(content))
    with pytest.raises(RidError, match="damaged or truncated"):
        photo.load(tmp_path / "a.png")


# Sizes


def blank_png(width: int, height: int) -> bytes:
    """A valid grey PNG of one bit, a few kilobytes whatever its size."""
    row = b"\0" + bytes((width + 7) // 8)
    packer = zlib.compressobj(1)
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("width", "height"), [(8160, 6144), (8192, 6144), (12000, 9000), (16320, 12240), (16384, 12288)]
)
def test_sizes_of_todays_cameras_pass_the_header(tmp_path, monkeypatch, width, height):
    """50, 108 and 200 megapixels: refused neither by us nor by Pillow's own limit."""
    (tmp_path / "a.png").write_bytes(blank_png(width, height))

    class Reached(Exception):
        pass

    def stop(*_):
        raise Reached

    monkeypatch.setattr(decode, "read_parts", stop)
    with pytest.raises(Reached):
        photo.load(tmp_path / "a.png")


def test_a_lack_of_memory_is_said_before_decoding(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(blank_png(16320, 12240))
    monkeypatch.setattr(decode.spill, "free_memory", lambda: 500_000_000)
    with pytest.raises(RidError, match=r"16320 x 12240 takes 899 MB of memory and 500 MB are free"):
        photo.load(tmp_path / "a.png")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_on_the_disk_is_the_same_photo(tmp_path, monkeypatch, orientation):
    path = tmp_path / "a.png"
    Image.fromarray(FACE).save(path, exif=exif(orientation))
    in_memory = photo.load(path).pixels
    monkeypatch.setattr(decode.spill, "LARGE", 1000)
    monkeypatch.setattr(decode, "_BROAD_STRIP", 64)
    spilled = photo.load(path)
    assert isinstance(spilled.pixels, np.memmap)
    assert not isinstance(in_memory, np.memmap)
    np.testing.assert_array_equal(spilled.pixels, in_memory)
    photo.save(spilled, tmp_path / "b.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "b.png")), in_memory)


def test_no_room_on_the_disk_is_one_line(tmp_path, monkeypatch):
    Image.fromarray(FACE).save(tmp_path / "a.png")
    monkeypatch.setattr(decode.spill, "LARGE", 1000)
    monkeypatch.setattr(decode.spill.tempfile, "tempdir", "/dev/full/none")
    with pytest.raises(RidError, match=r"needs 0 MB in the temporary folder .*set TMPDIR"):
        photo.load(tmp_path / "a.png")
