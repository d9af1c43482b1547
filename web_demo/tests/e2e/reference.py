"""What the browser is held against: test photos, ``rid-protect``'s pixels, and a second decoder.

python reference.py photos FOLDER                 write the photos that the tests upload
python reference.py compare ORIGINAL RESULT       JSON: sizes, largest difference
python reference.py golden MODEL RESULT           JSON: a protected portrait.png against model.json
"""

from __future__ import annotations

import base64
import io
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from rid_core.artifact import read_metadata
from rid_core.image import io as photo

ROOT = Path(__file__).resolve().parents[3]
PORTRAIT = ROOT / "rid_core" / "assets" / "portraits" / "astronaut.jpg"
GOLDEN = ROOT / "tests" / "golden"
ORIENTATION, GPS = 0x0112, 0x8825
PRIMARIES = {
    b"rXYZ": (0.51512, 0.24120, -0.00105),
    b"gXYZ": (0.29198, 0.69225, 0.04189),
    b"bXYZ": (0.15710, 0.06657, 0.78407),
}
"""Of Display P3, relative to D50."""


def display_p3(srgb: ImageCms.ImageCmsProfile) -> bytes:
    """A profile of Display P3: that of sRGB, which has the same curve, with other primaries."""
    profile = bytearray(srgb.tobytes())
    for entry in range(132, 132 + 12 * int.from_bytes(profile[128:132], "big"), 12):
        values = PRIMARIES.get(bytes(profile[entry : entry + 4]))
        if values:
            at = int.from_bytes(profile[entry + 4 : entry + 8], "big") + 8
            fixed = [round(65536 * value).to_bytes(4, "big", signed=True) for value in values]
            profile[at : at + 12] = b"".join(fixed)
    return bytes(profile)


def photos(folder: Path) -> None:
    """Every photo that the end-to-end tests need beside the portraits of the repository."""
    folder.mkdir(parents=True, exist_ok=True)
    with Image.open(PORTRAIT) as image:
        portrait = image.convert("RGB")
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif.get_ifd(GPS)[1] = "N"
    large = portrait.crop((0, 64, 512, 448)).resize((4032, 3024), Image.Resampling.BICUBIC)
    large.save(folder / "12 megapixels.jpg", quality=92, exif=exif)
    portrait.crop((0, 64, 512, 448)).resize((8000, 6000)).save(folder / "48mp.jpg", quality=85)
    portrait.resize((1500, 1125)).save(folder / "larger.png")
    portrait.resize((300, 410)).save(folder / "smaller.png")
    portrait.convert("L").resize((640, 512)).save(folder / "grey.png")
    portrait.resize((600, 512)).save(folder / "lossless.webp", lossless=True)
    ramp = Image.linear_gradient("L").resize((1000, 1000))
    across = ramp.transpose(Image.Transpose.TRANSPOSE)
    Image.merge("RGB", (across, ramp, ramp)).save(folder / "gradient.png")
    clear = portrait.resize((520, 600))
    clear.putalpha(Image.linear_gradient("L").resize(clear.size).point(lambda v: min(2 * v, 255)))
    clear.save(folder / "transparent.png")
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    p3 = display_p3(srgb)
    portrait.save(folder / "wide gamut.png", icc_profile=p3)
    converted = ImageCms.profileToProfile(
        portrait,
        ImageCms.ImageCmsProfile(io.BytesIO(p3)),
        srgb,
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )
    converted.save(folder / "wide gamut as sRGB.png", icc_profile=None)
    Image.new("RGB", (1, 1), "red").save(folder / "pixel.png")
    portrait.resize((4100, 64)).save(folder / "strip.png")
    (folder / "text.jpg").write_text("this is no photo")
    (folder / "empty.png").write_bytes(b"")
    (folder / "cut.jpg").write_bytes(PORTRAIT.read_bytes()[:300])
    (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))
    # Only a header: it claims 12,000 x 9,000 pixels (108 megapixels).
    head = (folder / "pixel.png").read_bytes()
    size = (12_000).to_bytes(4, "big") + (9_000).to_bytes(4, "big")
    (folder / "huge.png").write_bytes(head[:16] + size + head[24:])


def compare(original: Path, result: Path) -> dict[str, object]:
    """Pixels of two files, both upright."""
    a, b = photo.load(original), photo.load(result)
    report: dict[str, object] = {
        "original": list(a.pixels.shape[:2]),
        "result": list(b.pixels.shape[:2]),
        "alpha": b.alpha is not None,
        "exif": len(b.exif),
    }
    if a.pixels.shape == b.pixels.shape:
        opaque = np.ones(a.pixels.shape[:2], bool) if a.alpha is None else a.alpha == 255
        change = np.abs(a.pixels.astype(np.int16) - b.pixels)
        report["max"] = int(change[opaque].max())
        report["changed"] = float((change[opaque] > 0).mean())
        if a.alpha is not None and b.alpha is not None:
            report["same_alpha"] = bool((a.alpha == b.alpha).all())
    return report


def golden(model: Path, result: Path) -> dict[str, object]:
    """A protected ``portrait.png`` against the bundled defender's answers, if it is that one's."""
    document = json.loads((GOLDEN / "model.json").read_text())
    i, j = np.indices((64, 64))
    rows, columns = 8 * i + 3 * i % 8, 8 * j + (5 * j + i) % 8
    wanted = np.frombuffer(base64.b64decode(document["protected"]), np.uint8).reshape(64, 64, 3)
    found = photo.load(result).pixels[rows, columns]
    return {
        "applies": read_metadata(model).weights == document["weights"],
        "max": int(np.abs(found.astype(np.int16) - wanted).max()),
    }


def main(command: str, *paths: str) -> None:
    """Run one of the commands in the docstring of this file."""
    files = [Path(path) for path in paths]
    if command == "photos":
        photos(*files)
    else:
        print(json.dumps({"compare": compare, "golden": golden}[command](*files)))


if __name__ == "__main__":
    main(*sys.argv[1:])
