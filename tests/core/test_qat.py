"""``rid-train --qat``: the result is an ordinary checkpoint that loses less in 8 bits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rid_core.checkpoint import ModelCard, load_checkpoint, save_checkpoint
from rid_core.data import list_portraits
from rid_core.defenders import create_defender
from rid_core.errors import RidError
from rid_core.training import qat
from rid_core.training.run import State

CONFIG = {"width": 8, "detail_width": 4, "inner_blocks": 1}
SETTINGS = (
    "data.crop=64",
    "data.short_side=[96, 128]",
    "optim.steps=4",
    "optim.batch=2",
    "optim.warmup=1",
    "quantization.every=2",
    "quantization.samples=2",
    "log.every=1",
    "log.save_every=2",
)


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    torch.manual_seed(5)
    made = create_defender("rid-n", **CONFIG)
    torch.nn.init.normal_(made.to_image.conv.weight, std=0.3)
    path = tmp_path / "teacher.safetensors"
    card = ModelCard("rid-n", levels=6, config=CONFIG, data="faces", figures={"shift": 1.5})
    save_checkpoint(path, made, card)
    return path


def _config(teacher: Path, portraits: Path, *more: str) -> qat.QatConfig:
    return qat.load_qat_config(str(teacher), None, (f"data.folder={portraits}", *SETTINGS, *more))


def test_the_result_is_an_ordinary_checkpoint_whose_card_says_so(
    teacher: Path, portraits: Path, tmp_path: Path
) -> None:
    path = qat.fine_tune(_config(teacher, portraits), tmp_path / "run", quiet=True)
    defender, card = load_checkpoint(path)
    assert path.name == "rid-n.safetensors"
    assert (card.levels, card.config, card.data) == (6, CONFIG, "faces")
    assert "fine-tuned for int8" in card.notes
    found = card.figures["qat"]
    assert found["steps"] == 4
    assert found["teacher"] == {"shift": 1.5}  # not the figures of these weights
    assert found["int8_sqnr_db"] > 5
    assert found["teacher_sqnr_db"] > 10
    assert set(defender.state_dict()) == set(load_checkpoint(teacher)[0].state_dict())
    rows = [json.loads(row) for row in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert {"rounding", "drift", "int8_sqnr_db"} <= set().union(*rows)


@pytest.mark.full
def test_fine_tuning_takes_rounding_noise_away(
    teacher: Path, portraits: Path, tmp_path: Path
) -> None:
    config = _config(teacher, portraits, "optim.steps=80", "optim.lr=3e-3", "optim.ema=0.8")
    task = qat.QatTask(config, tmp_path, list_portraits(portraits, []))
    before = task.figures()["int8_sqnr_db"]
    path = qat.fine_tune(config, tmp_path / "run", quiet=True)
    found = load_checkpoint(path)[1].figures["qat"]
    assert found["int8_sqnr_db"] > before + 0.2, (found, before)
    assert found["teacher_sqnr_db"] > 15


def test_ranges_are_chosen_on_views_in_other_light(teacher: Path, portraits: Path) -> None:
    config = _config(teacher, portraits, "quantization.views=12")
    task = qat.QatTask(config, teacher.parent, list_portraits(portraits, []))
    assert [photo.shape for photo in task.photos] == [(256, 256, 3)] * 12
    plain, toned = (
        np.ptp([photo.mean() for photo in part]) for part in (task.photos[:2], task.photos[2:])
    )
    assert toned > 2 * plain


def test_every_second_photo_of_a_batch_is_seen_in_other_light(portraits: Path) -> None:
    crops = qat.CropDataset(list_portraits(portraits, []), 64, (96, 128), 0)
    photos = torch.stack([crops[n][0] for n in range(4)])
    toned = qat._in_other_light(photos, 3)
    assert torch.equal(toned[::2], photos[::2])
    assert all(not torch.equal(toned[n], photos[n]) for n in (1, 3))
    assert torch.equal((toned * 255).round() / 255, toned)
    assert torch.equal(toned, qat._in_other_light(photos, 3))
    assert not torch.equal(toned, qat._in_other_light(photos, 4))


def test_settings_have_defaults_of_their_own(teacher: Path, portraits: Path) -> None:
    optim = _config(teacher, portraits).optim
    assert (optim.steps, optim.lr, optim.weight_decay) == (4, 5e-4, 0)


@pytest.mark.full
def test_a_resumed_run_continues_bit_for_bit(
    teacher: Path, portraits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _config(teacher, portraits)
    whole = qat.fine_tune(config, tmp_path / "whole", quiet=True)
    original = State.save

    def save_then_die(state: State) -> None:
        original(state)
        if state.step == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(State, "save", save_then_die)
        with pytest.raises(KeyboardInterrupt):
            qat.fine_tune(config, tmp_path / "parts", quiet=True)
    parts = qat.fine_tune(config, tmp_path / "parts", quiet=True)
    first, second = (load_checkpoint(path)[0].state_dict() for path in (whole, parts))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_it_starts_as_the_teacher(teacher: Path, portraits: Path, tmp_path: Path) -> None:
    task = qat.QatTask(_config(teacher, portraits), tmp_path, sorted(portraits.iterdir()))
    task.to(torch.device("cpu"))
    batch: list[Any] = [torch.stack([task.samples[0][0]]), torch.tensor([0])]
    losses = task.losses(task.state.network, batch, 0)
    assert float(losses["drift"].detach()) < 1e-8
    assert float(losses["rounding"].detach()) > 1e-6
    assert losses["total"].requires_grad


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (("quantization.every=3",), "multiple of quantization.every, 3"),
        (("quantization.evry=3",), "did you mean every"),
        (("optim.lr=0",), "optim.lr"),
    ],
)
def test_settings_that_make_no_sense(
    teacher: Path, portraits: Path, more: tuple[str, ...], text: str
) -> None:
    with pytest.raises(RidError, match=text):
        _config(teacher, portraits, *more)


def test_photos_and_teacher_must_be_there(teacher: Path, portraits: Path, tmp_path: Path) -> None:
    with pytest.raises(RidError, match=r"--set data\.folder=FOLDER"):
        qat.load_qat_config(str(teacher), None)
    with pytest.raises(RidError, match="no such checkpoint"):
        qat.fine_tune(_config(tmp_path / "none.safetensors", portraits), tmp_path / "a", quiet=True)
    with pytest.raises(RidError, match="no such folder of portraits"):
        qat.fine_tune(_config(teacher, tmp_path / "none"), tmp_path / "b", quiet=True)


def test_a_training_run_of_the_teacher_lends_its_settings(teacher: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(
        '[defender]\npreset = "rid-n"\n[data]\nfolder = "faces"\ncrop = 96\n'
        '[[objective]]\nkind = "log-shift"\n[optim]\nsteps = 1700\n'
    )
    config = qat.load_qat_config(str(teacher), file)
    assert (config.data.crop, str(config.data.folder)) == (96, "faces")
    assert config.optim.steps == 300


@pytest.mark.full
def test_on_the_command_line(teacher: Path, portraits: Path, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from rid_core.cli.train import group

    settings = [f"--set={each}" for each in (f"data.folder={portraits}", *SETTINGS)]
    output = tmp_path / "run"
    done = CliRunner().invoke(
        group, ["--qat", str(teacher), "-o", str(output), "--quiet", *settings]
    )
    assert done.exit_code == 0, done.output
    assert done.output.strip().endswith("rid-n.safetensors")
    asked = CliRunner().invoke(group, ["-o", str(output)])
    assert asked.exit_code == 2
    assert "--qat FILE" in asked.output
