"""``rid-protect`` as a user meets it: exit codes, one clear line, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

import rid_core.runtimes
from rid_core.budget import verify
from rid_core.cli import protect as cli
from rid_core.image import compare
from rid_core.image import io as photo

FACE = data.astronaut()[:300, 80:380]


class Tiny:
    """A defender of one line, so that these tests are about the tool."""

    name = "tiny"
    preset = "tiny"
    levels = 8
    stride = 16
    fixed_size = 64

    def perturb(self, image):
        y, x = np.mgrid[:64, :64]
        return np.repeat(np.where((x // 8 + y // 8) % 2, 1, -1)[:, :, None], 3, 2).astype(
            np.float32
        )


@pytest.fixture
def tool(monkeypatch, capsys, tmp_path):
    """Run ``rid-protect`` in an empty folder; returns exit code, stdout and stderr."""
    loaded = []

    def load_runtime(model, *, threads=None):
        loaded.append((model, threads))
        return Tiny()

    monkeypatch.setattr(rid_core.runtimes, "load_runtime", load_runtime)
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["rid-protect", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        return stop.value.code, captured.out, captured.err

    call.loaded = loaded
    return call


def face(path: str, **options) -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(FACE).save(path, **options)
    return Path(path)


def left_over(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


# One photo


def test_one_photo(tool):
    face("a.jpg", quality=90)
    code, out, err = tool("a.jpg", "-o", "b.png")
    assert (code, err) == (0, "")
    assert out.startswith("a.jpg -> b.png  300 x 300  ")
    assert "at most 8 levels" in out
    assert "30.9 dB" in out
    verdict = verify(photo.load("a.jpg").pixels, photo.load("b.png").pixels, 8)
    assert verdict.max_levels == 8
    assert tool.loaded == [("rid-s", None)]


def test_the_default_output_is_beside_the_photo(tool):
    face("in/a.JPG")
    code, _, _ = tool("in/a.JPG")
    assert code == 0
    assert left_over(Path("in")) == ["a.JPG", "a.protected.JPG"]


def test_options_reach_the_work(tool):
    tags = Image.Exif()
    tags.get_ifd(0x8825)[1] = "N"
    face("a.jpg", exif=tags)
    _, out, _ = tool("a.jpg", "-o", "b.png", "--levels", "20", "--strength", "0.5", "--strip-gps")
    assert "at most 10 levels" in out
    assert 0x8825 not in Image.open("b.png").getexif()
    tool("a.jpg", "-o", "c.png", "--model", "m.onnx", "--threads", "2")
    assert 0x8825 in Image.open("c.png").getexif()
    assert tool.loaded[-1] == ("m.onnx", 2)
    for name, quality in (("d.jpg", "95"), ("e.jpg", "50")):
        tool("a.jpg", "-o", name, "--quality", quality)
    assert Path("d.jpg").stat().st_size > 2 * Path("e.jpg").stat().st_size


def test_json(tool):
    face("a.png")
    code, out, err = tool("a.png", "-o", "b.png", "--json")
    assert (code, err) == (0, "")
    (entry,) = json.loads(out)["protected"]
    assert entry.pop("seconds") > 0
    assert entry.pop("psnr") == pytest.approx(30.9, abs=0.1)
    assert entry == {
        "source": "a.png",
        "target": "b.png",
        "width": 300,
        "height": 300,
        "max_levels": 8,
        "notes": [],
    }


def test_what_was_lost_is_said(tool):
    face("a.png", exif=b"Exif\0\0nonsense")
    _, out, _ = tool("a.png", "-o", "b.png")
    assert "note: EXIF dropped" in out


# Nothing is replaced by accident


@pytest.mark.parametrize("output", ["a.png", "./a.png", "link.png"])
def test_an_original_is_never_replaced(tool, output):
    before = face("a.png").read_bytes()
    Path("link.png").symlink_to("a.png")
    code, _, err = tool("a.png", "-o", output, "--overwrite")
    assert code == 1
    assert err == f"error: {Path(output)} is an original and is not replaced; choose another -o\n"
    assert Path("a.png").read_bytes() == before


def test_an_existing_output_needs_overwrite(tool):
    face("a.png")
    Path("b.png").write_bytes(b"mine")
    assert tool("a.png", "-o", "b.png") == (1, "", "error: b.png exists; --overwrite replaces it\n")
    assert Path("b.png").read_bytes() == b"mine"
    assert not tool.loaded
    assert tool("a.png", "-o", "b.png", "--overwrite")[0] == 0
    assert photo.load("b.png").pixels.shape == FACE.shape


def test_two_photos_with_one_output_are_refused(tool):
    face("x/a.png")
    face("y/a.png")
    code, _, err = tool("x/a.png", "y/a.png", "-o", "out")
    assert code == 1
    assert err == "".join(
        f"failed: {name}/a.png: x/a.png and y/a.png would both become out/a.png\n" for name in "xy"
    )
    assert not Path("out").exists()


# --compare


def test_compare_writes_a_sheet(tool):
    face("a.jpg", quality=90)
    code, _, err = tool("a.jpg", "-o", "b.png", "--compare", "sheet.png")
    assert (code, err) == (0, "")
    before, after = photo.load("a.jpg").pixels, photo.load("b.png").pixels
    drawn = np.asarray(Image.open("sheet.png"))
    np.testing.assert_array_equal(drawn, compare.sheet(before, after))
    assert drawn[:, 600:].std() > 100  # 8 levels x 16: from black to white


@pytest.mark.parametrize("sheet", ["a.png", "./b.png", "link.png"])
def test_compare_replaces_neither_photo_nor_output(tool, sheet):
    before = face("a.png").read_bytes()
    Path("link.png").symlink_to("a.png")
    code, _, err = tool("a.png", "-o", "b.png", "--compare", sheet, "--overwrite")
    assert code == 1
    name = Path(sheet)
    assert err == f"error: {name} is the photo or its output; --compare needs a name of its own\n"
    assert Path("a.png").read_bytes() == before
    assert not Path("b.png").exists()


def test_an_existing_sheet_needs_overwrite(tool):
    face("a.png")
    Path("s.jpg").write_bytes(b"mine")
    arguments = ("a.png", "-o", "b.png", "--compare", "s.jpg")
    assert tool(*arguments) == (1, "", "error: s.jpg exists; --overwrite replaces it\n")
    assert left_over(Path()) == ["a.png", "s.jpg"]
    assert Path("s.jpg").read_bytes() == b"mine"
    assert tool(*arguments, "--overwrite")[0] == 0
    assert Image.open("s.jpg").size == (900, 300)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["in", "-o", "out", "--compare", "s.jpg"], "--compare goes with one photo, not with"),
        (["in/a.png", "in/b.png", "-o", "out", "--compare", "s.jpg"], "--compare goes with one"),
        (["in/a.png", "-o", "c.png", "--compare", "s.bmp"], "s.bmp: ends in .bmp; a photo ends"),
        (["in/a.png", "-o", "c.png", "--compare", "in/a.png/s.png"], "cannot write in/a.png/s.png"),
    ],
)
def test_a_sheet_that_cannot_be(tool, arguments, text):
    face("in/a.png")
    face("in/b.png")
    code, _, err = tool(*arguments)
    assert code == 1
    assert err.startswith(f"error: {text}")
    assert err.count("\n") == 1
    assert not [name for name in left_over(Path()) if "s." in name]


# Folders


def test_a_folder(tool):
    face("in/a.jpg")
    face("in/b.png")
    face("in/deep/c.webp")
    face("in/.hidden.png")
    face("in/d.protected.png")
    Path("in/notes.txt").write_text("no photo")
    code, out, err = tool("in", "-o", "out")
    assert (code, err) == (0, "")
    assert left_over(Path("out")) == ["a.jpg", "b.png"]
    assert out.splitlines()[-1] == "protected 2, skipped 0 (already there), failed 0"
    code, out, _ = tool("in", "-o", "out", "-r")
    assert code == 0
    assert left_over(Path("out")) == ["a.jpg", "b.png", "deep/c.webp"]
    assert out.splitlines()[-1] == "protected 1, skipped 2 (already there), failed 0"
    assert len(out.splitlines()) == 2


def test_a_folder_without_output_folder_does_not_feed_on_itself(tool):
    face("in/a.png")
    assert tool("in")[0] == 0
    code, out, _ = tool("in")
    assert code == 0
    assert "protected 0, skipped 1" in out
    assert left_over(Path("in")) == ["a.png", "a.protected.png"]


def test_an_output_folder_inside_the_input(tool):
    face("in/a.png")
    for _ in range(2):
        assert tool("in", "-o", "in/safe", "-r")[0] == 0
    assert left_over(Path("in")) == ["a.png", "safe/a.png"]


def test_a_folder_into_itself_is_refused(tool):
    face("in/a.png")
    code, _, err = tool("in", "-o", "in", "--overwrite")
    assert code == 1
    assert "in/a.png is an original and is not replaced" in err


def test_one_bad_photo_does_not_stop_the_rest(tool):
    face("in/a.png")
    Path("in/b.jpg").write_bytes(b"no photo at all")
    Path("in/c.jpg").write_bytes(b"")
    face("in/d.png")
    code, out, err = tool("in", "-o", "out")
    assert code == 1
    assert left_over(Path("out")) == ["a.png", "d.png"]
    assert out.splitlines()[-1] == "protected 2, skipped 0 (already there), failed 2"
    assert err.splitlines() == [
        "failed: in/b.jpg: no JPEG, PNG, WebP, HEIC, AVIF or TIFF photo, or a damaged one; convert "
        "it first",
        "failed: in/c.jpg: the file is empty",
    ]
    code, out, _ = tool("in", "-o", "out", "--json")
    assert code == 1
    results = json.loads(out)
    assert [len(results[key]) for key in ("protected", "skipped", "failed")] == [0, 2, 2]
    assert results["failed"][1]["error"] == "in/c.jpg: the file is empty"


def test_an_output_older_than_its_photo_is_reported(tool):
    face("in/a.png")
    tool("in", "-o", "out")
    before = Path("out/a.png").read_bytes()
    os.utime("out/a.png", (1, 1))
    code, _, err = tool("in", "-o", "out")
    assert code == 1
    assert err == (
        "failed: in/a.png: out/a.png exists and is older than in/a.png; --overwrite replaces it\n"
    )
    assert Path("out/a.png").read_bytes() == before
    code, out, _ = tool("in", "-o", "out", "--overwrite")
    assert (code, out.splitlines()[-1]) == (
        0,
        "protected 1, skipped 0 (already there), failed 0",
    )


def test_format_converts(tool):
    face("in/a.png")
    assert tool("in", "-o", "out", "--format", "webp")[0] == 0
    assert Image.open("out/a.webp").format == "WEBP"
    code, _, err = tool("in/a.png", "-o", "b.png", "--format", "webp")
    assert (code, err.count("\n")) == (1, 1)


def test_a_folder_without_photos(tool):
    face("in/deep/a.png")
    code, _, err = tool("in", "-o", "out")
    assert (code, err) == (1, "error: in: no photos in it; --recursive looks into its folders\n")


def test_several_photos_need_a_folder(tool):
    face("a.png")
    face("b.png")
    code, _, err = tool("a.png", "b.png", "-o", "a.png")
    assert (code, err) == (1, "error: a.png is a file; for several photos -o names a folder\n")


# Bad input: one line, exit code 1, nothing written


def bomb() -> bytes:
    def chunk(name, content):
        checksum = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0"))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "the file is empty"),
        (b"#!/bin/sh\necho no photo\n", "no JPEG, PNG, WebP, HEIC, AVIF or TIFF photo"),
        (b"\xff\xd8\xff\xe0 corrupt", "no JPEG, PNG, WebP, HEIC, AVIF or TIFF photo"),
        ("half", "damaged or truncated"),
        (bomb(), "at most 210 megapixels are opened"),
        (None, "cannot be opened (No such file or directory)"),
    ],
)
def test_bad_photos(tool, content, text):
    if content == "half":
        whole = face("whole.png").read_bytes()
        Path("whole.png").unlink()
        content = whole[: len(whole) // 2]
    if content is not None:
        Path("a.png").write_bytes(content)
    Path("b.png").write_bytes(b"old")
    code, out, err = tool("a.png", "-o", "b.png", "--overwrite")
    assert (code, out) == (1, "")
    assert err.startswith("error: a.png: ")
    assert text in err
    assert err.count("\n") == 1
    assert Path("b.png").read_bytes() == b"old"
    assert set(left_over(Path())) <= {"a.png", "b.png"}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--levels", "0"], "levels must be between 1 and 255 8-bit levels, not 0"),
        (["--levels", "300"], "levels must be between 1 and 255 8-bit levels, not 300"),
        (["--strength", "0"], "strength must be above 0 and at most 1"),
        (["--strength", "nan"], "strength must be above 0 and at most 1"),
        (["--quality", "101"], "quality must be between 1 and 100"),
        (["-o", "b.bmp"], "b.bmp: ends in .bmp; a photo ends in"),
        (["-o", "b"], "b: has no ending; a photo ends in"),
    ],
)
def test_bad_options(tool, options, text):
    face("a.png")
    code, out, err = tool("a.png", "-o", "c.png", *options)
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {text}")
    assert err.count("\n") == 1
    assert left_over(Path()) == ["a.png"]
    assert not tool.loaded


@pytest.mark.parametrize("output", ["file/b.png", "/proc/nowhere/b.png"])
def test_an_unwritable_output(tool, output):
    face("a.png")
    Path("file").write_bytes(b"")
    code, _, err = tool("a.png", "-o", output)
    assert code == 1
    assert err.startswith(f"error: cannot write {output}: ")
    assert err.count("\n") == 1
    assert left_over(Path()) == ["a.png", "file"]


def test_a_missing_model(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    face("a.png")
    monkeypatch.setattr(sys, "argv", ["rid-protect", "a.png", "--model", "none.tflite"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 1
    assert capsys.readouterr().err.startswith("error: none.tflite: no such")
    assert left_over(tmp_path) == ["a.png"]


# A process of its own

_TOOL = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
import rid_core.runtimes
from test_cli_protect import Tiny
rid_core.runtimes.load_runtime = lambda *_, **__: Tiny()
{extra}
from rid_core.cli.protect import main
main()
"""

