from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import rid_eval
from rid_core.budget import Budget
from rid_core.checkpoint import ModelCard, load_checkpoint, save_checkpoint
from rid_core.defenders import create_defender
from rid_core.errors import RidError
from rid_core.surrogates import load_surrogate
from rid_eval import latent_shift as shift
from rid_eval.appearance import mean_jod
from rid_eval.cli import group
from rid_eval.photos import PhotoFolder
from rid_eval.results import as_json

FACE_LDM = Path(__file__).resolve().parents[2] / "weights" / "face-ldm"


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
    images = list(PhotoFolder(portraits, "000[0-2].jpg").load(96).values())
    assert [tuple(image.shape) for image in images] == [(1, 3, 96, 96)] * 3
    surrogate = load_surrogate("tiny-autoencoder", path=tiny_encoder_file)
    protections = {"nothing": torch.zeros_like}
    found = shift.measure(protections, images, [surrogate], Budget(8))
    nothing, signs = found["nothing"], found["random"]
    assert (nothing.psnr, nothing.strength) == (100, 1)
    assert nothing.jod == pytest.approx(10, abs=1e-3)
    assert all(value == 0 for value in nothing.shift["tiny"].values())
    assert 30 < signs.psnr < 32  # 8 levels of signs, less what is clipped
    assert signs.jod_worst <= signs.jod < 9.8
    assert signs.shift["tiny"]["plain"] > 0


def test_at_equal_look_random_signs_have_an_effect_of_one_and_less_strength(
    portraits: Path, tiny_encoder_file: Path
) -> None:
    images = list(PhotoFolder(portraits, "000[01].jpg").load(128).values())
    surrogate = load_surrogate("tiny-autoencoder", path=tiny_encoder_file)

    def low(image: torch.Tensor) -> torch.Tensor:
        """Signs on squares of 8 pixels, which are seen far more."""
        small = shift.random_signs(image[..., ::8, ::8])
        return small.repeat_interleave(8, 2).repeat_interleave(8, 3)

    protections = {"random": shift.random_signs, "low": low}
    rows = shift.measure(protections, images, [surrogate], Budget(8), look=9.8)
    for label, protection in protections.items():
        units = [protection(image) for image in images]
        seen = mean_jod(images, units, Budget(8), rows[label].strength)
        assert seen == pytest.approx(9.8, abs=0.02)
    assert rows["low"].strength < rows["random"].strength < 1
    assert all(times == 1 for times in rows["random"].effect["tiny"].values())
    expected = (
        rows["low"].shift_at_look["tiny"]["half"] / rows["random"].shift_at_look["tiny"]["half"]
    )
    assert rows["low"].effect["tiny"]["half"] == expected


def test_a_faint_protection_is_not_scaled_up(portraits: Path, tiny_encoder_file: Path) -> None:
    images = list(PhotoFolder(portraits, "0000.jpg").load(96).values())
    surrogate = load_surrogate("tiny-autoencoder", path=tiny_encoder_file)
    protections = {"random": shift.random_signs, "faint": lambda x: shift.random_signs(x) / 8}
    rows = shift.measure(protections, images, [surrogate], Budget(8))
    assert rows["faint"].strength == 1
    assert rows["faint"].shift_at_look == rows["faint"].shift


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
        "--size", "64", "--surrogate", str(tiny_encoder_file), "--against", "pgd",
        "--set", "pgd.steps=3",
        "--json", str(tmp_path / "shift.json"), "--update-card",
    ]  # fmt: skip
    done = CliRunner().invoke(group, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    report = json.loads((tmp_path / "shift.json").read_text())
    assert list(report["rows"]) == ["random", "pgd-3", "mine"]
    assert report["images"]["count"] == 2
    assert str(portraits) not in json.dumps({k: v for k, v in report.items() if k != "made"})
    assert "pgd-3" in done.output
    # As a function it measures the same.
    found = rid_eval.shift(
        [str(checkpoint)], rid_eval.PhotoFolder(portraits, "000[01].jpg"), [tiny_encoder_file],
        size=64, against=["pgd"], settings=["pgd.steps=3"],
    )  # fmt: skip
    assert as_json(found)["rows"] == report["rows"]
    defender, card = load_checkpoint(checkpoint)
    (figures,) = card.figures.values()
    assert figures["jod"] == report["rows"]["mine"]["jod"]
    state = defender.state_dict()
    assert all(torch.equal(state[k], v) for k, v in before.state_dict().items())


@pytest.mark.full
def test_each_slow_method_attacks_what_it_can_and_ours_is_held_against_it(
    checkpoint: Path,
    portraits: Path,
    tiny_encoder_file: Path,
    tmp_path: Path,
) -> None:
    arguments = [
        "shift", str(checkpoint), "--images", str(portraits), "--limit", "1",
        "--size", "64", "--surrogate", str(tiny_encoder_file),
        "--surrogate", str(FACE_LDM), "--against", "pgd", "--against", "advdm",
        "--set", "pgd.steps=3", "--set", "advdm.steps=12", "--json", str(tmp_path / "shift.json"),
    ]  # fmt: skip
    CliRunner().invoke(group, arguments, catch_exceptions=False)
    report = json.loads((tmp_path / "shift.json").read_text())
    rows = report["rows"]
    assert list(rows) == ["random", "pgd-3", "advdm-12", "mine"]
    attacked = {label: peer["attacks"] for label, peer in report["against"].items()}
    assert attacked == {"pgd-3": "tiny", "advdm-12": "face-ldm"}  # which needs a denoiser
    # What AdvDM raises is the training loss; it is measured on whole models alone.
    assert rows["advdm-12"]["denoising"]["face-ldm"] > 1.2
    assert set(rows["mine"]["denoising"]) == {"face-ldm"}
    assert rows["random"]["effect"]["tiny"] == {"plain": 1, "jpeg75": 1, "half": 1}
    assert rows["mine"]["effect"]["tiny"]["plain"] > 0
    assert 0 < rows["advdm-12"]["strength"] <= 1


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--against", "aspl"], "method aspl needs a whole diffusion model"),
        (["--against", "pgdd"], "did you mean pgd?"),
        (["--device", "gpu"], "no such kind of device"),
        (["--against", "pgd", "--set", "aspl.rounds=2"], "'aspl' is not among --against"),
        (["--against", "pgd", "--set", "pgd.step_count=2"], "no setting 'step_count'"),
        (["--against", "pgd", "--set", "pgd.steps"], "KEY=VALUE"),
    ],
)
def test_a_slow_method_that_cannot_be_run_is_one_clear_line(
    extra: list[str], message: str, checkpoint: Path, portraits: Path, tiny_encoder_file: Path
) -> None:
    arguments = ["shift", str(checkpoint), "--images", str(portraits), "--size", "64"]
    arguments += ["--surrogate", str(tiny_encoder_file), *extra]
    done = CliRunner().invoke(group, arguments)
    assert isinstance(done.exception, RidError)
    assert message in str(done.exception)


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
