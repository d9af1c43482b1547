"""Every kind of photo that is known to break apps, made by code, small, each with its outcome.

A :class:`Situation` is a file and what ``rid-protect`` has to make of it. Nothing here depends on
what the product says: expected pixels come from how the file was made, expected words from the
issue that asked for them.
"""

from __future__ import annotations

import functools
import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources

import numpy as np
from containers import (
    SIGNATURE,
    chunk,
    encoded,
    patched,
    png,
    segment,
    tiff_block,
    with_chunk,
    with_nclx,
    with_segments,
    xmp,
    xmp_segment,
)
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

WIDTH, HEIGHT = 80, 96


@functools.cache
def face() -> np.ndarray:
    """The stored pixels of most situations: uint8 RGB [96, 80, 3]."""
    file = resources.files("rid_core") / "assets" / "portraits" / "astronaut.jpg"
    with Image.open(io.BytesIO(file.read_bytes())) as image:
        return np.asarray(image.convert("RGB").resize((WIDTH, HEIGHT)))


def picture(mode: str = "RGB") -> Image.Image:
    return Image.fromarray(face()).convert(mode)


def grey() -> np.ndarray:
    """uint8 [96, 80]."""
    return np.asarray(picture("L"))


def as_rgb(levels: np.ndarray) -> np.ndarray:
    return np.repeat(levels[:, :, None], 3, 2).astype(np.uint8)


def decoded(data: bytes) -> np.ndarray:
    """What Pillow decodes: right for the stored values of lossy files."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Upright pixels of stored ones, written out from table 6 of Exif 2.32 case by case."""
    return {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: np.swapaxes(a, 0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),
        8: lambda a: np.rot90(a, 1),
    }[orientation](pixels)


@dataclass(frozen=True)
class Situation:
    """A file and what is to become of it.

    Attributes:
        file: its name.
        make: its bytes.
        pixels: upright RGB that the photo shows, of the file's bytes; None if it is refused.
        refused: words of the error; empty if the photo is protected.
        notes: words of a note that has to be given; empty if there must be none.
        alpha: transparency that is to be kept, [H, W]; None without one.
        colours: the file says its colours in a way that must not be lost unsaid.
        either: refusing it, with these words, is as good as protecting it with a note.
        levels_off: how far decoders may differ.
        missing: bytes that no output may hold.
    """

    file: str
    make: Callable[[], bytes]
    pixels: Callable[[bytes], np.ndarray] | None = decoded
    refused: str = ""
    notes: str = ""
    alpha: Callable[[], np.ndarray] | None = None
    colours: bool = False
    either: str = ""
    levels_off: int = 0
    missing: tuple[bytes, ...] = ()


def refused(file: str, make: Callable[[], bytes], words: str) -> Situation:
    return Situation(file, make, None, refused=words)


FOREIGN = "no JPEG, PNG, WebP, HEIC, AVIF or TIFF photo"
DAMAGED = "damaged"


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    tags[0x010F] = "Camera Works"
    tags.get_ifd(0x8769)[0x9286] = b"a comment"
    tags.get_ifd(0x8825)[1] = "N"
    return tags


def icc(kind: str = "sRGB") -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(kind)).tobytes()


@functools.cache
def heif(**options: object) -> bytes:
    import pillow_heif

    pillow_heif.register_heif_opener()
    return encoded(picture(), "HEIF", quality=90, **dict(options))


@functools.cache
def avif(**options: object) -> bytes:
    return encoded(picture(), "AVIF", quality=90, speed=10, **dict(options))


@functools.cache
def jpeg(**options: object) -> bytes:
    return encoded(picture(), "JPEG", quality=90, **dict(options))


def plain_png(**options: object) -> bytes:
    return encoded(picture(), "PNG", **options)


