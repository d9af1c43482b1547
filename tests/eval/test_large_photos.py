"""The attacker's view of a large photo, and what is compared in it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from rid_core import protection as protect
from rid_core.budget import Budget
from rid_core.checkpoint import ModelCard, load_checkpoint, save_checkpoint, weights_digest
from rid_core.defenders import create_defender
from rid_core.errors import RidError
from rid_core.runtimes import load_runtime
from rid_core.surrogates import load_surrogate
from rid_eval import large_photos
from rid_eval.cli import group
from rid_eval.large_photos import AttackerView, default_views, load_photo, measure


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = create_defender("rid-n")
    torch.nn.init.normal_(network.to_image.conv.weight, std=0.2)  # type: ignore[union-attr]
    path = tmp_path / "mine.safetensors"
    save_checkpoint(path, network, ModelCard(preset="rid-n", levels=8))
    return path


class Stripes:
    """A perturbation of stripes, four rows each, wherever it is predicted."""

    name = preset = "stripes"
    levels, stride, fixed_size = 8, 8, None

    def perturb(self, image: np.ndarray) -> np.ndarray:
        rows = np.where(np.arange(image.shape[0]) % 8 < 4, 1.0, -1.0)
        return np.broadcast_to(rows[:, None, None], image.shape).astype(np.float32)


@pytest.fixture(scope="module")
def photo(astronaut: np.ndarray) -> np.ndarray:
    """A real portrait, 2048 x 1536."""
    part = Image.fromarray(astronaut[:512, 64:448])
    return np.asarray(part.resize((1536, 2048), Image.Resampling.BICUBIC))


def test_a_small_portrait_becomes_a_photo_of_12_megapixels(portraits: Path) -> None:
    path = portraits / "0000.jpg"
    pixels, enlarged = load_photo(path, seed=3)
    assert enlarged
    assert pixels.shape == (4032, 3024, 3)
    assert np.array_equal(pixels, load_photo(path, seed=3)[0])
    # It looks like what it was made of, and has grain where that was smooth.
    small = np.asarray(Image.fromarray(pixels).resize((288, 384), Image.Resampling.BOX), float)
    with Image.open(path) as image:
        before = np.asarray(image.convert("RGB").crop((48, 0, 336, 384)), float)
    assert np.abs(small - before).mean() < 3
    change = pixels[1:].astype(int) - pixels[:-1]
    assert 1 < np.median(np.abs(change)) < 5


def test_a_large_photo_is_taken_as_it_is(astronaut: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.fromarray(astronaut).resize((2000, 2100)).save(path)
    pixels, enlarged = load_photo(path)
    assert not enlarged
    assert pixels.shape == (2100, 2000, 3)


@pytest.mark.parametrize("view", default_views((256, 384)), ids=lambda view: view.name)
def test_a_view_is_the_middle_of_the_photo(view: AttackerView, photo: np.ndarray) -> None:
    found = view.of(large_photos.CHANNELS[view.channel](photo))
    assert found.shape == (1, 3, view.size, view.size)
    side = round(1536 * view.crop)
    top, left = (2048 - side) // 2, (1536 - side) // 2
    middle = Image.fromarray(photo[top : top + side, left : left + side])
    wanted = np.asarray(middle.resize((view.size, view.size), Image.Resampling.BOX), float)
    error = np.abs(found[0].permute(1, 2, 0).numpy() * 255 - wanted).mean()
    assert error < 4
    assert (found * 255 - (found * 255).round()).abs().max() < 1e-3


def test_a_messenger_makes_it_small(photo: np.ndarray) -> None:
    assert large_photos.messenger(photo).shape == (1600, 1200, 3)
    assert large_photos.messenger(photo[:512, :512]).shape == (512, 512, 3)


def test_predicting_at_the_attackers_scale_keeps_more_than_at_full_size(
    photo: np.ndarray, tiny_encoder_file: Path
) -> None:
    encoder = load_surrogate("tiny-autoencoder", path=tiny_encoder_file)
    views = [AttackerView(512), AttackerView(512, channel="messenger")]
    effects = measure([photo], Stripes(), Budget(8), views, [encoder], sides=(512, 768))["tiny"]
    assert list(effects) == ["512, bilinear", "512, bilinear, messenger"]
    for row in effects.values():
        assert list(row) == ["scale 512", "scale 768", "native", "after"]
        assert row["after"].kept == pytest.approx(100)
        assert row["after"].rms_levels > row["scale 512"].rms_levels > row["native"].rms_levels
        assert np.isnan([row["native"].low, row["native"].high]).all()  # of one photo: none
    assert effects["512, bilinear"]["after"].rms_levels == pytest.approx(8, abs=0.5)


def test_the_real_path_is_the_one_of_rid_protect(photo: np.ndarray, checkpoint: Path) -> None:
    runtime = load_runtime(checkpoint)
    ways = large_photos.ways_to_protect(runtime, Budget(8), (512,))
    assert np.array_equal(ways["scale 512"](photo), protect.protect_photo(photo, runtime))
    with pytest.raises(RidError, match="short side of 500 pixels"):
        large_photos.ways_to_protect(runtime, Budget(8), (500,))


def test_the_bound_holds_at_full_size(photo: np.ndarray) -> None:
    protected = large_photos.protect_native(photo[:700, :900], Stripes(), Budget(8))
    change = protected.astype(int) - photo[:700, :900]
    assert np.abs(change).max() == 8


def test_the_command_writes_the_effects(
    checkpoint: Path, photo: np.ndarray, tiny_encoder_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(photo).resize((2000, 2100)).save(folder / "one.jpg")
    target = tmp_path / "large.json"
    arguments = ["large-photos", str(checkpoint), "--images", str(folder), "--view", "128",
                 "--encoder", str(tiny_encoder_file), "--json", str(target), "--quiet"]  # fmt: skip
    done = CliRunner().invoke(group, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    found = json.loads(target.read_text())
    assert found["what"] == "large photos"
    assert found["images"]["enlarged"] == 0
    assert found["weights"] == weights_digest(load_checkpoint(checkpoint)[0])[:16]
    row = found["effects"]["tiny"]["128, bilinear"]
    assert list(row) == ["scale 512", "native", "after"]
    assert row["after"]["kept"] == 100
    assert found["views"]["128, box, 90% crop"]["crop"] == 0.9
    assert "128, aliased" in done.output


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--pattern", "zz*"], "no portrait matches"),
        (["--view", "100"], "multiples of"),
        (["--side", "100"], "cannot predict at a short side of 100"),
    ],
)
def test_bad_input_is_one_line(
    extra: list[str], message: str, checkpoint: Path, portraits: Path, tiny_encoder_file: Path
) -> None:
    arguments = ["large-photos", str(checkpoint), "--images", str(portraits), "--limit", "1",
                 "--quiet", "--encoder", str(tiny_encoder_file), *extra]  # fmt: skip
    done = CliRunner().invoke(group, arguments)
    assert isinstance(done.exception, RidError)
    assert message in str(done.exception)
