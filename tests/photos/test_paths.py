"""Every path: names, folders and permissions that break tools; one line each, the rest goes on."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from corpus import face
from PIL import Image

from rid_core.cli import workers

LONGEST = 255
"""Bytes of a name on the disks of Linux, macOS and Windows."""


def make(path: Path | str) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as handle:
        Image.fromarray(face()).save(handle, "PNG")
    return path


def summary(protected: int, failed: int) -> str:
    return f"protected {protected}, skipped 0 (already there), failed {failed}"


# nothing in a folder is left out unsaid


def test_every_picture_that_is_not_protected_is_named(tool):
    endings = ["bmp", "jp2", "dng", "gif", "CR2", "psd", "jxl", "svg", "mpo"]
    for ending in endings:
        make(f"in/a.{ending}")
    for name in ("a.jpg", "b.jfif", "c.jpe", "d.tif"):
        make(f"in/{name}")
    Path("in/notes.txt").write_text("no picture")
    Path("in/.hidden.bmp").write_bytes(b"")
    code, out, err = tool("in", "-o", "out")
    assert code == 1
    assert out.splitlines()[-1] == summary(4, len(endings))
    lines = err.splitlines()
    assert all(line.endswith(": convert it first") for line in lines)
    assert sorted(line.split(" a photo ends in")[0] for line in lines) == sorted(
        f"failed: in/a.{ending}: ends in .{ending};" for ending in endings
    )
    code, out, _ = tool("in", "-o", "out", "--json")
    results = json.loads(out)
    assert code == 1
    assert len(results["skipped"]) == 4
    assert sorted(entry["source"] for entry in results["failed"]) == sorted(
        f"in/a.{ending}" for ending in endings
    )
    assert all(entry["target"] is None for entry in results["failed"])


def test_what_is_named_like_a_picture_and_is_none(tool):
    make("in/a.png")
    make("elsewhere/b.png")
    os.mkfifo("in/pipe.jpg")
    Path("in/gone.jpg").symlink_to("nowhere.jpg")
    Path("in/circle.jpg").symlink_to("circle.jpg")
    Path("in/link").symlink_to(Path("elsewhere").absolute())
    Path("in/up").symlink_to("..")
    Path("in/album.jpg").mkdir()
    make("in/album.jpg/c.png")
    code, out, err = tool("in", "-o", "out", "-r")
    assert code == 1
    assert out.splitlines()[-1] == summary(2, 5)
    assert sorted(err.splitlines()) == [
        "failed: in/circle.jpg: cannot be opened (Too many levels of symbolic links)",
        "failed: in/gone.jpg: cannot be opened (No such file or directory)",
        "failed: in/link: a link to a folder; name it to look into it",
        "failed: in/pipe.jpg: is no file",
        "failed: in/up: a link to a folder; name it to look into it",
    ]


def test_a_pipe_is_refused_and_not_waited_for(tool):
    os.mkfifo("a.jpg")
    code, _, err = tool("a.jpg", "-o", "b.png")
    assert (code, err) == (1, "error: a.jpg: a pipe; save the photo to a file first\n")


def test_inputs_of_a_batch_that_cannot_be(tool):
    make("a.png")
    Path("empty").mkdir()
    code, out, err = tool("empty", "gone.png", "", "a.png", "a.txt", "a", "-o", "out")
    assert code == 1
    assert out.splitlines()[-1] == summary(1, 5)
    lines = err.splitlines()
    for name in ("empty", "gone.png", ".", "a.txt", "a"):
        assert [line for line in lines if line.startswith(f"failed: {name}: ")], name


# permissions

_TOOL = """
import sys
sys.path.insert(0, {here!r})
import rid_core.runtimes
from standin import Checkerboard
rid_core.runtimes.load_runtime = lambda *_, **__: Checkerboard()
from rid_core.cli.protect import main
main()
"""


def obey_permissions() -> None:
    """Take from root what lets it read and write everywhere; in a new process, as it starts."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            if libc.prctl(24, capability, 0, 0, 0):  # PR_CAPBSET_DROP
                raise OSError(ctypes.get_errno(), "a capability cannot be dropped")


