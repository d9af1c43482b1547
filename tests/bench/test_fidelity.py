"""The reference and what is held against it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_defender import tiny

from rid_bench import fidelity
from rid_bench import reference as references
from rid_bench.artefacts import open_all, open_artefact, open_checkpoint
from rid_bench.photos import folder_photos, gate_photos
from rid_core.artifact import rewrite_metadata
from rid_core.checkpoint import load_checkpoint, weights_digest
from rid_core.errors import RidError
from rid_core.fidelity import SQNR_LIMIT


def test_reference_states_weights_and_photos(reference: Any, checkpoint: Path) -> None:
    assert reference.weights == weights_digest(load_checkpoint(checkpoint)[0])
    assert reference.levels == 8
    assert reference.resolution == 64
    assert "float32" in reference.device
    assert set(reference.floor) == {"float64"}
    assert 80 < reference.floor["float64"].sqnr_db < SQNR_LIMIT


def test_reference_is_the_defenders_answer(reference: Any, checkpoint: Path) -> None:
    defender, _ = load_checkpoint(checkpoint)
    batch = torch.from_numpy(reference.images[1].astype(np.float32) / 255).permute(2, 0, 1)[None]
    with torch.inference_mode():
        wanted = defender(batch)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(reference.deltas[1], wanted, atol=1e-6)


def test_tf32_is_off_inside_and_as_before_outside() -> None:
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        with references.exact_float32():
            assert not torch.backends.cuda.matmul.allow_tf32
            assert not torch.backends.cudnn.allow_tf32
        assert torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False


def test_round_trip(reference: Any, tmp_path: Path) -> None:
    file = tmp_path / "r.safetensors"
    references.save(reference, file)
    again = references.load(file)
    for field in dataclasses.fields(reference):
        wanted, got = getattr(reference, field.name), getattr(again, field.name)
        if field.name in ("images", "deltas"):
            for one, other in zip(wanted, got, strict=True):
                np.testing.assert_array_equal(one, other)
        else:
            assert wanted == got, field.name


def test_changed_photos_are_noticed(reference: Any, tmp_path: Path) -> None:
    images = (reference.images[0] ^ 1, *reference.images[1:])
    file = tmp_path / "r.safetensors"
    references.save(dataclasses.replace(reference, images=images), file)
    with pytest.raises(RidError, match="not those of its digest"):
        references.load(file)


@pytest.mark.parametrize("content", [b"", b"not a file of tensors at all", None])
def test_damaged_references(content: bytes | None, tmp_path: Path, checkpoint: Path) -> None:
    file = tmp_path / "r.safetensors"
    file.write_bytes(checkpoint.read_bytes() if content is None else content)
    with pytest.raises(RidError, match="no reference, or a damaged one"):
        references.load(file)


def test_no_gpu_is_said(checkpoint: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(RidError, match="no CUDA device"):
        references.make(checkpoint, *gate_photos(64), device="cuda")
    with pytest.raises(RidError, match="cpu or cuda"):
        references.make(checkpoint, *gate_photos(64), device="tpu")


def test_untrained_is_refused(tmp_path: Path) -> None:
    from rid_core.checkpoint import ModelCard, save_checkpoint
    from rid_core.defenders import create_defender

    config = {"width": 16, "detail_width": 8, "inner_blocks": 0}
    file = tmp_path / "new.safetensors"
    save_checkpoint(file, create_defender("rid-n", **config), ModelCard("rid-n", 8, config=config))
    with pytest.raises(RidError, match="untrained"):
        references.make(file, *gate_photos(64), floor=False)


@pytest.mark.parametrize("target", ["tflite", "onnx"])
def test_a_faithful_file(target: str, exported: dict[str, Path], reference: Any) -> None:
    (row,) = fidelity.measure([open_artefact(exported[target])], [reference])
    assert row.error is None
    assert row.gate is None
    assert len(row.images) == 2
    assert row.worst.sqnr_db > 90
    assert row.worst.sqnr_db == min(image.sqnr_db for image in row.images)
    assert row.worst.max_error == max(image.max_error for image in row.images)
    assert row.worst.change_levels <= 8
    assert row.worst.ssim > 0.999


def test_other_weights_are_refused_by_digest(
    exported: dict[str, Path], reference: Any, tmp_path: Path
) -> None:
    other = references.make(tiny(4, tmp_path), reference.names, reference.images, floor=False)
    with pytest.raises(RidError, match="exported from weights"):
        fidelity.measure([open_artefact(exported["onnx"])], [other])
    fidelity.measure([open_artefact(exported["onnx"])], [other, reference])  # either may fit


def test_another_size_is_refused(exported: dict[str, Path], reference: Any) -> None:
    larger = dataclasses.replace(reference, resolution=128)
    with pytest.raises(RidError, match="--resolution 64"):
        references.find(open_artefact(exported["tflite"]), [larger])


def test_a_file_that_fails_its_own_metadata(exported: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "altered.onnx"
    data = bytearray(exported["onnx"].read_bytes())
    place = len(data) // 2
    data[place] ^= 0xFF
    file.write_bytes(data)
    with pytest.raises(RidError, match=r"damaged|changed|JSON|not one of ours"):
        open_artefact(file)
    file.write_bytes(exported["onnx"].read_bytes())
    rewrite_metadata(file, dataclasses.replace(open_artefact(file).metadata, layout="nhwc"))
    artefact = open_artefact(file)  # the digest covers the network; running it finds the lie
    assert artefact.metadata.layout == "nhwc"


def test_figures_of_known_errors() -> None:
    draw = np.random.default_rng(0)
    image = draw.integers(60, 196, (64, 64, 3), dtype=np.uint8)
    truth = np.where(draw.random((64, 64, 3)) < 0.5, -1, 1).astype(np.float32)
    same = fidelity.image_figures(image, truth, truth, 8)
    assert same.sqnr_db == SQNR_LIMIT
    assert same.psnr_db == SQNR_LIMIT
    assert same.ssim == pytest.approx(1)
    assert same.change_levels == 8
    assert same.photo_psnr_db == pytest.approx(20 * np.log10(255 / 8), abs=1e-6)
    half = fidelity.image_figures(image, truth, truth * np.float32(0.5), 8)
    assert half.sqnr_db == pytest.approx(20 * np.log10(2), abs=1e-6)
    assert half.psnr_db == pytest.approx(20 * np.log10(255 / 4), abs=1e-6)
    assert half.cosine == pytest.approx(1)
    wrong = fidelity.image_figures(image, truth, -truth, 8)
    assert wrong.sign_agreement == 0


def test_retained_shift() -> None:
    from rid_bench.peers import random_encoder

    surrogate = random_encoder(width=8)
    calls = []
    plain = surrogate.encode
    surrogate.encode = lambda batch: calls.append(1) or plain(batch)
    encode = fidelity.encoder(surrogate)
    draw = np.random.default_rng(0)
    image = draw.integers(60, 196, (64, 64, 3), dtype=np.uint8)
    truth = draw.uniform(-1, 1, (64, 64, 3)).astype(np.float32)
    kept = [
        fidelity.image_figures(image, truth, truth * np.float32(share), 8, encode).retained_shift
        for share in (1.0, 0.5, 0.0)
    ]
    assert len(calls) == 3  # the photo, the reference's, and a half; the others were known
    assert kept[0] == pytest.approx(1)
    assert 0.05 < kept[1] < 0.9
    assert kept[2] == 0


def test_photos_of_a_folder(tmp_path: Path, astronaut: np.ndarray) -> None:
    from PIL import Image

    Image.fromarray(astronaut[:300]).save(tmp_path / "wide.png")
    Image.fromarray(astronaut[:, :200]).save(tmp_path / "tall.jpg")
    names, images = folder_photos(tmp_path, 128)
    assert names == ["tall.jpg", "wide.png"]
    assert all(image.shape == (128, 128, 3) and image.dtype == np.uint8 for image in images)
    with pytest.raises(RidError, match="no photos"):
        folder_photos(tmp_path / "none", 128)


def test_opening_what_is_given(exported: dict[str, Path], checkpoint: Path, tmp_path: Path) -> None:
    artefacts, checkpoints = open_all([exported["onnx"].parent, checkpoint], 64)
    assert sorted(a.path.suffix for a in artefacts) == [".onnx", ".tflite"]
    assert checkpoints == [open_checkpoint(checkpoint, 64)]
    with pytest.raises(RidError, match="no exported files"):
        open_all([tmp_path])
    with pytest.raises(RidError, match="multiples of 16"):
        open_checkpoint(checkpoint, 100)
