"""What users do wrong, or their machine lacks: one line says what to do, and nothing changes."""

from __future__ import annotations

import dataclasses
import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import broken_targets
import pytest

from rid_export.pipeline import export
from rid_export.spec import ExportSpec

MAIN = "from rid_export.cli import main; main()"
HIDE = (
    "import importlib.util as u, sys\n"
    "find = u.find_spec\n"
    "u.find_spec = lambda name, *rest: None if name == {0!r} else find(name, *rest)\n"
    "sys.modules[{0!r}] = None\n"
)


def call(*arguments: str | Path, before: str = "", **options: Any) -> str:
    """Run ``rid-export``, which must fail in one line; that line without ``error:``."""
    done = subprocess.run(
        [sys.executable, "-c", before + MAIN, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("  ")]
    (line,) = lines
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


# -- missing extras -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "package"),
    [("onnx", "onnxsim"), ("tflite", "litert_torch"), ("coreml", "coremltools")],
)
def test_missing_converter(target: str, package: str, tmp_path: Path) -> None:
    line = call("--target", target, "-o", tmp_path / "dist", before=HIDE.format(package))
    assert line == (f"{package} is not installed; it comes with: pip install -e '.[export]'")
    assert not (tmp_path / "dist").exists()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["verify", "compare"])
def test_missing_runtime(command: str, small_file: Path, small_checkpoint: Path) -> None:
    arguments = {
        "verify": (small_file, "--against", small_checkpoint),
        "compare": (small_checkpoint, small_file),
    }
    line = call(command, *arguments[command], before=HIDE.format("onnxruntime"))
    assert "onnxruntime is not installed" in line
    assert "pip install -e '.[export]'" in line


# -- resolution -----------------------------------------------------------------------------------


def test_resolution_names_the_nearest_multiples(small_checkpoint: Path, tmp_path: Path) -> None:
    arguments = ("--target", "onnx", "--checkpoint", small_checkpoint, "-o", tmp_path / "dist")
    assert "--resolution 496 or 512" in call(*arguments, "--resolution", "500")
    assert not (tmp_path / "dist").exists()


# -- checkpoints ----------------------------------------------------------------------------------


def rewritten(source: Path, target: Path, **changes: Any) -> Path:
    """A checkpoint with another model card."""
    from safetensors.torch import load_file, save_file

    from rid_core.checkpoint import read_card

    card = json.loads(read_card(source).to_json()) | changes
    save_file(load_file(source), target, metadata={"rid": json.dumps(card)})
    return target


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"schema": 9}, "schema 9"),
        ({"preset": "rid-q", "version": "9.9"}, "rid-defender 9.9 made it: use that version"),
        ({"config": {"detail_width": 8}}, "made it: use that version, or train it again"),
        ({"config": {}}, "not the weights of rid-n: .* made it: use that version"),
        ({"config": {"width": 16, "detail_width": 8, "inner_blocks": 2}}, "is missing; .* made it"),
    ],
)
def test_checkpoint_of_another_version(
    changes: dict[str, Any], text: str, small_checkpoint: Path, tmp_path: Path
) -> None:
    import re

    from rid_core.checkpoint import load_checkpoint
    from rid_core.errors import RidError

    path = rewritten(small_checkpoint, tmp_path / "other.safetensors", **changes)
    with pytest.raises(RidError) as caught:
        load_checkpoint(path)
    assert re.search(text, str(caught.value)), caught.value
    assert "\n" not in str(caught.value)


def test_checkpoint_of_another_version_by_command(small_checkpoint: Path, tmp_path: Path) -> None:
    path = rewritten(small_checkpoint, tmp_path / "other.safetensors", version="9.9", preset="x")
    line = call("--target", "onnx", "--checkpoint", path, "-o", tmp_path / "dist")
    assert line.startswith(f"{path}: ")
    assert "rid-defender 9.9 made it" in line
    assert not (tmp_path / "dist").exists()