def orientations() -> Iterator[Situation]:
    for value in range(1, 9):
        yield Situation(
            f"exif-{value}.jpg",
            lambda value=value: encoded(picture(), "JPEG", exif=exif(value)),
            lambda data, value=value: turned(decoded(data), value),
        )
    for value in (0, 9, 255):
        yield Situation(
            f"exif-{value}-is-none.jpg",
            lambda value=value: encoded(picture(), "JPEG", exif=exif(value)),
        )
    yield Situation(
        "exif-6.png",
        lambda: plain_png(exif=exif(6)),
        lambda _: turned(face(), 6),
    )
    yield Situation(
        "exif-5.webp",
        lambda: encoded(picture(), "WEBP", lossless=True, exif=exif(5)),
        lambda _: turned(face(), 5),
    )
    yield Situation(
        "exif-8.tif",
        lambda: encoded(picture(), "TIFF", exif=exif(8).tobytes()),
        lambda _: turned(face(), 8),
    )
    yield Situation(
        "irot.avif",
        lambda: avif(exif=exif(6).tobytes()),
        lambda data: turned(decoded(data), 6),
        levels_off=1,
    )
    yield Situation("irot.heic", lambda: heif(exif=exif(6).tobytes()), levels_off=1)
    for order in "<>":
        two = tiff_block((0x0112, 3, 1, 6), (0x0112, 3, 1, 6), order=order)
        yield Situation(
            f"exif-twice-{'little' if order == '<' else 'big'}-endian.jpg",
            lambda two=two: with_segments(jpeg(), segment(0xE1, b"Exif\0\0" + two)),
            lambda data: turned(decoded(data), 6),
        )


def modes() -> Iterator[Situation]:
    for mode in ("1", "L", "P", "RGB"):
        yield Situation(f"mode-{mode}.png", lambda mode=mode: encoded(picture(mode), "PNG"))
    for mode in ("LA", "RGBA"):
        yield Situation(
            f"mode-{mode}.png",
            lambda mode=mode: encoded(with_alpha(mode), "PNG"),
            lambda _, mode=mode: np.asarray(picture(mode[:-1]).convert("RGB")),
            alpha=ramp,
        )
    for depth in (1, 2, 4, 8, 16):
        yield Situation(
            f"grey-{depth}-bits.png",
            lambda depth=depth: png(grey_of(depth), depth, 0),
            lambda _, depth=depth: as_rgb(in_8_bits(grey_of(depth), depth)),
            notes="16 bits per channel became 8" if depth == 16 else "",
        )
        yield Situation(
            f"grey-{depth}-bits-trns.png",
            lambda depth=depth: png(
                grey_of(depth), depth, 0, chunk(b"tRNS", struct.pack(">H", key_of(depth)))
            ),
            lambda _, depth=depth: as_rgb(in_8_bits(grey_of(depth), depth)),
            notes="16 bits per channel became 8" if depth == 16 else "",
            alpha=lambda depth=depth: np.where(grey_of(depth) == key_of(depth), 0, 255),
        )
    for depth in (8, 16):
        yield Situation(
            f"rgb-{depth}-bits-trns.png",
            lambda depth=depth: png(
                rgb_of(depth), depth, 2, chunk(b"tRNS", struct.pack(">3H", *rgb_key(depth)))
            ),
            lambda _, depth=depth: in_8_bits(rgb_of(depth), depth),
            notes="16 bits per channel became 8" if depth == 16 else "",
            alpha=lambda depth=depth: np.where(
                (rgb_of(depth) == np.array(rgb_key(depth))).all(2), 0, 255
            ),
        )
    yield Situation(
        "rgba-16-bits.png",
        lambda: png(np.dstack([rgb_of(16), ramp().astype(np.int64) * 257]), 16, 6),
        lambda _: in_8_bits(rgb_of(16), 16),
        notes="16 bits per channel became 8",
        alpha=ramp,
    )
    yield Situation(
        "palette-with-alpha.png",
        lambda: encoded(picture().quantize(16), "PNG", transparency=bytes([0, 128] + [255] * 14)),
        alpha=lambda: np.array([0, 128] + [255] * 14)[np.asarray(picture().quantize(16))],
    )
    yield Situation("palette-2-bits.png", lambda: encoded(picture().quantize(4), "PNG", bits=2))
    yield Situation("interlaced.png", interlaced, lambda _: face())
    for name, options in (
        ("progressive", {"progressive": True}),
        ("sub-sampled", {"subsampling": 2}),
        ("full-colour", {"subsampling": 0}),
        ("restart-markers", {"restart_marker_blocks": 2}),
    ):
        yield Situation(f"{name}.jpg", lambda options=options: jpeg(**options))
    yield Situation("grey.jpg", lambda: encoded(picture("L"), "JPEG"))
    yield Situation("rgb-not-ycc.jpg", lambda: jpeg(keep_rgb=True))
    yield Situation("comment.jpg", lambda: jpeg(comment=b"hello\nworld"), notes="comment")
    yield refused("cmyk.jpg", lambda: encoded(picture("CMYK"), "JPEG"), "CMYK")
    yield Situation("lossless.webp", lambda: encoded(picture(), "WEBP", lossless=True))
    yield Situation("lossy.webp", lambda: encoded(picture(), "WEBP", quality=80))
    yield Situation(
        "alpha.webp",
        lambda: encoded(with_alpha("RGBA"), "WEBP", lossless=True, exact=True),
        lambda _: face(),
        alpha=ramp,
    )
    yield Situation(
        "alpha.avif",
        lambda: encoded(with_alpha("RGBA"), "AVIF", quality=90, speed=10),
        levels_off=1,
        alpha=lambda: np.asarray(
            Image.open(io.BytesIO(encoded(with_alpha("RGBA"), "AVIF", quality=90, speed=10)))
        )[:, :, 3],
    )
    yield Situation("plain.avif", avif, levels_off=1)
    yield Situation("plain.heic", heif, levels_off=1)
    yield Situation("plain.tif", lambda: encoded(picture(), "TIFF"))
    for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        yield Situation(
            f"{name}.tif", lambda name=name: encoded(picture(), "TIFF", compression=name)
        )
    for order in "<>":
        yield Situation(
            f"grey-16-bits-{'little' if order == '<' else 'big'}-endian.tif",
            lambda order=order: encoded(Image.fromarray(grey_of(16).astype(f"{order}u2")), "TIFF"),
            lambda _: as_rgb(in_8_bits(grey_of(16), 16)),
            notes="16 bits per channel became 8",
        )
    yield Situation(
        "alpha.tif",
        lambda: encoded(with_alpha("RGBA"), "TIFF"),
        lambda _: face(),
        alpha=ramp,
    )
    yield refused("cmyk.tif", lambda: encoded(picture("CMYK"), "TIFF"), "CMYK")
    yield refused("float.tif", lambda: encoded(picture("F"), "TIFF"), "pixels of kind F")
    yield refused("lab.tif", lambda: encoded(picture("LAB"), "TIFF"), "pixels of kind LAB")


