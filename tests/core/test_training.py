from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rid_core import objectives
from rid_core.checkpoint import load_checkpoint
from rid_core.data import CropDataset, ShardedRange, list_portraits, load_rgb, to_tensor
from rid_core.defenders import Defender, create_defender
from rid_core.errors import RidError
from rid_core.training import loop
from rid_core.training.config import TrainConfig, load_config, parse_config
from rid_core.training.run import moving_average

ROOT = Path(__file__).resolve().parents[2]


UNPRICED = {"jod": 0.0, "jod_enlarged": 0.0, "ssimulacra2": 0.0, "colour": 0.0}


@pytest.fixture
def raw(portraits: Path, tiny_encoder_file: Path) -> dict[str, object]:
    return {
        # A wide bound, so that a few steps show an effect.
        "defender": {"preset": "rid-n", "levels": 64, "overrides": {"width": 8, "detail_width": 4}},
        "data": {"folder": str(portraits), "crop": 64, "short_side": [96, 128]},
        "surrogate": [{"kind": "tiny-autoencoder", "path": str(tiny_encoder_file)}],
        "objective": [{"kind": "log-shift"}],
        "channel": {"identity": 1.0, "jpeg": 1.0, "resize": 1.0},
        "visibility": {**UNPRICED, "colour": 0.1},
        "optim": {"steps": 4, "batch": 2, "warmup": 1, "ema": 0.5},
        "log": {"every": 1, "save_every": 1, "preview_every": 4},
    }


def _train(raw: dict[str, object], output: Path, **changes: object) -> Path:
    optim = {**raw["optim"], **changes}  # type: ignore[dict-item]
    return loop.train(parse_config({**raw, "optim": optim}), output, quiet=True)


def _rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(row) for row in (folder / "log.jsonl").read_text().splitlines()]


def test_a_run_makes_a_checkpoint_a_log_and_a_picture(
    raw: dict[str, object], tmp_path: Path
) -> None:
    path = _train(raw, tmp_path)
    defender, card = load_checkpoint(path)
    assert (card.preset, card.levels, card.surrogates) == ("rid-n", 64, ["tiny"])
    assert defender(torch.rand(1, 3, 64, 64)).shape == (1, 3, 64, 64)
    rows = _rows(tmp_path)
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert (tmp_path / "preview-000004.png").is_file()
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_training_raises_the_shift(raw: dict[str, object], tmp_path: Path) -> None:
    _train(raw, tmp_path, steps=25, lr=5e-3)
    rows = _rows(tmp_path)
    start = np.mean([row["log-shift"] for row in rows[:3]])
    end = np.mean([row["log-shift"] for row in rows[-3:]])
    assert end < start - 2  # the shift grew by a factor of e ** 2 at least


def test_a_resumed_run_continues_bit_for_bit(
    raw: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _train(raw, tmp_path / "whole")
    original = loop.DefenderState.save

    def save_then_die(run: loop.DefenderState) -> None:
        original(run)
        if run.step == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop.DefenderState, "save", save_then_die)
        with pytest.raises(KeyboardInterrupt):
            _train(raw, tmp_path / "parts")
    parts = _train(raw, tmp_path / "parts")
    one, other = (load_checkpoint(path)[0].state_dict() for path in (whole, parts))
    assert all(torch.equal(one[name], other[name]) for name in one)
    logs = [_rows(tmp_path / run) for run in ("whole", "parts")]
    # How fast it went is all that may differ.
    assert all(row.pop("steps_per_second") > 0 for log in logs for row in log if "total" in row)
    assert logs[0] == logs[1]


def test_the_average_forgets_the_untrained_weights() -> None:
    average = moving_average(0.99)
    mean, fresh = torch.zeros(1), torch.ones(1)
    for step in range(1, 60):
        average([mean], [fresh], torch.tensor(step))
    assert mean.item() > 0.99  # 0.99 ** 59 of the start would be left at a constant decay
    late = torch.zeros(1)
    average([late], [fresh], 10_000)
    assert late.item() == pytest.approx(0.01)


