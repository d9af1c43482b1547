"""Write beside, then rename: the target is the old one or the new one, whole, and nothing else."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from rid_core.errors import RidError
from rid_core.files import replacing, write_bytes, write_text


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(b"old")
    return path


def half_write(path: Path, error: BaseException) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"half")
    raise error


def make_package(path: Path, content: str) -> None:
    (path / "Data").mkdir(parents=True)
    (path / "Data" / "weights.bin").write_text(content)
    (path / f"{content}.json").write_text("{}")


def test_writes_and_leaves_nothing_else(tmp_path):
    write_text(tmp_path / "new" / "deep" / "a.txt", "grüß")
    assert (tmp_path / "new" / "deep" / "a.txt").read_bytes() == "grüß".encode()
    assert names(tmp_path / "new" / "deep") == ["a.txt"]


def test_replaces_a_file(target):
    write_bytes(target, b"new")
    assert target.read_bytes() == b"new"
    assert names(target.parent) == ["photo.png"]


def test_yields_a_path_with_the_final_name_that_does_not_exist_yet(target):
    with replacing(target) as fresh:
        assert fresh.name == "photo.png"
        assert fresh != target
        assert not fresh.exists()
        assert target.read_bytes() == b"old"
        fresh.write_bytes(b"new")
        assert target.read_bytes() == b"old"


@pytest.mark.parametrize(
    "error", [ValueError(), KeyboardInterrupt(), SystemExit(), MemoryError()], ids=repr
)
def test_failure_in_the_middle_leaves_the_old_one(target, error):
    with pytest.raises(type(error)), replacing(target) as fresh:
        half_write(fresh, error)
    assert target.read_bytes() == b"old"
    assert names(target.parent) == ["photo.png"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_full_disk_says_so(target, code):
    with (
        pytest.raises(RidError, match=r"no space left while writing .*photo.png"),
        replacing(target) as fresh,
    ):
        half_write(fresh, OSError(code, os.strerror(code)))
    assert target.read_bytes() == b"old"
    assert names(target.parent) == ["photo.png"]


def test_disk_that_fills_while_writing(target):
    """The system itself refuses the write half-way: a limit on file size stands for the disk."""
    script = """
        import resource, sys
        from rid_core.errors import RidError
        from rid_core.files import write_bytes
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        try:
            write_bytes(sys.argv[1], bytes(1_000_000))
        except RidError as error:
            print(error)
    """
    out = run(script, target)
    assert out.startswith("no space left while writing")
    assert "\n" not in out.strip()
    assert target.read_bytes() == b"old"
    assert names(target.parent) == ["photo.png"]


def test_another_file_that_fails_is_named(target, tmp_path):
    with pytest.raises(RidError, match=r"input\.png"), replacing(target):
        (tmp_path / "input.png").read_bytes()
    assert target.read_bytes() == b"old"


def test_nothing_written_is_an_error(target):
    with pytest.raises(RidError, match="nothing was written"), replacing(target):
        pass
    assert target.read_bytes() == b"old"
    assert names(target.parent) == ["photo.png"]


@pytest.mark.parametrize("name", ["", ".", "/", ".."])
def test_no_file_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RidError), replacing(name) as fresh:
        fresh.write_bytes(b"new")
    assert names(tmp_path) == []


def test_folder_that_is_a_file(target):
    with pytest.raises(RidError, match=r"photo\.png is no folder"):
        write_bytes(target / "a.png", b"new")
    with pytest.raises(RidError, match=r"photo\.png/b is no folder"):
        write_bytes(target / "b" / "a.png", b"new")
    assert target.read_bytes() == b"old"


def test_unwritable_folder(target, monkeypatch):
    def refuse(*args: object, **kwargs: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(target.parent))

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(RidError, match=r"cannot write .*photo\.png: permission denied; choose"):
        write_bytes(target, b"new")
    assert target.read_bytes() == b"old"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_folder_for_real(target):
    target.parent.chmod(0o500)
    try:
        with pytest.raises(RidError, match="permission denied"):
            write_bytes(target, b"new")
    finally:
        target.parent.chmod(0o700)


def test_a_read_only_system_folder():
    with pytest.raises(RidError, match="cannot write"):
        write_bytes("/proc/rid/photo.png", b"new")


@pytest.mark.parametrize("length", [255, 250, 200])
def test_the_longest_names(tmp_path, length):
    target = tmp_path / ("a" * length)
    write_bytes(target, b"one")
    write_bytes(target, b"two")
    assert target.read_bytes() == b"two"
    assert names(tmp_path) == [target.name]


def test_a_new_folder(tmp_path):
    with replacing(tmp_path / "a.mlpackage") as fresh:
        make_package(fresh, "one")
    assert (tmp_path / "a.mlpackage" / "Data" / "weights.bin").read_text() == "one"
    assert names(tmp_path) == ["a.mlpackage"]


@pytest.mark.parametrize("name", ["a.mlpackage", "old", "mode"])
def test_a_folder_replaces_a_folder_as_a_whole(tmp_path, name):
    package = tmp_path / name
    make_package(package, "one")
    with replacing(package) as fresh:
        make_package(fresh, "two")
    assert names(package) == ["Data", "two.json"]
    assert (package / "Data" / "weights.bin").read_text() == "two"
    assert names(tmp_path) == [name]


def test_failure_in_a_folder_leaves_the_old_one(tmp_path):
    package = tmp_path / "a.mlpackage"
    make_package(package, "one")
    with pytest.raises(KeyboardInterrupt), replacing(package) as fresh:
        half_write(fresh / "Data", KeyboardInterrupt())
    assert names(package) == ["Data", "one.json"]
    assert names(tmp_path) == ["a.mlpackage"]


def test_failure_of_the_second_rename_brings_the_old_folder_back(tmp_path, monkeypatch):
    package = tmp_path / "a.mlpackage"
    make_package(package, "one")
    rename = Path.rename

    def fail_once(self: Path, to: Path) -> Path:
        if self.name == to.name and (self / "two.json").exists():
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", fail_once)
    with pytest.raises(RidError, match="Input/output error"), replacing(package) as fresh:
        make_package(fresh, "two")
    assert names(package) == ["Data", "one.json"]
    assert names(tmp_path) == ["a.mlpackage"]


def test_a_file_never_replaces_a_folder(tmp_path):
    """``-o photos`` for a single picture must not swallow the folder of that name."""
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "precious.jpg").write_bytes(b"precious")
    with pytest.raises(RidError, match="photos is a folder"):
        write_bytes(folder, b"new")
    assert (folder / "precious.jpg").read_bytes() == b"precious"
    assert names(tmp_path) == ["photos"]


def test_a_folder_never_replaces_a_file(target):
    with pytest.raises(RidError, match="is a file"), replacing(target) as fresh:
        make_package(fresh, "new")
    assert target.read_bytes() == b"old"
    assert names(target.parent) == ["photo.png"]


def test_a_link_to_a_file_is_replaced_and_what_it_points_to_is_not(target):
    link = target.with_name("link.png")
    link.symlink_to(target)
    write_bytes(link, b"new")
    assert link.read_bytes() == b"new"
    assert not link.is_symlink()
    assert target.read_bytes() == b"old"


@pytest.mark.parametrize(("umask", "expected"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_new_files_follow_the_umask(tmp_path, umask, expected):
    before = os.umask(umask)
    try:
        write_bytes(tmp_path / "plain", b"new")
        with replacing(tmp_path / "private") as fresh:
            fresh.write_bytes(b"new")
            fresh.chmod(0o600)  # as a writer built on a temporary file leaves it
        with replacing(tmp_path / "package") as fresh:
            make_package(fresh, "one")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "plain").stat().st_mode) == expected
    assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == expected
    assert stat.S_IMODE((tmp_path / "package").stat().st_mode) == 0o777 & ~umask


def test_a_replaced_file_keeps_its_mode(target):
    target.chmod(0o640)
    write_bytes(target, b"new")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_two_writers_and_a_reader(tmp_path):
    target = tmp_path / "a.bin"
    contents = [bytes([n]) * 200_000 for n in (1, 2)]
    write_bytes(target, contents[0])
    seen: set[bytes] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(target.read_bytes())

    def write(content: bytes) -> None:
        for _ in range(20):
            write_bytes(target, content)

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert seen
    assert seen <= set(contents)
    assert target.read_bytes() in contents
    assert names(tmp_path) == ["a.bin"]


_INTERRUPTED = """
    import signal, sys, time
    from rid_core.files import replacing
    if sys.argv[2] == "handled":
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with replacing(sys.argv[1]) as fresh:
        fresh.write_bytes(b"half")
        print("ready", flush=True)
        time.sleep(60)
"""


def run(script: str, *args: object) -> str:
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, args)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def interrupt(target: Path, number: signal.Signals, mode: str) -> int:
    command = [sys.executable, "-c", textwrap.dedent(_INTERRUPTED), str(target), mode]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(number)
        return child.wait(timeout=30)


def test_ctrl_c_cleans_up(target):
    assert interrupt(target, signal.SIGINT, "default") != 0
    assert target.read_bytes() == b"old"
    assert names(target.parent) == ["photo.png"]


def test_sigterm_cleans_up_where_it_becomes_an_exception(target):
    assert interrupt(target, signal.SIGTERM, "handled") == 128 + signal.SIGTERM
    assert target.read_bytes() == b"old"
    assert names(target.parent) == ["photo.png"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_that_dies_at_once_leaves_the_old_one(target, number):
    assert interrupt(target, number, "default") == -number
    assert target.read_bytes() == b"old"
    left = [name for name in names(target.parent) if name != "photo.png"]
    assert all(name.startswith(".photo.png.") and name.endswith(".tmp") for name in left)
