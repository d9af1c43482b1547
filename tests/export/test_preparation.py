"""References and images: made once a run, the right ones for each spec, refused where unfit."""

from __future__ import annotations

import dataclasses
import errno
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rid_core.errors import RidError
from rid_core.runtimes.torch import TorchRuntime
from rid_export.calibration import CalibrationData
from rid_export.preparation import Preparation, scratch_folder
from rid_export.spec import ExportSpec

FLOAT = ExportSpec("onnx", resolution=64)
WEIGHTS = ExportSpec("tflite", precision="w8", resolution=64)
INT8 = ExportSpec("tflite", precision="int8", resolution=64, calib_samples=3)


@pytest.fixture
def notices() -> list[str]:
    return []


@pytest.fixture
def prepared(small_checkpoint: Path, tmp_path: Path, notices: list[str]) -> Preparation:
    return Preparation(TorchRuntime(small_checkpoint), tmp_path, notices.append)


def test_a_reference_is_made_once_for_a_size(prepared: Preparation, notices: list[str]) -> None:
    reference = prepared.reference(FLOAT)
    assert prepared.reference(INT8) is reference
    assert notices == ["running rid-n in torch on 8 views of 2 portraits"]
    assert reference.levels == 6
    assert reference.shift is None
    assert len(reference.portraits) == len(reference.deltas) == 8
    other = prepared.reference(ExportSpec("onnx", resolution=32))
    assert other.deltas[0].shape == (32, 32, 3)
    assert len(notices) == 2


def test_the_reference_is_the_networks_own_answer(
    prepared: Preparation, small_checkpoint: Path
) -> None:
    reference = prepared.reference(FLOAT)
    image = reference.portraits[3]
    expected = TorchRuntime(small_checkpoint).perturb(image)
    np.testing.assert_allclose(reference.deltas[3], expected, atol=1e-6)
    assert np.array_equal(reference.predict(image), reference.deltas[3])


def test_the_reference_of_a_dynamic_file_has_many_sizes(prepared: Preparation) -> None:
    spec = ExportSpec("onnx", resolution=64, dynamic=True)
    found = prepared.reference(spec)
    assert prepared.reference(spec) is found is not prepared.reference(FLOAT)
    assert [p.shape for p in found.portraits] == [d.shape for d in found.deltas]
    assert found.sizes[:2] == ((64, 64), (16, 16))
    assert len(found.portraits) == 8 + len(found.sizes) - 1
    assert prepared.reference(FLOAT).sizes == ((64, 64),)
    # What the converter gets stays square.
    assert prepared.calibration_folder(dataclasses.replace(WEIGHTS, dynamic=True)) is not None


def test_an_untrained_network_proves_nothing(tmp_path: Path, notices: list[str]) -> None:
    from rid_core.checkpoint import ModelCard, save_checkpoint
    from rid_core.defenders import create_defender

    config = {"width": 16, "detail_width": 8, "inner_blocks": 1}
    path = tmp_path / "untrained.safetensors"
    defender = create_defender("rid-n", **config)
    save_checkpoint(path, defender, ModelCard("rid-n", levels=8, config=config))
    with pytest.raises(RidError, match="untrained"):
        Preparation(TorchRuntime(path), tmp_path, notices.append).reference(FLOAT)


def test_too_few_photos_are_refused(small_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("no photo")
    prepared = Preparation(
        TorchRuntime(small_checkpoint), tmp_path, lambda line: None, portraits=tmp_path
    )
    with pytest.raises(RidError, match="0 usable photos, 1 file skipped"):
        prepared.reference(FLOAT)


def test_a_surrogate_that_is_not_there(small_checkpoint: Path, tmp_path: Path) -> None:
    missing = tmp_path / "none.safetensors"
    prepared = Preparation(
        TorchRuntime(small_checkpoint), tmp_path, lambda line: None, surrogate=missing
    )
    with pytest.raises(RidError, match="no such file"):
        prepared.reference(FLOAT)


def test_only_integer_activations_are_calibrated(prepared: Preparation, notices: list[str]) -> None:
    assert prepared.calibration(FLOAT) is None
    assert prepared.calibration(WEIGHTS) is None
    assert notices == []
    made = prepared.calibration(INT8)
    assert made is not None
    assert made.images.shape == (3, 64, 64, 3)
    assert notices[-1] == f"calibration: 3 views of 2 portraits, digest {made.digest[:12]}"
    assert (
        prepared.calibration(ExportSpec("onnx", precision="w8a16", resolution=64, calib_samples=3))
        is made
    )
    more = prepared.calibration(
        ExportSpec("tflite", precision="int8", resolution=64, calib_samples=4)
    )
    assert more is not None
    assert more.digest != made.digest


def test_converters_get_the_images_that_they_need(prepared: Preparation) -> None:
    assert prepared.calibration_folder(FLOAT) is None
    plain, calibrated = prepared.calibration_folder(WEIGHTS), prepared.calibration_folder(INT8)
    assert plain is not None
    assert calibrated is not None
    assert plain != calibrated
    assert prepared.calibration_folder(ExportSpec("onnx", precision="fp16", resolution=64)) == plain
    read = CalibrationData.load(calibrated)
    made = prepared.calibration(INT8)
    assert made is not None
    assert read.calibration is not None
    assert np.array_equal(read.calibration, made.images)
    assert read.digest == made.digest
    wanted = [image * 255 for image in prepared.portraits(INT8).images]
    np.testing.assert_allclose(read.portraits, wanted, atol=1e-3)
    assert CalibrationData.load(plain).calibration is None


def test_noise_is_handed_on_as_unfit(prepared: Preparation) -> None:
    spec = ExportSpec(
        "tflite", precision="int8", resolution=32, calib="noise", calib_samples=2, allow_noise=True
    )
    folder = prepared.calibration_folder(spec)
    assert folder is not None
    assert CalibrationData.load(folder).unfit == "calibrated on noise"


def test_a_full_disk_is_named_and_the_next_try_starts_anew(
    prepared: Preparation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: CalibrationData, folder: Path) -> None:
        (folder / "portraits.npy").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(CalibrationData, "save", full)
        for _ in range(2):
            with pytest.raises(RidError, match=r"\(No space left on device\); TMPDIR names"):
                prepared.calibration_folder(WEIGHTS)
    folder = prepared.calibration_folder(WEIGHTS)
    assert folder is not None
    assert len(CalibrationData.load(folder).portraits) == 8


def test_a_scratch_folder_goes_whatever_happens(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with scratch_folder() as folder:
        (folder / "file").write_text("x")
    assert not folder.exists()
    with pytest.raises(ZeroDivisionError), scratch_folder() as folder:
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(RidError, match="no place for temporary files"), scratch_folder():
        pass