_LIMIT = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
"""

_SLOW = """
import time
from PIL import Image
def slowly(self, stream, *_, **__):
    stream.write(bytes(1000))
    stream.flush()
    print("writing", flush=True)
    time.sleep(60)
Image.Image.save = slowly
"""


def script(extra: str) -> list[str]:
    return [sys.executable, "-c", _TOOL.format(here=str(Path(__file__).parent), extra=extra)]


def test_a_disk_that_fills_up_in_the_middle(tmp_path):
    """A limit on file sizes fails in the very place where a full disk does."""
    face(str(tmp_path / "in/a.png"))
    face(str(tmp_path / "in/b.jpg"), quality=20)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.png").write_bytes(b"old")
    done = subprocess.run(
        [*script(_LIMIT), "in", "-o", "out", "--overwrite", "--quality", "20"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "failed: in/a.png: no space left while writing out/a.png; free some and run again\n"
    )
    assert "protected 1, skipped 0 (already there), failed 1" in done.stdout
    assert (tmp_path / "out/a.png").read_bytes() == b"old"
    assert left_over(tmp_path / "out") == ["a.png", "b.jpg"]


@pytest.mark.parametrize("old", [b"old", None])
def test_ctrl_c_in_the_middle_of_writing(tmp_path, old):
    face(str(tmp_path / "a.png"))
    if old is not None:
        (tmp_path / "b.png").write_bytes(old)
    process = subprocess.Popen(
        [*script(_SLOW), "a.png", "-o", "b.png", "--overwrite"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    assert len(left_over(tmp_path)) == (2 if old is None else 3)  # the half-written one
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.strip() == "interrupted; nothing was left half-written"
    assert left_over(tmp_path) == (["a.png"] if old is None else ["a.png", "b.png"])
    if old is not None:
        assert (tmp_path / "b.png").read_bytes() == old


_SLOW_SECOND = """
import time
from PIL import Image
quickly = Image.Image.save
saved = []
def slowly(self, *arguments, **options):
    saved.append(self)
    if len(saved) == 2:
        print("writing", flush=True)
        time.sleep(60)
    quickly(self, *arguments, **options)
Image.Image.save = slowly
"""


def test_a_folder_goes_on_after_ctrl_c(tool, tmp_path):
    for name in "abc":
        face(f"in/{name}.png")
    process = subprocess.Popen(
        [*script(_SLOW_SECOND), "in", "-o", "out", "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.strip() == "interrupted; nothing was left half-written"
    assert left_over(Path("out")) == ["a.png"]
    assert [path.name for path in Path("out").iterdir()] == ["a.png"]  # and no hidden folder
    first = Path("out/a.png").stat().st_mtime_ns
    code, out, _ = tool("in", "-o", "out")
    assert code == 0
    assert out.splitlines()[-1] == "protected 2, skipped 1 (already there), failed 0"
    assert left_over(Path("out")) == ["a.png", "b.png", "c.png"]
    assert Path("out/a.png").stat().st_mtime_ns == first


def test_help_is_quick_and_shows_examples():
    code = "import sys; from rid_core.cli import protect; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    # What makes help slow is what it imports; a clock would measure the machine.
    assert not {"torch", "numpy", "PIL"} & set(loaded)
    done = subprocess.run(
        [sys.executable, "-m", "rid_core.cli.protect", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "rid-protect photo.jpg -o protected.png" in done.stdout
