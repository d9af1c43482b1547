"""Colours survive in whatever form they are described.

What a viewer shows of the output is compared with what it shows of the input: colours are computed
here from the original's own description, by formula, and from the output's profile by LittleCMS.
"""

from __future__ import annotations

import dataclasses
import io
import struct

import numpy as np
import pytest
from photo_files import FACE, chunk, png
from PIL import Image, ImageCms

from rid_core.budget import Budget
from rid_core.errors import RidError
from rid_core.image import colour
from rid_core.image import io as photo

D65 = (0.3127, 0.3290)
SRGB = (*D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
P3 = (*D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
BT2020 = (*D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046)
ADOBE = (*D65, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
# Values that stay inside of sRGB, where nothing is clipped: a screen shows no others.
MUTED = (FACE // 3 + 80).astype(np.uint8)


def to_xyz(chromaticities):
    x, y = np.array(chromaticities).reshape(4, 2).T
    columns = np.stack([x / y, np.ones(4), (1 - x - y) / y])
    return columns[:, 1:] * np.linalg.solve(columns[:, 1:], columns[:, 0])


def srgb_decode(v):
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def bt709_decode(v):
    return np.where(v < 0.081243, v / 4.5, ((v + 0.099297) / 1.099297) ** (1 / 0.45))


def shown(pixels, chromaticities, decode):
    """sRGB levels of pixels that are described by D65 primaries and a curve."""
    linear = decode(pixels / 255) @ to_xyz(chromaticities).T @ np.linalg.inv(to_xyz(SRGB)).T
    encoded = np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * np.abs(linear) ** (1 / 2.4) - 0.055
    )
    return 255 * encoded.clip(0, 1)


def shown_by_profile(pixels, icc):
    """The same by LittleCMS, relative colorimetric; without a profile as they are."""
    if not icc:
        return pixels.astype(float)
    source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    image = Image.fromarray(pixels)
    target = ImageCms.createProfile("sRGB")
    return np.asarray(ImageCms.profileToProfile(image, source, target, 1)).astype(float)


def gama(gamma):
    return chunk(b"gAMA", struct.pack(">I", round(gamma * 100_000)))


def chrm(chromaticities):
    return chunk(b"cHRM", struct.pack(">8I", *(round(v * 100_000) for v in chromaticities)))


def cicp(primaries, transfer, full=1):
    return chunk(b"cICP", bytes((primaries, transfer, 0, full)))


DESCRIBED = {
    "cICP Display P3": (cicp(12, 13), P3, srgb_decode),
    "cICP BT.2020": (cicp(9, 14), BT2020, bt709_decode),
    "cICP sRGB": (cicp(1, 13), SRGB, srgb_decode),
    "cICP before an sRGB chunk": (chunk(b"sRGB", b"\0") + cicp(12, 13), P3, srgb_decode),
    "sRGB": (chunk(b"sRGB", b"\0"), SRGB, srgb_decode),
    "sRGB before gAMA": (chunk(b"sRGB", b"\0") + gama(1), SRGB, srgb_decode),
    "linear": (gama(1), SRGB, lambda v: v),
    "gamma 1.8": (gama(1 / 1.8), SRGB, lambda v: v**1.8),
    "Adobe RGB": (gama(1 / 2.2) + chrm(ADOBE), ADOBE, lambda v: v**2.2),
    "chromaticities alone": (chrm(P3), P3, srgb_decode),
    "nothing": (b"", SRGB, srgb_decode),
}


@pytest.mark.parametrize("suffix", [".png", ".webp"])
@pytest.mark.parametrize("name", DESCRIBED)
def test_a_pngs_colours_survive(tmp_path, name, suffix):
    chunks, chromaticities, decode = DESCRIBED[name]
    (tmp_path / "a.png").write_bytes(png(MUTED, 8, 2, chunks))
    original = photo.load(tmp_path / "a.png")
    assert original.notes == ()
    np.testing.assert_array_equal(original.pixels, MUTED)
    unit = np.random.default_rng(0).uniform(-1, 1, MUTED.shape).astype(np.float32)
    protected = Budget(8).apply_uint8(original.pixels, unit)
    photo.save(dataclasses.replace(original, pixels=protected), tmp_path / f"b{suffix}")
    with Image.open(tmp_path / f"b{suffix}") as written:
        pixels, icc = np.asarray(written.convert("RGB")), written.info.get("icc_profile")
    np.testing.assert_array_equal(pixels, protected)  # the perturbation and nothing else
    expected = shown(pixels, chromaticities, decode)
    assert np.abs(shown_by_profile(pixels, icc) - expected).max() < 1.6
    if chromaticities != SRGB:  # without the profile it would have shown
        assert np.abs(pixels - expected).max() > 5


@pytest.mark.parametrize(("kind", "suffix"), [("HEIF", ".heic"), ("AVIF", ".avif")])
@pytest.mark.parametrize(("primaries", "transfer"), [(12, 13), (9, 1), (1, 13)])
def test_code_points_of_heic_and_avif(tmp_path, kind, suffix, primaries, transfer):
    """The same values, described in other words: what is decoded differs by rounding only."""
    pytest.importorskip("pillow_heif")
    path = tmp_path / f"a{suffix}"
    photo.save(photo.Photo(MUTED, format=kind), path, quality=95)
    content = path.read_bytes()
    place = content.index(b"colrnclx") + 8
    described = struct.pack(">HH", primaries, transfer)
    path.write_bytes(content[:place] + described + content[place + 4 :])
    loaded = photo.load(path)
    assert np.abs(loaded.pixels.astype(int) - MUTED).mean() < 3
    chromaticities = {12: P3, 9: BT2020, 1: SRGB}[primaries]
    decode = {13: srgb_decode, 1: bt709_decode}[transfer]
    difference = shown_by_profile(loaded.pixels, loaded.icc) - shown(
        loaded.pixels, chromaticities, decode
    )
    assert np.abs(difference).max() < 1.6
    photo.save(loaded, tmp_path / "b.png")
    assert photo.load(tmp_path / "b.png").icc == loaded.icc


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused_in_one_line(tmp_path, transfer, name):
    (tmp_path / "a.png").write_bytes(png(FACE, 8, 2, cicp(9, transfer)))
    with pytest.raises(RidError, match=f"a.png: {name}, which is for HDR screens; convert it to"):
        photo.load(tmp_path / "a.png")
    photo.save(photo.Photo(FACE), tmp_path / "b.avif")
    content = (tmp_path / "b.avif").read_bytes()
    place = content.index(b"colrnclx") + 8
    described = struct.pack(">HH", 9, transfer)
    (tmp_path / "b.avif").write_bytes(content[:place] + described + content[place + 4 :])
    with pytest.raises(RidError, match=f"{name}, which is for HDR screens"):
        photo.load(tmp_path / "b.avif")


@pytest.mark.parametrize(
    ("chunks", "note"),
    [
        (cicp(1, 13, full=0), "description of colour dropped: values from 16 to 235"),
        (cicp(77, 13), "description of colour dropped: primaries 77, transfer 13"),
        (gama(0), "description of colour dropped: a gamma of 0"),
        (chrm((0,) * 8), "description of colour dropped: chromaticities that are no colours"),
    ],
)
def test_what_cannot_be_described_is_noted(tmp_path, chunks, note):
    (tmp_path / "a.png").write_bytes(png(FACE, 8, 2, chunks))
    loaded = photo.load(tmp_path / "a.png")
    assert loaded.notes == (note,)
    assert loaded.icc == b""


def test_a_profile_of_grey_becomes_one_of_rgb(tmp_path):
    """A grey photo with a gamma of 1.8 in its profile shows the same grey as RGB."""
    whole = bytearray(colour.profile(SRGB, (1.8,)))
    whole[16:20] = b"GRAY"
    grey = bytes(whole).replace(b"rTRC", b"kTRC")
    image = Image.fromarray(MUTED).convert("L")
    image.save(tmp_path / "a.png", icc_profile=grey)
    loaded = photo.load(tmp_path / "a.png")
    assert loaded.notes == ()
    assert loaded.icc[16:20] == b"RGB "
    expected = shown(loaded.pixels, SRGB, lambda v: v**1.8)
    assert np.abs(shown_by_profile(loaded.pixels, loaded.icc) - expected).max() < 1.6


def test_a_profile_of_rgb_stays_byte_for_byte_and_wins_over_older_chunks(tmp_path):
    icc = colour.profile(P3, colour.SRGB_CURVE)
    Image.fromarray(FACE).save(tmp_path / "a.png", icc_profile=icc)
    content = (tmp_path / "a.png").read_bytes()
    place = content.index(b"iCCP") - 4
    (tmp_path / "a.png").write_bytes(content[:place] + gama(1) + content[place:])
    assert photo.load(tmp_path / "a.png").icc == icc


def test_a_profile_that_says_pq_is_refused(tmp_path):
    """Version 4.4 has a tag for H.273's numbers."""
    icc = colour.profile(BT2020, colour.SRGB_CURVE)
    points = b"cicp" + bytes(4) + bytes((9, 16, 0, 1))
    # Put in the place of the copyright, which is of no use here.
    at = icc.index(b"cprt")
    entry = b"cicp" + struct.pack(">II", len(icc), len(points))
    whole = icc[:at] + entry + icc[at + 12 :] + points
    Image.fromarray(FACE).save(tmp_path / "a.png", icc_profile=whole)
    with pytest.raises(RidError, match="PQ, which is for HDR screens"):
        photo.load(tmp_path / "a.png")


@pytest.mark.parametrize("white", [(0.3457, 0.3585), (0.314, 0.351)])
def test_white_stays_white_under_any_white_point(white):
    icc = colour.profile((*white, *P3[2:]), (2.2,))
    levels = np.arange(0, 256, 5, dtype=np.uint8)[:, None, None].repeat(3, axis=2)
    found = shown_by_profile(np.ascontiguousarray(levels), icc)
    assert np.ptp(found, axis=2).max() <= 2
    assert found[-1].min() > 253
