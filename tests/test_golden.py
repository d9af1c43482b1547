"""The golden vectors are what the code computes now, and a reader of the README can use them."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def generate() -> Any:
    spec = importlib.util.spec_from_file_location("golden_generate", GOLDEN / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text())


@pytest.mark.parametrize("name", ["budget", "tiling", "resample", "photo"])
def test_algorithms_are_fresh(generate: Any, name: str) -> None:
    assert generate.stale_topic(name) == [], "run: make golden"


def test_model_is_fresh(generate: Any) -> None:
    assert generate.stale_model() == [], "run: make golden"


def test_a_stale_file_is_noticed(
    generate: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in GOLDEN.glob("*.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(generate, "HERE", tmp_path)
    assert generate.stale() == []
    document = read("model")
    delta = np.frombuffer(base64.b64decode(document["delta"]), "<f4").copy()
    delta[7] *= 0.9
    document["delta"] = base64.b64encode(delta.tobytes()).decode()
    document["weights"] = "0" * 64
    (tmp_path / "model.json").write_text(json.dumps(document))
    budget = (tmp_path / "budget.json").read_text()
    (tmp_path / "budget.json").write_text(budget.replace("255", "254", 1))
    (tmp_path / "tiling.json").unlink()
    found = "\n".join(generate.stale())
    assert "budget.json: apply_uint8: 0: image: 13 differs" in found
    assert "tiling.json, which is missing" in found
    assert "another weights" in found
    assert "delta differs" in found


def test_last_digits_are_no_difference_and_a_level_is(generate: Any) -> None:
    fresh = json.loads(generate.topic_text("resample"))
    found = json.loads(generate.topic_text("resample"))
    value = found["sharpen"][0]["result"][0][0][0]
    found["sharpen"][0]["result"][0][0][0] = value + 1e-7
    assert generate._difference(found, fresh, "x") is None
    found["sharpen"][0]["result"][0][0][0] = value + 1e-4
    assert generate._difference(found, fresh, "x") == "x: sharpen: 0: result: 0: 0: 0"
    found = json.loads(generate.topic_text("resample"))
    found["resample"][2]["image"][0][0][0] += 1
    assert generate._difference(found, fresh, "x") == "x: resample: 2: image: 0: 0: 0"


def test_small_enough_to_commit() -> None:
    assert sum(file.stat().st_size for file in GOLDEN.iterdir() if file.is_file()) < 400_000


def test_every_file_is_described() -> None:
    text = (GOLDEN / "README.md").read_text()
    for file in GOLDEN.iterdir():
        if file.is_file() and file.name != "README.md":
            assert file.name in text
    for file in GOLDEN.glob("*.json"):
        for key in json.loads(file.read_text()):
            assert re.search(rf"\b{key}\b", text), key


def test_budget_as_the_readme_says() -> None:
    """In plain Python, as in a language without numpy."""
    cases = read("budget")["apply_uint8"]
    assert len(cases) >= 20
    changed = 0
    for case in cases:
        scale = np.float32(case["levels"] * case["strength"])
        for image, unit, expected in zip(
            case["image"], case["unit"], case["protected"], strict=True
        ):
            step = round(float(np.float32(min(max(unit, -1), 1)) * scale))
            assert min(max(image + step, 0), 255) == expected, case["name"]
            assert abs(expected - image) <= case["levels"]
            changed += expected != image
    assert changed > 100


def test_photo_as_the_readme_says() -> None:
    """The steps by the README's words, with rid_core's pieces."""
    from rid_core.budget import Budget
    from rid_core.image import tiling

    for case in read("photo")["protect"]:
        pixels = np.array(case["image"], np.uint8)
        tile = case["tile"]
        height, width = tiling.working_size(*pixels.shape[:2], tile)
        view = tiling.resample(pixels, height, width) / np.float32(255)
        unit = np.zeros((height, width, 3), np.float32)
        for part in tiling.tiles(height, width, tile):
            value = view[part.rows, part.columns]
            odd = np.indices(value.shape).sum(axis=0) % 2 == 1
            answer = np.clip(4 * value - 2 + np.where(odd, 0.5, -0.5), -1, 1)
            unit[part.rows, part.columns] += part.weight * answer
        np.testing.assert_allclose(unit, np.array(case["working_unit"]), atol=1e-5)
        larger = min(pixels.shape[:2]) > tile
        full = tiling.resample(tiling.sharpen(unit) if larger else unit, *pixels.shape[:2])
        got = Budget(case["levels"], case["strength"]).apply_uint8(pixels, full)
        expected = np.array(case["protected"], np.uint8)
        assert (got == expected).mean() > 0.999
        assert np.abs(got.astype(int) - expected).max() <= 1


def test_model_as_the_readme_says() -> None:
    """Decode everything by hand and hold it together."""
    from PIL import Image

    document = read("model")
    with Image.open(GOLDEN / "portrait.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    assert list(pixels.shape[:2]) == document["image"]["size"] == [512, 512]
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == document["image"]["rgb_sha256"]
    delta = np.frombuffer(base64.b64decode(document["delta"]), "<f4").reshape(64, 64, 3)
    protected = np.frombuffer(base64.b64decode(document["protected"]), np.uint8)
    protected = protected.reshape(64, 64, 3)
    assert np.abs(delta).max() <= 1
    assert np.square(delta).mean() > 0.01
    phases = set()
    for i in range(64):
        for j in range(64):
            row, column = 8 * i + 3 * i % 8, 8 * j + (5 * j + i) % 8
            phases.add((row % 8, column % 8))
            step = np.rint(delta[i, j] * np.float32(document["levels"]))
            expected = np.clip(pixels[row, column] + step, 0, 255)
            assert (protected[i, j] == expected).all()
    assert len(phases) > 20  # within the cells, so that no phase of a shuffle is left out
    assert document["tolerance"]["fp32"]["delta_sqnr_db"] == 60