def ramp() -> np.ndarray:
    """An alpha from clear to opaque, uint8 [96, 80]."""
    return np.linspace(0, 255, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint8)


def with_alpha(mode: str) -> Image.Image:
    image = picture(mode)
    image.putalpha(Image.fromarray(ramp()))
    return image


def grey_of(depth: int) -> np.ndarray:
    """The face in so many bits, int [96, 80]."""
    wide = grey().astype(np.int64) * 257
    if depth == 16:
        return (wide + np.arange(WIDTH)) % 65536
    return wide >> (16 - depth)


def rgb_of(depth: int) -> np.ndarray:
    wide = face().astype(np.int64)
    return wide if depth == 8 else (wide * 257 + np.arange(WIDTH)[None, :, None]) % 65536


def key_of(depth: int) -> int:
    """A value that occurs, and in 16 bits has neighbours that look the same in 8."""
    return int(grey_of(depth)[40, 40])


def rgb_key(depth: int) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in rgb_of(depth)[40, 40])
    return red, green, blue


def in_8_bits(values: np.ndarray, depth: int) -> np.ndarray:
    return np.floor(values / (2**depth - 1) * 255 + 0.5).astype(np.uint8)


def interlaced() -> bytes:
    """Adam7, which Pillow reads and does not write."""
    rows = []
    for y0, x0, dy, dx in (
        (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
        (1, 0, 2, 1),
    ):  # fmt: skip
        rows += [b"\0" + row.tobytes() for row in face()[y0::dy, x0::dx]]
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 1)
    data = chunk(b"IDAT", zlib.compress(b"".join(rows)))
    return SIGNATURE + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