def process(folder: Path, *arguments: str | bytes, **options) -> subprocess.CompletedProcess[bytes]:
    """Run ``rid-protect`` in a process of its own, to which permissions apply."""
    script = _TOOL.format(here=str(Path(__file__).parent))
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=folder,
        stderr=subprocess.PIPE,
        check=False,
        timeout=120,
        preexec_fn=obey_permissions,
        **{"stdout": subprocess.PIPE, **options},
    )


@pytest.fixture
def locked(tmp_path):
    """Make paths that may not be used; they are opened again at the end."""
    paths: list[Path] = []

    def lock(path: Path, mode: int) -> None:
        paths.append(path)
        path.chmod(mode)

    yield lock
    for path in reversed(paths):
        path.chmod(0o700)


def test_what_may_not_be_read_stops_nothing_else(tmp_path, locked):
    for name in ("in/a.png", "in/b.png", "in/deep/c.png", "in/list/d.png", "in/pass/e.png"):
        make(tmp_path / name)
    make(tmp_path / "parent/inside/f.png")
    make(tmp_path / "shut/g.png")
    locked(tmp_path / "in/b.png", 0)
    locked(tmp_path / "in/deep", 0)
    locked(tmp_path / "in/list", 0o400)  # names can be listed, files not opened
    locked(tmp_path / "in/pass", 0o100)  # files can be opened, names not listed
    locked(tmp_path / "parent", 0)
    locked(tmp_path / "shut", 0)
    names = ("in", "in/pass/e.png", "parent/inside", "parent/inside/f.png", "shut")
    done = process(tmp_path, *names, "-r", "-o", "out")
    assert done.returncode == 1
    assert done.stdout.decode().splitlines()[-1] == summary(2, 7)
    reasons = {
        "in/b.png": "cannot be opened",
        "in/deep": "cannot be read",
        "in/list/d.png": "cannot be opened",
        "in/pass": "cannot be read",
        "parent/inside": "cannot be opened",
        "parent/inside/f.png": "cannot be opened",
        "shut": "cannot be read",
    }
    assert sorted(done.stderr.decode().splitlines()) == sorted(
        f"failed: {name}: {reason} (Permission denied)" for name, reason in reasons.items()
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "e.png"]


def test_a_single_folder_that_may_not_be_read(tmp_path, locked):
    make(tmp_path / "in/a.png")
    locked(tmp_path / "in", 0)
    done = process(tmp_path, "in", "-o", "out")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"error: in: cannot be read (Permission denied)\n"
    done = process(tmp_path, "in", "-o", "out", "--json")
    assert done.returncode == 1
    assert [entry["source"] for entry in json.loads(done.stdout)["failed"]] == ["in"]


@pytest.mark.parametrize("mode", [0, 0o500])
def test_an_output_that_may_not_be_written(tmp_path, locked, mode):
    make(tmp_path / "in/a.png")
    make(tmp_path / "in/b.png")
    (tmp_path / "out").mkdir()
    locked(tmp_path / "out", mode)
    done = process(tmp_path, "in", "-o", "out")
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [
        f"failed: in/{name}.png: cannot write out/{name}.png: permission denied; choose another "
        "output with -o"
        for name in "ab"
    ]


def test_decoders_do_not_print_lines_of_their_own(tmp_path):
    """libtiff writes to stderr by itself where Pillow raises as well."""
    (tmp_path / "in").mkdir()
    with (tmp_path / "in/a.tif").open("wb") as handle:
        Image.fromarray(face()).save(handle, "TIFF", compression="tiff_adobe_deflate")
    data = bytearray((tmp_path / "in/a.tif").read_bytes())
    data[100:140] = bytes(40)
    (tmp_path / "in/a.tif").write_bytes(data)
    done = process(tmp_path, "in", "-o", "out")
    assert done.returncode == 1
    assert done.stderr.startswith(b"failed: in/a.tif: damaged or truncated (")
    assert done.stderr.count(b"\n") == 1


# names


