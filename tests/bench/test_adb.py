"""`rid-bench adb` against a stand-in for adb: the command lines, and what can go wrong."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rid_bench.artefacts import open_artefact
from rid_bench.devices import adb
from rid_bench.portable.records import SCHEMA
from rid_core.errors import RidError

FAKE = """#!/bin/sh
# Logs its arguments, one line a call, and answers as the state folder says.
state={state}
printf '%s\\n' "$*" >> "$state/log"
[ "$1" = -s ] && shift 2
case "$1 $2" in
  "devices "*) cat "$state/devices" ;;
  "shell pm") cat "$state/package" ;;
  "shell cat") [ -f "$state/results.json" ] && cat "$state/results.json" || exit 1 ;;
  "shell am") [ -f "$state/answer" ] && cp "$state/answer" "$state/results.json"; true ;;
  "shell rm") rm -f "$state/results.json" ;;
  "push "*)
    [ -f "$state/full" ] && {{ echo "adb: error: No space left on device" >&2; exit 1; }}
    true ;;
  "pull "*) cp "$state/results.json" "$3" ;;
esac
"""


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state of a phone that works; PATH begins with its adb."""
    state = tmp_path / "phone"
    state.mkdir()
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "adb").write_text(FAKE.format(state=shlex.quote(str(state))))
    (programs / "adb").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    (state / "devices").write_text("List of devices attached\nABC123\tdevice\n\n")
    (state / "package").write_text("package:/data/app/base.apk\n")
    run = {"created": "2026", "machine": {"cpu": "Tensor G4"}, "cells": []}
    (state / "answer").write_text(json.dumps({"schema": SCHEMA, "runs": [run]}))
    return state


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    file = tmp_path / "portrait.png"
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(file)
    return file


def start(exported: dict[str, Path], photo: Path, tmp_path: Path, **other: Any) -> Any:
    artefacts = [open_artefact(exported["tflite"])]
    where = other.pop("phone", adb.Phone())
    return adb.run(where, artefacts, photo, tmp_path / "phone.json", pause=0.01, **other)


def test_command_lines(phone: Path, exported: dict[str, Path], photo: Path, tmp_path: Path) -> None:
    (found,) = start(exported, photo, tmp_path, threads=2, runs=30, delegate="gpu")
    assert found.machine.cpu == "Tensor G4"
    folder = "/sdcard/Android/data/org.rid.demo/files/bench"
    assert (phone / "log").read_text().splitlines() == [
        "devices",
        "shell pm path org.rid.demo",
        f"shell mkdir -p {folder}",
        f"shell rm -f {folder}/results.json",
        f"push {exported['tflite']} {folder}/{exported['tflite'].name}",
        f"push {photo} {folder}/portrait.png",
        "shell am start -W -n org.rid.demo/.BenchmarkActivity "
        f"--es models {exported['tflite'].name} "
        "--es photo portrait.png --ei threads 2 --ei runs 30 --es delegate gpu",
        f"shell cat {folder}/results.json",
        f"pull {folder}/results.json {tmp_path / 'phone.json'}",
    ]


def test_a_serial_goes_with_every_command(
    phone: Path, exported: dict[str, Path], photo: Path, tmp_path: Path
) -> None:
    start(exported, photo, tmp_path, phone=adb.Phone(serial="ABC123"))
    lines = (phone / "log").read_text().splitlines()
    assert all(line.startswith("-s ABC123 ") for line in lines)


@pytest.mark.parametrize(
    ("devices", "complaint"),
    [
        ("List of devices attached\n\n", "no phone is connected"),
        ("List of devices attached\nA\tunauthorized\n", "A is unauthorized"),
        ("List of devices attached\nA\tdevice\nB\tdevice\n", "--serial A"),
    ],
)
def test_phones_that_cannot_be_used(
    phone: Path,
    exported: dict[str, Path],
    photo: Path,
    tmp_path: Path,
    devices: str,
    complaint: str,
) -> None:
    (phone / "devices").write_text(devices)
    with pytest.raises(RidError, match=complaint):
        start(exported, photo, tmp_path)


def test_no_app(phone: Path, exported: dict[str, Path], photo: Path, tmp_path: Path) -> None:
    (phone / "package").write_text("")
    with pytest.raises(RidError, match=r"org\.rid\.demo is not installed"):
        start(exported, photo, tmp_path)


def test_no_space(phone: Path, exported: dict[str, Path], photo: Path, tmp_path: Path) -> None:
    (phone / "full").touch()
    with pytest.raises(RidError, match="No space left on device"):
        start(exported, photo, tmp_path)


def test_no_answer(phone: Path, exported: dict[str, Path], photo: Path, tmp_path: Path) -> None:
    (phone / "answer").unlink()
    (phone / "results.json").write_text("{}")  # of an earlier run: must not be taken for an answer
    with pytest.raises(RidError, match=r"no results after 0\.2 s"):
        start(exported, photo, tmp_path, seconds=0.2)


def test_a_half_written_answer_is_waited_for(
    phone: Path, exported: dict[str, Path], photo: Path, tmp_path: Path
) -> None:
    whole = (phone / "answer").read_text()
    (phone / "answer").write_text(whole[: len(whole) // 2])
    with pytest.raises(RidError, match="no results"):
        start(exported, photo, tmp_path, seconds=0.2)


def test_no_adb(
    exported: dict[str, Path], photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RidError, match="adb is not installed"):
        start(exported, photo, tmp_path)
