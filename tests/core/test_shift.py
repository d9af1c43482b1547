from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from rid_core.budget import Budget
from rid_core.checkpoint import ModelCard, load_checkpoint, save_checkpoint
from rid_core.cli.evaluate import group
from rid_core.defenders import create_defender
from rid_core.evaluation import shift
from rid_core.surrogates import load_surrogate


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    defender = create_defender("rid-n")
    torch.nn.init.normal_(defender.to_image.conv.weight, std=0.1)  # type: ignore[union-attr]
    path = tmp_path / "mine.safetensors"
    save_checkpoint(path, defender, ModelCard(preset="rid-n", levels=8))
    return path


def test_no_change_is_no_shift_and_random_signs_are_the_bound(
    portraits: Path, tiny_encoder_file: Path
) -> None:
    images = list(shift.load_images(portraits, "000[0-2].jpg", 96).values())
    assert [tuple(image.shape) for image in images] == [(1, 3, 96, 96)] * 3
    surrogate = load_surrogate("tiny-autoencoder", path=tiny_encoder_file)
    nothing, _ = shift.measure(torch.zeros_like, images, [surrogate], Budget(8))
    assert nothing.rms_levels == 0
    assert nothing.ssim == pytest.approx(1)
    after = nothing.shift["tiny"]
    assert all(step.against_same_channel == 0 for step in after.values())
    # What the channel does by itself shows only against the original.
    assert after["jpeg75"].against_original > 0
    signs, _ = shift.measure(shift.random_signs, images, [surrogate], Budget(8))
    assert 7 < signs.rms_levels <= 8
    assert signs.shift["tiny"]["plain"].against_original > 0


def test_random_signs_are_the_same_for_the_same_image() -> None:
    image = torch.rand(1, 3, 16, 16)
    assert torch.equal(shift.random_signs(image), shift.random_signs(image))
    assert not torch.equal(shift.random_signs(image), shift.random_signs(image / 2))


def test_the_command_prints_writes_and_updates_the_card(
    checkpoint: Path, portraits: Path, tiny_encoder_file: Path, tmp_path: Path
) -> None:
    before, _ = load_checkpoint(checkpoint)
    arguments = [
        "shift", str(checkpoint), "--images", str(portraits), "--pattern", "000[01].jpg",
        "--size", "64", "--surrogate", str(tiny_encoder_file), "--pgd", "3",
        "--json", str(tmp_path / "shift.json"), "--spectrum", str(tmp_path / "spectra.png"),
        "--update-card",
    ]  # fmt: skip
    done = CliRunner().invoke(group, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    report = json.loads((tmp_path / "shift.json").read_text())
    assert list(report["rows"]) == ["random", "pgd-3", "mine"]
    assert report["images"]["count"] == 2
    assert "portraits" not in str(tmp_path) or str(portraits) not in json.dumps(report)
    assert "pgd-3" in done.output
    defender, card = load_checkpoint(checkpoint)
    (figures,) = card.figures.values()
    assert figures["ssim"] == report["rows"]["mine"]["ssim"]
    state = defender.state_dict()
    assert all(torch.equal(state[k], v) for k, v in before.state_dict().items())
    assert (tmp_path / "spectra.png").is_file()


def test_no_matching_portraits_is_an_error(
    checkpoint: Path, portraits: Path, tiny_encoder_file: Path
) -> None:
    arguments = ["shift", str(checkpoint), "--images", str(portraits), "--pattern", "zz*"]
    done = CliRunner().invoke(group, [*arguments, "--surrogate", str(tiny_encoder_file)])
    assert "no portrait matches" in str(done.exception)


def test_checkpoints_of_one_name_are_told_apart_by_their_paths(
    checkpoint: Path, portraits: Path, tiny_encoder_file: Path, tmp_path: Path
) -> None:
    other = tmp_path / "second" / checkpoint.name
    other.parent.mkdir()
    other.write_bytes(checkpoint.read_bytes())
    arguments = [
        "shift", str(checkpoint), str(other), "--images", str(portraits), "--limit", "1",
        "--size", "64", "--surrogate", str(tiny_encoder_file),
        "--json", str(tmp_path / "shift.json"),
    ]  # fmt: skip
    CliRunner().invoke(group, arguments, catch_exceptions=False)
    report = json.loads((tmp_path / "shift.json").read_text())
    assert list(report["rows"]) == ["random", str(checkpoint), str(other)]
    assert list(report["weights"]) == [str(checkpoint), str(other)]