def colours() -> Iterator[Situation]:
    yield Situation("srgb-profile.jpg", lambda: jpeg(icc_profile=icc()), colours=True)
    yield Situation("srgb-profile.png", lambda: plain_png(icc_profile=icc()), colours=True)
    yield Situation(
        "profile-of-two-segments.jpg",
        lambda: jpeg(icc_profile=icc() + bytes(100_000)),
        colours=True,
    )
    yield Situation(
        "profile-of-grey.jpg",
        lambda: encoded(picture("L"), "JPEG", icc_profile=patched(icc(), b"RGB XYZ ", b"GRAYXYZ ")),
        notes="ICC profile dropped",
    )
    yield Situation(
        "profile-of-print.png",
        lambda: plain_png(icc_profile=patched(icc(), b"RGB XYZ ", b"CMYKXYZ ")),
        notes="ICC profile dropped",
    )
    chrm = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
    for name, chunks in (
        ("cicp-p3", (chunk(b"cICP", bytes([12, 13, 0, 1])),)),
        ("gamma-and-p3", (chunk(b"gAMA", struct.pack(">I", 45455)), chunk(b"cHRM", chrm))),
        ("gamma-1", (chunk(b"gAMA", struct.pack(">I", 100_000)),)),
        ("gamma-1.8", (chunk(b"gAMA", struct.pack(">I", 55_556)),)),
    ):
        yield Situation(
            f"{name}.png",
            lambda chunks=chunks: with_chunk(plain_png(), *chunks),
            colours=True,
        )
    yield Situation("srgb-chunk.png", lambda: with_chunk(plain_png(), chunk(b"sRGB", b"\0")))
    for name, transfer in (("pq", 16), ("hlg", 18)):
        yield Situation(
            f"cicp-{name}.png",
            lambda transfer=transfer: with_chunk(
                plain_png(), chunk(b"cICP", bytes([9, transfer, 0, 1]))
            ),
            colours=True,
            either="HDR|PQ|HLG",
        )
        yield Situation(
            f"nclx-{name}.heic",
            lambda transfer=transfer: with_nclx(heif(), 9, transfer),
            colours=True,
            either="HDR|PQ|HLG",
            levels_off=1,
        )
        yield refused(
            f"nclx-{name}.avif",
            lambda transfer=transfer: with_nclx(avif(), 9, transfer),
            name.upper(),
        )
    yield Situation("nclx-p3.heic", lambda: with_nclx(heif(), 12, 13), colours=True, levels_off=1)
    yield Situation("nclx-p3.avif", lambda: with_nclx(avif(), 12, 13), colours=True, levels_off=1)


THUMBNAIL = b"\xff\xd8\xff\xdb the face, unprotected \xff\xd9"
REGIONS = (
    '<mwg-rs:Regions rdf:parseType="Resource"><mwg-rs:AppliedToDimensions stDim:w="80" '
    'stDim:h="96" stDim:unit="pixel"/><mwg-rs:RegionList><rdf:Bag><rdf:li '
    'rdf:parseType="Resource"><mwg-rs:Area stArea:x="0.25" stArea:y="0.5" stArea:w="0.1" '
    'stArea:h="0.2" stArea:unit="normalized"/></rdf:li></rdf:Bag></mwg-rs:RegionList>'
    "</mwg-rs:Regions>"
)
GUID = "00112233445566778899AABBCCDDEEFF"
VIDEO = struct.pack(">I", 24) + b"ftypmp42" + bytes(12) + b"moving pictures"