# -- space ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_no_space_for_the_converter(
    small_checkpoint: Path, tmp_path: Path, register: Callable[[type[Any]], None]
) -> None:
    register(broken_targets.Full)
    (result,) = export([ExportSpec("broken", resolution=64)], small_checkpoint, tmp_path)
    assert result.error == "no space left while writing rid-n.64px.onnx; free some and run again"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.full
@pytest.mark.slow
def test_no_space_at_all(small_checkpoint: Path, tmp_path: Path) -> None:
    """No file may be longer than 20 kB, as on a disk that is full."""
    old = tmp_path / "rid-n.64px.onnx"
    old.write_bytes(b"the old file")
    limit = 20_000
    line = call(
        *("--target", "onnx", "--resolution", "64", "--checkpoint", small_checkpoint),
        *("-o", tmp_path, "--bare"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert "no space left while writing" in line
    assert [path.name for path in tmp_path.iterdir()] == [old.name]
    assert old.read_bytes() == b"the old file"


# -- photos ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("--calib", "has no usable photo, 2 files skipped .*leave it out for the bundled ones"),
        ("--portraits", "has 0 usable photos, 2 files skipped .*needs at least 8"),
    ],
)
def test_folder_without_photos(
    option: str, text: str, small_checkpoint: Path, tmp_path: Path
) -> None:
    import re

    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"no photo")
    (folder / "notes.txt").write_text("buy milk")
    line = call(
        *("--target", "onnx", "--precision", "int8", "--resolution", "64"),
        *("--checkpoint", small_checkpoint, "-o", tmp_path / "dist", option, folder),
    )
    assert re.search(text, line), line
    missing = call(
        *("--target", "onnx", "--precision", "int8", "--resolution", "64"),
        *("--checkpoint", small_checkpoint, "-o", tmp_path / "dist", option, tmp_path / "none"),
    )
    assert "no such folder of photos" in missing
    assert not (tmp_path / "dist").exists()


# -- files from elsewhere -------------------------------------------------------------------------


def plain_onnx(path: Path) -> None:
    """A sound ONNX file that somebody else made."""
    import onnx
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 8, 8]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph), path)


FOREIGN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "somebody's.onnx": (plain_onnx, "a ONNX file, but not one of ours"),
    "photo.onnx": (lambda path: path.write_bytes(b"\xff\xd8\xff\xe0" * 99), "no exported defender"),
    "empty.tflite": (lambda path: path.touch(), "empty file"),
    "cut.tflite": (lambda path: path.write_bytes(b"\x1c\0\0\0TFL3" + b"\1" * 40), "damaged TFLite"),
    "folder.mlpackage": (lambda path: path.mkdir(), "."),
}


@pytest.mark.parametrize("command", ["inspect", "verify"])
@pytest.mark.parametrize("name", FOREIGN)
def test_files_from_elsewhere(command: str, name: str, tmp_path: Path) -> None:
    make, text = FOREIGN[name]
    path = tmp_path / name
    make(path)
    line = call(command, path)
    assert line.startswith(f"{path}: ")
    assert text in line


@pytest.mark.full
@pytest.mark.slow
def test_a_file_of_a_later_version(small_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    shutil.copy(small_file, path)
    path.write_bytes(path.read_bytes().replace(b'"schema":1', b'"schema":9'))
    for command in ("inspect", "verify"):
        line = call(command, path)
        assert "has schema 9, this version reads 1; install the rid-defender that wrote it" in line


@pytest.mark.slow
def test_a_preset_that_is_not_bundled(small_file: Path, tmp_path: Path) -> None:
    from rid_core.artifact import read_metadata, seal

    path = tmp_path / "m.onnx"
    shutil.copy(small_file, path)
    seal(path, dataclasses.replace(read_metadata(path), preset="rid-x"))
    assert "no trained 'rid-x' comes with the package" in call("verify", path)
