"""``rid-protect`` over the whole corpus, with the expected outcome of each situation."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from corpus import face, situations
from PIL import Image

SITUATIONS = situations()
LEVELS = 8


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.file)
def test_situation(tool, situation):
    data = situation.make()
    Path(situation.file).write_bytes(data)
    code, out, err = tool(situation.file, "-o", "out.png", "--json")
    assert Path(situation.file).read_bytes() == data
    if code and (situation.refused or situation.either):
        assert re.search(situation.refused or situation.either, err), err
        assert err.startswith(f"error: {situation.file}: ")
        assert err.count("\n") == 1
        assert sorted(path.name for path in Path().iterdir()) == [situation.file]
        return
    assert (code, err) == (0, ""), err
    assert not situation.refused
    (outcome,) = json.loads(out)["protected"]
    written = Path("out.png").read_bytes()
    for secret in situation.missing:
        assert secret in data
        assert secret not in written
    notes = "; ".join(outcome["notes"])
    if situation.notes or situation.either:
        assert re.search(situation.notes or situation.either, notes, re.IGNORECASE), notes
    elif not situation.colours:
        assert notes == ""
    result = Image.open("out.png")
    assert set(orientation_entries(result)) <= {1}
    pixels = np.asarray(result.convert("RGB")).astype(int)
    assert situation.pixels is not None
    expected = situation.pixels(data).astype(int)
    assert pixels.shape == expected.shape
    change = np.abs(pixels - expected).max()
    assert change > 0
    if situation.colours:
        tagged = "icc_profile" in result.info or re.search(b"cICP|gAMA|cHRM", written)
        said = re.search("colour|sRGB", notes)
        converted = change > LEVELS + situation.levels_off
        assert tagged or said or converted, "the description of its colours was lost unsaid"
    else:
        assert change <= LEVELS + situation.levels_off
    alpha = np.asarray(result)[:, :, 3] if result.mode == "RGBA" else None
    if situation.alpha is None:
        assert alpha is None
    else:
        np.testing.assert_array_equal(alpha, situation.alpha())


def orientation_entries(image: Image.Image) -> list[int]:
    """Every orientation in the EXIF of a photo, also a second one that no reader should heed."""
    block = bytes(image.info.get("exif", b"")).removeprefix(b"Exif\0\0")
    if not block:
        return []
    order = "little" if block[:2] == b"II" else "big"

    def number(at: int, size: int) -> int:
        return int.from_bytes(block[at : at + size], order)

    first = number(4, 4)
    entries = [first + 2 + 12 * k for k in range(number(first, 2))]
    return [number(at + 8, 2) for at in entries if number(at, 2) == 0x0112]


def test_the_whole_corpus_at_once(tool):
    """One bad photo stops none of the others, and each of them is accounted for once."""
    Path("in").mkdir()
    for situation in SITUATIONS:
        Path("in", situation.file).write_bytes(situation.make())
    code, out, err = tool("in", "-o", "out", "--json")
    results = json.loads(out)
    assert code == 1
    protected = [Path(entry["source"]).name for entry in results["protected"]]
    failed = [Path(entry["source"]).name for entry in results["failed"]]
    assert sorted(protected + failed) == sorted(situation.file for situation in SITUATIONS)
    in_one_format = {s.file for s in SITUATIONS if s.alpha is None or not s.file.endswith(".jpg")}
    must_fail = {s.file for s in SITUATIONS if s.refused}
    may_fail = {s.file for s in SITUATIONS if s.either}
    assert must_fail <= set(failed)
    assert set(failed) & in_one_format <= must_fail | may_fail
    assert len(err.splitlines()) == len(failed)
    for line, entry in zip(err.splitlines(), results["failed"], strict=True):
        assert line == f"failed: {entry['error']}"
        assert line.startswith(f"failed: {entry['source']}: ")
    assert sorted(path.name for path in Path("out").iterdir()) == sorted(protected)


@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        ("jpg", "JPEG"), ("jpeg", "JPEG"), ("jpe", "JPEG"), ("jfif", "JPEG"), ("JPG", "JPEG"),
        ("png", "PNG"), ("webp", "WEBP"), ("heic", "HEIF"), ("heif", "HEIF"), ("avif", "AVIF"),
        ("tif", "TIFF"), ("tiff", "TIFF"),
    ],
)  # fmt: skip
def test_every_ending_is_read_and_written(tool, ending, kind):
    """Found in a folder, and written in its own format with its camera and place."""
    import pillow_heif

    pillow_heif.register_heif_opener()
    from corpus import exif

    Path("in").mkdir()
    options = {"lossless": True} if kind == "WEBP" else {}
    Image.fromarray(face()).save(f"in/a.{ending}", kind, exif=exif(1).tobytes(), **options)
    code, out, err = tool("in", "-o", "out", "--quality", "95")
    assert (code, err) == (0, "")
    assert "protected 1, skipped 0 (already there), failed 0" in out
    written = Image.open(f"out/a.{ending}")
    assert written.format == kind
    difference = np.asarray(written).astype(int) - face()
    assert 6 < np.abs(difference).mean() < 12
    tags = written.getexif()
    assert tags[0x010F] == "Camera Works"
    assert tags.get_ifd(0x8825)[1] == "N"


def test_a_model_that_changes_nothing_writes_nothing(tool):
    from standin import Untrained

    Path("in").mkdir()
    for name in "ab":
        Image.fromarray(face()).save(f"in/{name}.png")
    line = "not one value changed, so nothing was protected and nothing written"
    code, out, err = tool("in", "-o", "out", defender=Untrained)
    assert code == 1
    assert out.splitlines()[-1] == "protected 0, skipped 0 (already there), failed 2"
    assert [text.split(": ")[1] for text in err.splitlines()] == ["in/a.png", "in/b.png"]
    assert err.count(line) == 2
    assert not Path("out").exists()
    code, out, err = tool("in/a.png", "-o", "a.png", "--levels", "1", "--strength", "0.4")
    assert (code, out) == (1, "")
    assert err.startswith(f"error: in/a.png: {line}; raise --levels or --strength")
    assert not Path("a.png").exists()


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.parametrize("size", [(8160, 6144), (8192, 6144)], ids=lambda size: f"{size[0]}")
def test_what_phones_call_50_megapixels(tool, size):
    """Half a megapixel or two above 50 million, as current phones write them."""
    Image.new("L", size, 128).save("a.png", compress_level=1)
    code, out, err = tool("a.png", "-o", "b.jpg", "--quality", "50")
    assert (code, err) == (0, "")
    assert out.startswith(f"a.png -> b.jpg  {size[0]} x {size[1]}  ")
    assert Image.open("b.jpg").size == size


def test_avif_without_a_pillow_that_knows_it(tool, monkeypatch):
    monkeypatch.setattr("PIL.features.check", lambda name: False)
    Image.fromarray(face()).save("a.png")
    code, out, err = tool("a.png", "-o", "b.avif")
    assert (code, out) == (1, "")
    assert err.startswith("error: b.avif: this Pillow knows no AVIF; ")
    assert err.count("\n") == 1
    assert not Path("b.avif").exists()