def metadata() -> Iterator[Situation]:
    yield Situation(
        "exif-nonsense.png", lambda: plain_png(exif=b"Exif\0\0nonsense"), notes="EXIF dropped"
    )
    yield Situation("exif-thumbnail.jpg", with_thumbnail, missing=(THUMBNAIL,))
    yield Situation(
        "xmp-thumbnail.jpg",
        lambda: with_segments(
            jpeg(), xmp_segment(xmp("", "<xmpGImg:image>/9j/4AAQ</xmpGImg:image>"))
        ),
        notes="picture in XMP dropped",
        missing=(b"image>/9j/4AAQ",),
    )
    yield Situation(
        "xmp-not-utf-8.jpg",
        lambda: with_segments(jpeg(), xmp_segment(xmp("") + b"\xff\xfe")),
        notes="XMP",
    )
    yield Situation(
        "xmp-orientation-6.png",
        lambda: plain_png(pnginfo=png_xmp(xmp('tiff:Orientation="6"'))),
        missing=(b'tiff:Orientation="6"',),
    )
    gain_map = 'hdrgm:Version="1.0" hdrgm:GainMapMax="2.0"'
    yield Situation(
        "gain-map.jpg",
        lambda: with_segments(two_pictures(), xmp_segment(xmp(gain_map))),
        notes="gain map|picture",
        missing=(b"hdrgm:GainMapMax",),
    )
    motion = 'GCamera:MotionPhoto="1" GCamera:MotionPhotoVersion="1"'
    yield Situation(
        "motion-photo.jpg",
        lambda: with_segments(jpeg(), xmp_segment(xmp(motion))) + VIDEO,
        notes="motion|video",
        missing=(b'MotionPhoto="1"', b"moving pictures"),
    )
    yield Situation(
        "extended-xmp.jpg",
        lambda: with_segments(
            jpeg(),
            xmp_segment(xmp(f'xmpNote:HasExtendedXMP="{GUID}"')),
            segment(
                0xE1,
                b"http://ns.adobe.com/xmp/extension/\0"
                + GUID.encode()
                + struct.pack(">II", len(xmp("")), 0)
                + xmp(""),
            ),
        ),
        notes="extended XMP",
        missing=(b"HasExtendedXMP",),
    )
    yield Situation(
        "face-regions-turned.jpg",
        lambda: with_segments(
            encoded(picture(), "JPEG", exif=exif(6)), xmp_segment(xmp("", REGIONS))
        ),
        lambda data: turned(decoded(data), 6),
        missing=(b'stArea:x="0.25"',),
    )
    yield Situation("two-pictures.jpg", two_pictures, notes="picture")
    yield Situation(
        "iptc.jpg",
        lambda: with_segments(jpeg(), segment(0xED, b"Photoshop 3.0\0" + b"8BIM" + bytes(20))),
        notes="Photoshop",
    )
    yield Situation("rubbish-after-it.jpg", lambda: jpeg() + b"rubbish" * 100, notes="behind")
    yield Situation("rubbish-after-it.png", lambda: plain_png() + b"rubbish" * 100, notes="behind")
    yield Situation(
        "text-chunks.png",
        lambda: with_chunk(plain_png(), chunk(b"tEXt", b"Title\0\xe9t\xe9")),
        notes="text",
    )


def png_xmp(packet: bytes) -> PngInfo:
    chunks = PngInfo()
    chunks.add_itxt("XML:com.adobe.xmp", packet.decode())
    return chunks


def with_thumbnail() -> bytes:
    """A camera's EXIF: IFD0 with a camera's name, IFD1 with a small JPEG of its own."""
    first = struct.pack("<HHHII", 1, 0x010F, 2, 4, int.from_bytes(b"Cam\0", "little"))
    second_at = 8 + len(first) + 4
    second = struct.pack("<H", 2)
    data_at = second_at + 2 + 24 + 4
    second += struct.pack("<HHII", 0x0201, 4, 1, data_at)
    second += struct.pack("<HHII", 0x0202, 4, 1, len(THUMBNAIL)) + struct.pack("<I", 0)
    block = b"II*\0" + struct.pack("<I", 8) + first + struct.pack("<I", second_at) + second
    return with_segments(jpeg(), segment(0xE1, b"Exif\0\0" + block + THUMBNAIL))


def two_pictures() -> bytes:
    """MPO: a JPEG with a second, smaller one behind it."""
    return encoded(picture(), "MPO", save_all=True, append_images=[picture().resize((40, 48))])


def several() -> Iterator[Situation]:
    frames = [picture(), picture().transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    moving = {"save_all": True, "append_images": frames[1:], "duration": 100}
    yield refused("animated.png", lambda: encoded(frames[0], "PNG", **moving), "animated")
    yield refused("animated.webp", lambda: encoded(frames[0], "WEBP", **moving), "animated")
    yield refused("animated.avif", lambda: encoded(frames[0], "AVIF", speed=10, **moving), "anim")
    yield refused(
        "pages.tif",
        lambda: encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]),
        "pages",
    )
    yield refused(
        "raw-inside.tif", lambda: encoded(picture(), "TIFF", tiffinfo={0xC612: b"\1\4\0\0"}), "raw"
    )
    yield refused("preview-first.tif", lambda: encoded(picture(), "TIFF", tiffinfo={254: 1}), "raw")
    yield Situation("several.heic", several_heif, notes="picture", levels_off=1)