def test_names_that_are_not_utf_8(tmp_path):
    folder = os.fsencode(tmp_path)
    (tmp_path / "in").mkdir()
    make(tmp_path / "in/a.png")
    photo = (tmp_path / "in/a.png").read_bytes()
    Path(os.fsdecode(folder + b"/in/b\xff\xfe.png")).write_bytes(photo)
    Path(os.fsdecode(folder + b"/in/c\xff.jpg")).write_bytes(b"no photo")
    Path(os.fsdecode(folder + b"/in/d\n.bmp")).write_bytes(b"")
    Path(os.fsdecode(folder + b"/in/\xfffolder")).mkdir()
    Path(os.fsdecode(folder + b"/in/\xfffolder/e.png")).write_bytes(photo)
    done = process(tmp_path, b"in", b"-r", b"-o", b"out\xff")
    assert done.returncode == 1
    lines = done.stdout.decode().splitlines()
    assert len(lines) == 4
    assert lines[1].startswith("in/b\\udcff\\udcfe.png -> out\\udcff/b\\udcff\\udcfe.png  80 x 96")
    assert lines[-1] == summary(3, 2)
    assert [line.split(": ")[1] for line in done.stderr.decode().splitlines()] == [
        "in/d\\n.bmp",
        "in/c\\udcff.jpg",
    ]
    out = folder + b"/out\xff"
    assert sorted(os.listdir(out)) == [  # noqa: PTH208 - names as bytes
        b"a.png",
        b"b\xff\xfe.png",
        b"\xfffolder",
    ]
    assert (tmp_path / os.fsdecode(b"out\xff/\xfffolder/e.png")).is_file()
    # As JSON, a name can be had back byte for byte.
    done = process(tmp_path, b"in/b\xff\xfe.png", b"-o", b"\xff.png", b"--json")
    (entry,) = json.loads(done.stdout)["protected"]
    assert os.fsencode(entry["source"]) == b"in/b\xff\xfe.png"
    assert (tmp_path / os.fsdecode(b"\xff.png")).exists()


def test_a_terminal_that_knows_ascii_only(tmp_path):
    make(tmp_path / "Jürgen 😀.png")
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = process(tmp_path, "Jürgen 😀.png", "-o", "ö.png", env=environment)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "ö.png").exists()


@pytest.mark.parametrize("letter", ["a", "é", "😀"])
def test_the_longest_names(tool, letter):
    size = len(letter.encode())

    def name(length: int) -> str:
        """A name of so many bytes."""
        count, rest = divmod(length - len(".png"), size)
        return letter * count + "x" * rest + ".png"

    lengths = [LONGEST - len(".protected"), 252, 253, 254, 255]
    names = [name(length) for length in lengths]
    assert [len(each.encode()) for each in names] == lengths
    for each in names:
        make(f"in/{each}")
    make("in/short.png")
    code, out, err = tool("in")
    assert code == 1
    assert out.splitlines()[-1] == summary(2, 4)
    failed = sorted(err.splitlines())
    for length, line in zip(lengths[1:], sorted(failed, key=len), strict=True):
        long = name(length)
        assert line == (
            f"failed: in/{long}: cannot write in/{long[:-4]}.protected.png: a name of "
            f"{length + 10} bytes is too long for this disk; choose a shorter one with -o"
        )
    # In a folder of its own, every name fits.
    code, out, _ = tool("in", "-o", "out")
    assert code == 0
    assert sorted(path.name for path in Path("out").iterdir()) == sorted([*names, "short.png"])


# no original and no output is replaced by another name of it


def test_a_disk_that_does_not_tell_cases_apart(tool):
    """There ``a.png`` and ``A.PNG`` are one file, as two names of one file are here."""
    before = make("a.PNG").read_bytes()
    os.link("a.PNG", "a.png")
    code, _, err = tool("a.PNG", "-o", "a.png", "--overwrite")
    assert code == 1
    assert err == "error: a.png is an original and is not replaced; choose another -o\n"
    assert Path("a.PNG").read_bytes() == before
    make("b.png")
    code, _, err = tool("b.png", "a.PNG", "-o", ".", "--format", "png", "--overwrite")
    assert code == 1
    assert Path("a.PNG").read_bytes() == before
    assert [line.split(": ")[1] for line in err.splitlines()] == ["b.png", "a.PNG"]