def test_patterns_exclude_and_repeat_by_name_and_by_path(tmp_path: Path, portraits: Path) -> None:
    photo = (portraits / "0001.jpg").read_bytes()
    for name in ("faces/a.jpg", "people/1/a.jpg", "good/b.jpg", "good/045.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(photo)
    found = list_portraits(tmp_path, ["people/*", "045.jpg"], {"good/*": 3, "*": 2})
    names = [path.relative_to(tmp_path).as_posix() for path in found]
    assert names == ["faces/a.jpg"] * 2 + ["good/b.jpg"] * 3
    assert len(list_portraits(tmp_path, [])) == 4


def test_a_crop_is_what_scaling_the_whole_photo_shows(portraits: Path) -> None:
    """Crops are scaled by themselves; they must lie in the photo and show it at the scale drawn."""
    path = portraits / "0001.jpg"
    dataset = CropDataset([path], 64, (128, 128), seed=1)
    whole = load_rgb(path, 128)
    scaled = to_tensor(whole)
    for number in range(4):
        crop = dataset[number][0]
        views = [crop, crop.flip(2)]
        windows = scaled.unfold(1, 64, 1).unfold(2, 64, 1).movedim(0, 2)
        errors = torch.stack([(windows - view).square().mean(dim=(2, 3, 4)) for view in views])
        # Half a pixel may lie between the grids.
        assert errors.min() < 0.1 * errors.median()
    assert len({dataset[number][0].sum().item() for number in range(6)}) == 6


def test_a_run_stops_for_time_and_goes_on(raw: dict[str, object], tmp_path: Path) -> None:
    config = parse_config(raw)
    path = loop.train(config, tmp_path, quiet=True, minutes=1e-6)
    assert load_checkpoint(path)[1].figures["training"]["steps"] == 1
    loop.train(config, tmp_path, quiet=True)
    assert load_checkpoint(path)[1].figures["training"]["steps"] == 4


def test_another_configuration_does_not_continue_a_run(
    raw: dict[str, object], tmp_path: Path
) -> None:
    _train(raw, tmp_path, steps=1)
    with pytest.raises(RidError, match=r"another \[optim\].*--restart"):
        _train(raw, tmp_path, steps=1, lr=0.5)


def test_a_damaged_state_is_named(raw: dict[str, object], tmp_path: Path) -> None:
    _train(raw, tmp_path, steps=1)
    state = tmp_path / "state.pt"
    state.write_bytes(state.read_bytes()[:-500])
    with pytest.raises(RidError, match=r"state\.pt: damaged"):
        _train(raw, tmp_path, steps=1)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_state(
    raw: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _train(raw, tmp_path, steps=2)
    before = (tmp_path / "state.pt").read_bytes()
    real = objectives.log_shift

    def poisoned(*arguments: Any) -> torch.Tensor:
        return real(*arguments) * float("nan")

    monkeypatch.setattr(objectives, "log_shift", poisoned)
    with pytest.raises(RidError, match=r"not finite at step 0 \(samples \[0, 1\]\)"):
        loop.train(parse_config(raw), tmp_path / "new", quiet=True)
    assert (tmp_path / "state.pt").read_bytes() == before
    assert not (tmp_path / "new" / "state.pt").exists()


def test_distillation_needs_no_surrogate(raw: dict[str, object], tmp_path: Path) -> None:
    teacher = _train(raw, tmp_path / "teacher", steps=15, lr=5e-3)
    student = {**raw, "surrogate": [], "objective": [
        {"kind": "distillation", "teacher": str(teacher), "weight": 10.0}
    ], "visibility": UNPRICED}  # fmt: skip
    _train(student, tmp_path / "student", steps=40, lr=5e-3)
    rows = _rows(tmp_path / "student")
    assert rows[-1]["distillation"] < 0.5 * rows[0]["distillation"]


def test_training_starts_from_a_checkpoint(raw: dict[str, object], tmp_path: Path) -> None:
    first = _train(raw, tmp_path / "first", steps=15, lr=5e-3)
    defender = {**raw["defender"], "init": str(first)}  # type: ignore[dict-item]
    _train({**raw, "defender": defender}, tmp_path / "second", steps=1)
    row = _rows(tmp_path / "second")[0]
    assert row["colour"] > 0.1  # a new network starts from zero
    other = {"preset": "rid-s", "init": str(first)}
    with pytest.raises(RidError, match="holds rid-n, but the config trains rid-s"):
        _train({**raw, "defender": other}, tmp_path / "third", steps=1)


def test_training_starts_from_the_mean_of_checkpoints(
    raw: dict[str, object], tmp_path: Path
) -> None:
    files = [_train(raw, tmp_path / str(lr), steps=15, lr=lr) for lr in (2e-3, 5e-3)]
    defender = {**raw["defender"], "init": [str(path) for path in files]}  # type: ignore[dict-item]
    run = loop.DefenderState(parse_config({**raw, "defender": defender}), tmp_path / "mean")
    one, other = (load_checkpoint(path)[0].state_dict() for path in files)
    assert not torch.equal(one["to_image.conv.weight"], other["to_image.conv.weight"])
    for name, value in run.averaged(Defender).state_dict().items():
        torch.testing.assert_close(value, (one[name] + other[name]) / 2)
    wider = {**raw["defender"], "overrides": {"width": 16, "detail_width": 4}}  # type: ignore[dict-item]
    odd = _train({**raw, "defender": wider}, tmp_path / "wider", steps=1)
    # What a network was built with goes on into the checkpoints that are made from it.
    bare = {"preset": "rid-n", "levels": 64, "init": str(odd)}
    again = _train({**raw, "defender": bare}, tmp_path / "again", steps=1)
    assert load_checkpoint(again)[1].config == wider["overrides"]
    mixed = {**defender, "init": [str(files[0]), str(odd)]}
    with pytest.raises(RidError, match=r"is built otherwise than .*; they have no mean"):
        loop.DefenderState(parse_config({**raw, "defender": mixed}), tmp_path / "odd")
    with pytest.raises(RidError, match=r"defender\.init"):
        parse_config({**raw, "defender": {**defender, "init": []}})


def test_samples_depend_on_seed_and_number_alone(portraits: Path) -> None:
    paths = list_portraits(portraits, [])
    one, other = (CropDataset(paths, 64, (96, 128), seed=3) for _ in range(2))
    assert torch.equal(one[5][0], other[5][0])
    assert not torch.equal(one[5][0], CropDataset(paths, 64, (96, 128), seed=4)[5][0])
    # Every portrait once an epoch.
    first = {float(one[i][0].mean()) for i in range(len(paths))}
    assert len(first) == len(paths)


def test_processes_share_the_samples() -> None:
    alone = list(ShardedRange(8, 24, 4, 0, 1))
    first, second = (list(ShardedRange(8, 24, 4, shard, 2)) for shard in range(2))
    assert alone == list(range(8, 24))
    assert first == [8, 9, 10, 11, 16, 17, 18, 19]
    assert sorted(first + second) == alone


def test_broken_and_excluded_portraits_are_left_out(
    portraits: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = [p.name for p in list_portraits(portraits, ["000[45].jpg"])]
    assert names == ["0000.jpg", "0001.jpg", "0002.jpg", "0003.jpg"]
    assert "1 of 5 images cannot be read" in caplog.text
    with pytest.raises(RidError, match=r"no usable portraits \(7 images found, 7 excluded"):
        list_portraits(portraits, ["*"])
    with pytest.raises(RidError, match="no such folder"):
        list_portraits(tmp_path / "nowhere", [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optim": {"step": 5}}, "unknown key optim.step; did you mean steps"),
        ({"chanel": {}}, "unknown key chanel; did you mean channel"),
        ({"channel": {"jpg": 1.0}}, "unknown step jpg; known: identity, jpeg"),
        ({"optim": {"lr": -1}}, "optim.lr"),
        ({"surrogate": []}, "at least one"),
        ({"objective": [{"kind": "distillation"}]}, "needs a teacher"),
        ({"defender": {"levels": 300}}, "defender.levels"),
    ],
)
def test_faults_in_a_config_are_named(
    raw: dict[str, object], change: dict[str, object], message: str
) -> None:
    with pytest.raises(RidError, match=message):
        parse_config({**raw, **change})


def test_crops_larger_than_the_photos_are_refused(raw: dict[str, object], tmp_path: Path) -> None:
    data = {**raw["data"], "crop": 112}  # type: ignore[dict-item]
    with pytest.raises(RidError, match="short_side"):
        _train({**raw, "data": data}, tmp_path)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "configs").rglob("rid-*.toml")), ids=lambda p: p.stem
)
def test_committed_configs_are_valid(path: Path) -> None:
    config = load_config(path, ("optim.steps=7", "data.folder=elsewhere"))
    assert isinstance(config, TrainConfig)
    assert config.optim.steps == 7
    assert config.data.folder == Path("elsewhere")
    create_defender(config.defender.preset)
    assert f"rid-train --config {path.relative_to(ROOT)} " in path.read_text()


def test_the_command_says_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    config = tmp_path / "bad.toml"
    config.write_text("[optim]\nsteps = 1\n[data\n")
    command = [sys.executable, "-m", "rid_core.cli.train", "--config", str(config), "-o", "x"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ}, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "not TOML" in done.stderr