def several_heif() -> bytes:
    import pillow_heif

    pillow_heif.register_heif_opener()
    return encoded(picture(), "HEIF", save_all=True, append_images=[picture("L").convert("RGB")])


def mislabelled() -> Iterator[Situation]:
    yield Situation("is-jpeg.png", jpeg)
    yield Situation("is-jpeg.heic", jpeg)
    yield Situation("is-png.jpg", plain_png)
    yield Situation("is-webp.jpg", lambda: encoded(picture(), "WEBP", lossless=True))
    yield Situation("is-heic.jpg", heif, levels_off=1)
    yield Situation("is-avif.jpg", avif, levels_off=1)
    yield Situation("is-tiff.jpeg", lambda: encoded(picture(), "TIFF"))
    for name, data in (
        ("page", b"<!DOCTYPE html><title>404</title>"),
        ("text", b"hello, I am no photo"),
        ("video", VIDEO),
        ("pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"),
        ("zip", b"PK\3\4" + bytes(1000)),
        ("zeros", bytes(10_000)),
        ("finder", b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(100)),
        ("svg", b'<svg xmlns="http://www.w3.org/2000/svg"/>'),
    ):
        yield refused(f"is-{name}.jpg", lambda data=data: data, FOREIGN)
    for kind in ("GIF", "BMP", "JPEG2000", "ICO", "PPM"):
        yield refused(f"is-{kind.lower()}.png", lambda kind=kind: encoded(picture(), kind), FOREIGN)


def damaged() -> Iterator[Situation]:
    yield refused("empty.jpg", lambda: b"", "empty")
    yield refused("one-byte.png", lambda: b"\x89", FOREIGN)
    makers = {
        "jpg": jpeg,
        "png": plain_png,
        "webp": lambda: encoded(picture(), "WEBP", lossless=True),
        "tif": lambda: encoded(picture(), "TIFF"),
        "avif": avif,
        "heic": heif,
    }
    for ending, make in makers.items():
        yield refused(f"half.{ending}", lambda make=make: make()[: len(make()) // 2], DAMAGED)
        yield refused(f"head.{ending}", lambda make=make: make()[:20], DAMAGED)
    yield refused("without-end.jpg", lambda: jpeg()[:-2], DAMAGED)
    yield refused(
        "wrong-sum.png",
        lambda: (data := plain_png())[:60] + bytes([data[60] ^ 1]) + data[61:],
        DAMAGED,
    )
    yield refused(
        "no-pixels.png", lambda: SIGNATURE + header(80, 96) + chunk(b"IEND", b""), DAMAGED
    )


def header(width: int, height: int) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def sizes() -> Iterator[Situation]:
    yield refused("narrow.png", lambda: encoded(picture().resize((63, 96)), "PNG"), "too small")
    yield refused("pixel.png", lambda: encoded(picture().resize((1, 1)), "PNG"), "too small")
    yield refused(
        "strip.png", lambda: encoded(picture().resize((64, 64 * 64 + 1)), "PNG"), "64 times"
    )
    yield Situation("least.png", lambda: encoded(picture().resize((64, 64)), "PNG"))
    yield Situation("odd.jpg", lambda: encoded(picture().resize((101, 67)), "JPEG"))
    yield Situation("flat.png", lambda: encoded(Image.new("RGB", (80, 96), "white"), "PNG"))
    yield Situation("black.jpg", lambda: encoded(Image.new("RGB", (80, 96)), "JPEG"))
    for width, height in ((60_000, 60_000), (2**31 - 1, 1), (0, 96)):
        yield refused(
            f"claims-{width}-by-{height}.png",
            lambda width=width, height=height: (
                SIGNATURE + header(width, height) + chunk(b"IDAT", zlib.compress(b"0"))
            ),
            "megapixels|too small|damaged",
        )


def situations() -> list[Situation]:
    """All of them."""
    made = [
        *orientations(),
        *modes(),
        *colours(),
        *metadata(),
        *several(),
        *mislabelled(),
        *damaged(),
        *sizes(),
    ]
    assert len({situation.file for situation in made}) == len(made), "two of one name"
    return made