def test_two_outputs_that_the_disk_takes_for_one(tool, monkeypatch):
    for name in ("x/a.png", "y/A.png"):
        make(name)
    real = workers.identities

    def without_cases(path: Path) -> set[object]:
        """What the system says of files on a disk that does not tell cases apart."""
        for other in path.parent.glob("*"):
            if other.name.lower() == path.name.lower():
                return real(other)
        return real(path)

    monkeypatch.setattr(workers, "identities", without_cases)
    code, out, err = tool("x/a.png", "y/A.png", "-o", "out")
    assert code == 1
    assert out.splitlines()[-1] == summary(1, 1)
    assert err == "failed: y/A.png: out/A.png was just written for another photo\n"
    assert [path.name for path in Path("out").iterdir()] == ["a.png"]


def test_one_photo_by_two_names_is_protected_once(tool):
    make("in/a.png")
    code, out, err = tool("in", "in/../in/a.png", "in/a.png", "-o", "out")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == summary(1, 0)


# output that goes nowhere


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_full_stdout(tmp_path, options):
    for name in "abc":
        make(tmp_path / f"in/{name}.png")
    with Path("/dev/full").open("wb") as full:
        done = process(tmp_path, "in", "-o", "out", *options, stdout=full)
    assert done.returncode == 1
    assert done.stderr.decode() == (
        "error: not all results could be printed (No space left on device); the work itself is "
        "done, only its report is not complete\n"
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png", "c.png"]


def test_a_reader_that_leaves(tmp_path):
    for name in "abc":
        make(tmp_path / f"in/{name}.png")
    read, write = os.pipe()
    os.close(read)
    done = process(tmp_path, "in", "-o", "out", stdout=write)
    os.close(write)
    assert done.returncode == 1
    assert done.stderr.decode().count("\n") == 1
    assert b"Broken pipe" in done.stderr
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_a_working_folder_that_is_gone(tmp_path):
    make(tmp_path / "a.png")
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f"import os; os.rmdir({str(gone)!r})\n" + _TOOL.format(here=str(Path(__file__).parent))
    done = subprocess.run(
        [sys.executable, "-c", script, "b.png", str(tmp_path / "a.png"), "-o", tmp_path / "out"],
        cwd=gone,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == summary(1, 1)
    assert done.stderr == "failed: b.png: cannot be opened (No such file or directory)\n"


# training and calibration


@pytest.fixture
def mixed(tmp_path) -> Path:
    for number in range(3):
        make(tmp_path / f"photos/{number}.png")
    for name in ("broken.jpg", "a.bmp", "b.jp2"):
        (tmp_path / "photos" / name).write_bytes(b"no photo")
    (tmp_path / "photos/link").symlink_to(tmp_path)
    return tmp_path / "photos"


def test_training_names_what_it_leaves_out(mixed, caplog):
    from rid_core.data import list_portraits

    assert [path.name for path in list_portraits(mixed, [])] == ["0.png", "1.png", "2.png"]
    text = caplog.text
    assert f"1 of 6 images cannot be read and are skipped: {mixed}/broken.jpg" in text
    assert "2 of 6 images are of a kind that is not read and are skipped: " in text
    assert f"{mixed}/a.bmp, {mixed}/b.jp2" in text
    assert f"left out: {mixed}/link: a link to a folder" in text


def test_calibration_names_what_it_leaves_out(mixed):
    from rid_export.calibration import make_calibration

    origin = make_calibration(str(mixed), 4, 64).origin
    assert origin.startswith("4 views of 3 photos, 3 files skipped (")
    for name in ("a.bmp", "b.jp2", "broken.jpg"):
        assert name in origin


def test_listing_counts_a_folder_that_fails_while_it_is_read(tmp_path, monkeypatch):
    """A disk that breaks: not only permissions make a folder unreadable."""
    from rid_core.folders import list_images

    make(tmp_path / "a.png")
    make(tmp_path / "deep/b.png")
    scan = os.scandir

    def broken(path):
        if Path(path).name == "deep":
            raise OSError(5, "Input/output error")
        return scan(path)

    monkeypatch.setattr(os, "scandir", broken)
    found = list_images(tmp_path, recursive=True)
    assert found.images == [tmp_path / "a.png"]
    assert found.left_out == [(tmp_path / "deep", "cannot be read (Input/output error)")]
