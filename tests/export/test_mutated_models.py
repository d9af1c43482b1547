"""Thousands of damaged model files: each opens, or is refused in one line."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from mutate import mutant

from rid_core.artifact import artifact_format
from rid_core.errors import RidError
from rid_core.image import containers
from rid_core.runtimes import load_runtime

MUTANTS = {"safetensors": 400, "onnx": 1000, "tflite": 1000, "mlpackage": 1000}
"""How many of each kind of file; torch builds a network anew for each."""


@pytest.fixture(scope="module")
def model(request, small_checkpoint, small_file, tmp_path_factory):
    """A sound file of the tiny defender: a checkpoint, or exported to a target at 64 pixels."""
    if request.param == "safetensors":
        return small_checkpoint
    if request.param == "onnx":
        return small_file
    from rid_export.pipeline import export
    from rid_export.spec import ExportSpec

    out = tmp_path_factory.mktemp("model")
    (made,) = export([ExportSpec(request.param, resolution=64)], small_checkpoint, out)
    assert made.error is None, made.error
    return made.file


def places(model: Path) -> list[tuple[Path, slice]]:
    """Parts of the file, or of the files in a package, that damage is done to in turn."""
    kind = artifact_format(model)
    found = [(file, slice(None)) for file in sorted(model.rglob("*")) if file.is_file()]
    if model.is_file():
        found = [(model, slice(None))]
    if kind == "torch":
        return [*found, (model, slice(8, 8 + int.from_bytes(model.read_bytes()[:8], "little")))]
    block = containers.find_block(model, kind)
    assert block is not None
    return [*found, (block.file, slice(block.offset, block.offset + block.length))]


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.parametrize("model", ["safetensors", "onnx", "tflite", "coreml"], indirect=True)
def test_every_mutant_opens_or_is_refused_in_one_line(model, tmp_path, capfd):
    copy = tmp_path / model.name
    if model.is_dir():
        shutil.copytree(model, copy)
    else:
        shutil.copy(model, copy)
    parts = [(file, file.read_bytes(), where) for file, where in places(copy)]
    sound = [data for _, data, _ in parts]
    image = np.full((64, 64, 3), 0.5, np.float32)
    outcomes: Counter[str] = Counter()
    count = MUTANTS[model.suffix[1:]]
    for number in range(count):
        chance = random.Random(f"{model.suffix} {number}")
        file, data, where = parts[number % len(parts)]
        start, stop, _ = where.indices(len(data))
        changed = data[:start] + mutant(data[start:stop], sound, chance) + data[stop:]
        file.write_bytes(changed)
        try:
            runtime = load_runtime(copy, threads=1)
            unit = runtime.perturb(image)
        except RidError as error:
            text = str(error)
            assert str(copy) in text, (number, text)
            assert "\n" not in text, (number, text)
            opened = "Core ML runs on macOS only" in text
            outcomes["opened" if opened else "refused"] += 1
        except BaseException:
            kept = tmp_path / f"mutant-{number}{file.suffix}"
            kept.write_bytes(changed)
            print(f"mutant {number} of {file.name} is kept as {kept}")
            raise
        else:
            assert unit.shape == image.shape
            assert np.abs(unit).max() <= 1
            outcomes["opened"] += 1
        file.write_bytes(data)
    capfd.readouterr()
    print(f"{model.name}: {dict(outcomes)}")
    assert outcomes["refused"] > count // 2
    assert outcomes["opened"] > 0
