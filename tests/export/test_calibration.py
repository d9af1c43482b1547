"""The calibration set: the same bytes every time, real photos, and no noise by accident."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rid_core.errors import RidError
from rid_export.calibration import CalibrationData, calibration_data_for, make_calibration
from rid_export.spec import ExportSpec


def test_it_is_deterministic_and_its_digest_tells_sets_apart() -> None:
    first, second = make_calibration(None, 12, 64), make_calibration(None, 12, 64)
    assert np.array_equal(first.images, second.images)
    assert first.digest == second.digest
    assert first.images.shape == (12, 64, 64, 3)
    assert first.unfit is None
    assert "12 views of" in first.origin
    others = [make_calibration(None, 11, 64), make_calibration(None, 12, 32)]
    assert len({first.digest, *(other.digest for other in others)}) == 3
    assert len({image.tobytes() for image in first.images}) == 12


def test_a_folder_of_photos(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(3):
        pixels = random.integers(0, 255, (90, 70, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    (tmp_path / "damaged.jpg").write_bytes(b"no photo")
    made = make_calibration(str(tmp_path), 5, 64)
    assert made.images.shape == (5, 64, 64, 3)
    assert "3 photos" in made.origin
    assert make_calibration(str(tmp_path), 5, 64).digest == made.digest


def test_a_folder_without_photos(tmp_path: Path) -> None:
    (tmp_path / "damaged.jpg").write_bytes(b"no photo")
    with pytest.raises(RidError, match="no usable photo"):
        make_calibration(str(tmp_path), 5, 64)
    with pytest.raises(RidError):
        make_calibration(str(tmp_path / "none"), 5, 64)


def test_noise_is_refused_unless_asked_for_and_then_unfit() -> None:
    with pytest.raises(RidError, match="noise is no calibration"):
        ExportSpec("tflite", precision="int8", calib="noise")
    spec = ExportSpec(
        "tflite",
        precision="int8",
        calib="noise",
        calib_samples=2,
        resolution=32,
        allow_noise=True,
    )
    assert calibration_data_for(spec, None).unfit == "calibrated on noise"


def test_material_survives_files(tmp_path: Path) -> None:
    made = make_calibration(None, 3, 32)
    material = CalibrationData(made.images[:2], made.images, made.digest, made.unfit)
    material.save(tmp_path)
    loaded = CalibrationData.load(tmp_path)
    assert loaded.calibration is not None
    assert np.array_equal(loaded.calibration, made.images)
    assert np.array_equal(loaded.portraits, made.images[:2])
    assert (loaded.digest, loaded.unfit) == (made.digest, None)
