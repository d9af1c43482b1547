from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = [sys.executable, "-c", "from rid_export.cli import main; main()"]


def test_help_is_quick_and_shows_examples() -> None:
    times = []  # of the processor: what a busy machine does not lengthen
    for _ in range(5):
        start = os.times()
        done = subprocess.run([*PROGRAM, "--help"], capture_output=True, text=True, check=False)
        end = os.times()
        times.append(
            end.children_user + end.children_system - start.children_user - start.children_system
        )
    assert done.returncode == 0
    assert "rid-export --target tflite" in done.stdout
    assert "inspect" in done.stdout
    assert min(times) < 0.3


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--target", "tflight"], 1, "did you mean tflite"),
        (["--target", "onnx", "--precision", "fp31"], 1, "did you mean fp32"),
        (["--target", "onnx", "--checkpoint", "none.safetensors"], 1, "no such checkpoint"),
        (["--target", "coreml", "--io", "uint8"], 1, "image types, 8 bits per colour, as it is"),
        (["--target", "all", "--target", "coreml", "--io", "uint8"], 1, "leave --io out"),
        (
            ["--target", "all", "--precision", "pal8", "--io", "uint8"],
            1,
            "; onnx cannot be",
        ),
        (["--resolution", "many"], 2, "Invalid value for '--resolution'"),
        (["inspekt"], 2, "No such command"),
        (["inspect", "none.tflite"], 1, "none.tflite: cannot be read"),
    ],
)
def test_what_is_wrong_is_one_line(call: Any, arguments: list[str], code: int, text: str) -> None:
    done = call(*arguments)
    assert done.returncode == code
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert code == 2 or done.stderr.count("\n") == 1


@pytest.mark.slow
def test_export_end_to_end(call: Any, small_checkpoint: Path, tmp_path: Path) -> None:
    arguments = ["--target", "tflite", "--resolution", "64", "--checkpoint", small_checkpoint]
    done = call(*arguments, "-o", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["artefacts"]
    assert row["file"] == str(tmp_path / "rid-n.64px.tflite")
    assert row["error"] is None
    assert row["parity"][0]["checks"][0]["name"] == "delta_sqnr_db"
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "RidN64pxTflite.kt",
        "rid-n.64px.tflite",
        "rid-n.export.html",
        "rid-n.export.json",
    ]
    # Nothing of what converters print reaches the user, and no progress bar a file.
    assert all(line.startswith("  ") for line in done.stderr.splitlines()), done.stderr
    assert "\x1b" not in done.stderr

    # Another export into the same folder adds to the report; its table is plain text in a pipe.
    more = call("--target", "onnx", *arguments[2:], "-o", tmp_path)
    assert more.returncode == 0, more.stderr
    assert re.match(r"file +size, MB +time, s +SQNR of delta, dB", more.stdout)
    assert len(more.stdout.splitlines()) == 2
    artefacts = json.loads((tmp_path / "rid-n.export.json").read_text())["artefacts"]
    assert [row["file"] for row in artefacts] == ["rid-n.64px.tflite", "rid-n.64px.onnx"]
    assert artefacts[0]["created"] < artefacts[1]["created"]
    page = (tmp_path / "rid-n.export.html").read_text()
    assert all(row["file"] in page and row["created"][11:16] in page for row in artefacts)

    shown = call("inspect", tmp_path / "rid-n.64px.tflite")
    assert shown.returncode == 0
    assert "6 levels of 255" in shown.stdout
    assert "delta: float32 [1, 64, 64, 3] in [-1, 1]" in shown.stdout
    document = json.loads(call("inspect", tmp_path / "rid-n.64px.tflite", "--json").stdout)
    assert document["schema"] == 1


@pytest.mark.slow
def test_all_that_can_be_is_made_and_the_rest_is_named(
    call: Any, small_checkpoint: Path, tmp_path: Path
) -> None:
    settings = ["--target", "all", "--io", "uint8", "--resolution", "64"]
    done = call(*settings, "--checkpoint", small_checkpoint, "-o", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    assert "left out: coreml cannot be written with --io uint8: image and " in done.stderr
    document = json.loads(done.stdout)
    assert [row["target"] for row in document["artefacts"]] == ["onnx", "tflite"]
    assert [row["error"] for row in document["artefacts"]] == [None, None]
    lines = document["left_out"]
    assert [line.split()[0] for line in lines] == ["coreml", "executorch"]
    assert lines[0].startswith("coreml cannot be written with --io uint8")
    assert json.loads((tmp_path / "rid-n.export.json").read_text())["left_out"] == lines
    for line in lines:
        assert line.split(":")[0] in (tmp_path / "rid-n.export.html").read_text()
    assert (tmp_path / "rid-n.64px.uint8.onnx").exists()
    assert (tmp_path / "rid-n.64px.uint8.tflite").exists()
    assert not list(tmp_path.glob("*.mlpackage"))


@pytest.mark.slow
def test_unwritable_output(call: Any, small_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    arguments = ["--target", "onnx", "--resolution", "64", "--checkpoint", small_checkpoint]
    done = call(*arguments, "-o", tmp_path / "file")
    assert done.returncode == 1
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.slow
def test_inspect_of_an_altered_file(call: Any, exported: Any, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    data = bytearray(exported("onnx").file.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    done = call("inspect", path)
    assert done.returncode == 1
    assert "changed after its export" in done.stderr
    assert "rid-s" in done.stdout
