"""Stored perturbations: made, resumed, shared among shards, read back, learned from."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from rid_core.checkpoint import ModelCard, load_checkpoint, save_checkpoint
from rid_core.cli.common import parse_shard
from rid_core.cli.train import group
from rid_core.data import centre_square, list_portraits, to_tensor
from rid_core.defenders import create_defender
from rid_core.errors import RidError
from rid_core.surrogates import Ensemble, load_surrogate
from rid_core.training import loop, make_pairs
from rid_core.training.config import parse_config
from rid_core.training.make_pairs import PairJob
from rid_core.training.pairs import (
    PairedCropDataset,
    PairHeader,
    PairStore,
    decode_unit,
    encode_unit,
)

UNPRICED = {"jod": 0.0, "jod_enlarged": 0.0, "ssimulacra2": 0.0, "colour": 0.0}


@pytest.fixture(scope="module")
def ensemble(tiny_encoder_file: Path) -> Ensemble:
    return Ensemble([load_surrogate("tiny-autoencoder", path=tiny_encoder_file)])


@pytest.fixture
def job(portraits: Path, tmp_path: Path) -> PairJob:
    return PairJob("pgd", portraits, tmp_path / "pairs", levels=16, size=64, settings={"steps": 2})


@pytest.fixture(scope="module")
def made(
    portraits: Path, ensemble: Ensemble, tmp_path_factory: pytest.TempPathFactory
) -> PairStore:
    """Pairs of all six portraits at 16 levels and 64 pixels."""
    folder = tmp_path_factory.mktemp("made")
    job = PairJob("pgd", portraits, folder, levels=16, size=64, settings={"steps": 4})
    assert make_pairs.make_pairs(job, ensemble) == 6
    return PairStore.open(folder)


def test_a_perturbation_survives_storing_to_half_a_step() -> None:
    unit = torch.rand(3, 16, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
    unit[:, 0, :3] = torch.tensor([-1.0, 0.0, 1.0])
    image = Image.open(io.BytesIO(encode_unit(unit)))
    found = decode_unit(image)
    assert (found - unit).abs().max() <= 0.5 / 127 + 1e-6
    assert torch.equal(found[:, 0, :3], unit[:, 0, :3])  # corners and nothing are exact
    assert found.abs().max() <= 1


def test_pairs_hold_what_the_method_makes_of_the_view(
    made: PairStore, ensemble: Ensemble, portraits: Path
) -> None:
    from rid_core.attacks import protect
    from rid_core.budget import Budget

    view = to_tensor(centre_square(portraits / "0003.jpg", 64))[None]
    seed = int(made.entries["0003.jpg"].photo[:12], 16)
    unit = protect("pgd", view, ensemble, Budget(16), [seed], steps=4)
    assert (made.read("0003.jpg") - unit[0]).abs().max() <= 0.5 / 127 + 1e-6
    assert made.header.surrogates == ["tiny"]
    assert made.header.settings == {"steps": 4, "step": 1 / 8}
    index = json.loads((made.folder / "index.json").read_text())
    assert sorted(index["pairs"]) == [f"{n:04d}.jpg" for n in range(6)]
    assert "0006.jpg" not in index["pairs"]  # the broken one


def test_a_second_run_makes_only_what_is_missing_or_damaged(
    job: PairJob, ensemble: Ensemble
) -> None:
    assert make_pairs.make_pairs(dataclasses.replace(job, limit=3), ensemble) == 3
    assert make_pairs.make_pairs(job, ensemble) == 3
    assert make_pairs.make_pairs(job, ensemble) == 0
    store = PairStore.open(job.output)
    before = store.read("0002.jpg")
    path = job.output / store.entries["0002.jpg"].file
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(RidError, match="missing or damaged; run rid-train pairs again"):
        store.read("0002.jpg")
    assert make_pairs.make_pairs(job, ensemble) == 1
    assert torch.equal(PairStore.open(job.output).read("0002.jpg"), before)


def test_an_interrupted_run_keeps_what_it_made(
    job: PairJob, ensemble: Ensemble, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = make_pairs.protect, iter(range(9))

    def interrupted(*arguments: object, **settings: object) -> torch.Tensor:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **settings)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(make_pairs, "protect", interrupted)
        with pytest.raises(KeyboardInterrupt):
            make_pairs.make_pairs(job, ensemble)
    assert len(PairStore.open(job.output).entries) == 2
    assert not list(job.output.rglob("*.tmp"))
    assert make_pairs.make_pairs(job, ensemble) == 4


def test_a_photo_that_changed_is_made_again(
    job: PairJob, ensemble: Ensemble, portraits: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("0000.jpg", "0001.jpg"):
        (folder / name).write_bytes((portraits / name).read_bytes())
    job = dataclasses.replace(job, data=folder)
    assert make_pairs.make_pairs(job, ensemble) == 2
    (folder / "0000.jpg").write_bytes((portraits / "0005.jpg").read_bytes())
    assert make_pairs.make_pairs(job, ensemble) == 1


def test_shards_divide_the_photos_and_make_what_one_run_makes(
    job: PairJob, ensemble: Ensemble, made: PairStore
) -> None:
    whole = dataclasses.replace(job, settings={"steps": 4})
    for shard in (0, 1):
        part = dataclasses.replace(whole, shard=shard, shards=2, batch=2)
        assert make_pairs.make_pairs(part, ensemble) == 3
    names = sorted(path.name for path in job.output.glob("index*"))
    assert names == ["index-0-of-2.json", "index-1-of-2.json"]
    store = PairStore.open(job.output)
    assert sorted(store.entries) == sorted(made.entries)
    for name in made.entries:
        assert (store.read(name) - made.read(name)).abs().mean() < 0.01
    # Another division, or none, goes on where these were.
    assert make_pairs.make_pairs(whole, ensemble) == 0


def test_shards_are_given_as_a_fraction_below_one() -> None:
    assert parse_shard("0/1") == (0, 1)
    assert parse_shard("7/8") == (7, 8)
    for text in ("8/8", "1", "1/0", "-1/2", "a/b"):
        with pytest.raises(RidError, match="I from 0 to N - 1"):
            parse_shard(text)


def test_pairs_made_differently_do_not_mix(job: PairJob, ensemble: Ensemble) -> None:
    make_pairs.make_pairs(dataclasses.replace(job, limit=1), ensemble)
    for change, word in (
        ({"levels": 8}, "levels"),
        ({"size": 96}, "size"),
        ({"settings": {"steps": 3}}, "settings"),
        ({"method": "momentum", "settings": {}}, "method"),
    ):
        with pytest.raises(RidError, match=f"made with another {word}"):
            make_pairs.make_pairs(dataclasses.replace(job, **change), ensemble)
    with pytest.raises(RidError, match="size 60 is no multiple of 8"):
        make_pairs.make_pairs(dataclasses.replace(job, size=60), ensemble)
    with pytest.raises(RidError, match="needs a surrogate"):
        make_pairs.make_pairs(job, Ensemble([]))


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 1}', '{"schema": 9, "pairs": {}}'])
def test_a_foreign_index_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(RidError, match=r"index\.json is missing"):
        PairStore.open(tmp_path)
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(RidError, match=r"index\.json: "):
        PairStore.open(tmp_path)


def test_a_lack_of_memory_says_what_to_lower(
    job: PairJob, ensemble: Ensemble, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(*arguments: object, **settings: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(make_pairs, "protect", lacking)
    with pytest.raises(RidError, match="out of memory: lower --batch"):
        make_pairs.make_pairs(job, ensemble)


def test_crops_and_perturbations_stay_together(made: PairStore, portraits: Path) -> None:
    paths = list_portraits(portraits, [])
    paired = made.match(paths[:3], portraits)
    dataset = PairedCropDataset(paths, 48, (64, 96), 0, made, paired)
    unit_of = {path: made.read(name) for path, name in paired.items()}
    flips, with_pair = set(), 0
    for index in range(24):
        image, number, target, has = dataset[index]
        assert int(number) == index
        assert image.shape == target.shape == (3, 48, 48)
        path, _ = dataset._locate(index)
        assert bool(has) == (path in paired)
        if not has:
            assert target.abs().max() == 0
            continue
        with_pair += 1
        view = to_tensor(centre_square(path, 64))
        places = [
            (top, left, flip)
            for top in range(17)
            for left in range(17)
            for flip in (False, True)
            if torch.equal(_crop(view, top, left, flip), image)
        ]
        assert [place for place in places if torch.equal(_crop(unit_of[path], *place), target)]
        flips |= {flip for _, _, flip in places}
    assert with_pair == 12
    assert flips == {False, True}


def _crop(image: torch.Tensor, top: int, left: int, flip: bool) -> torch.Tensor:
    part = image[:, top : top + 48, left : left + 48]
    return part.flip(2) if flip else part


@pytest.fixture
def raw(portraits: Path, made: PairStore) -> dict[str, object]:
    return {
        "defender": {"preset": "rid-n", "levels": 16, "overrides": {"width": 8, "detail_width": 4}},
        "data": {"folder": str(portraits), "crop": 64, "short_side": [64, 64]},
        "objective": [{"kind": "regression", "pairs": str(made.folder)}],
        "visibility": UNPRICED,
        "optim": {"steps": 40, "batch": 3, "warmup": 1, "ema": 0.5, "lr": 1e-2},
        "log": {"every": 1, "save_every": 60, "preview_every": 60},
    }


def test_a_defender_learns_from_pairs_without_any_surrogate(
    raw: dict[str, object], portraits: Path, tmp_path: Path
) -> None:
    # A perturbation that can be read off the photo, and off no other: bright down, dark up.
    store = PairStore(tmp_path / "pairs", PairHeader("by-hand", {}, 16, 64, ["model"]))
    for path in list_portraits(portraits, [])[:4]:
        view = to_tensor(centre_square(path, 64))
        store.add(path.name, "", 2 * (view.mean() - view))
    store.write_index("index.json", list(store.entries))
    objective = [{"kind": "regression", "pairs": str(store.folder)}]
    path = loop.train(parse_config({**raw, "objective": objective}), tmp_path / "run", quiet=True)
    rows = [json.loads(row) for row in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    first, last = (np.mean([r["regression"] for r in part]) for part in (rows[:3], rows[-3:]))
    assert last < 0.9 * first
    _, card = load_checkpoint(path)
    assert card.surrogates == ["model"]  # by way of the pairs
    assert card.data.startswith("4 portraits")  # one without a pair teaches nothing


def test_pairs_that_do_not_fit_a_run_are_refused(
    raw: dict[str, object], tmp_path: Path, portraits: Path
) -> None:
    for section, key, value, message in (
        ("defender", "levels", 8, "made at 16 levels, but the run trains at 8"),
        ("data", "crop", 96, "64 pixels, smaller than data.crop"),
    ):
        changed = {**raw, section: {**raw[section], key: value}}  # type: ignore[dict-item]
        if key == "crop":
            changed["data"]["short_side"] = [96, 96]  # type: ignore[index]
        with pytest.raises(RidError, match=message):
            loop.train(parse_config(changed), tmp_path, quiet=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "x.jpg").write_bytes((portraits / "0000.jpg").read_bytes())
    changed = {**raw, "data": {**raw["data"], "folder": str(elsewhere)}}  # type: ignore[dict-item]
    with pytest.raises(RidError, match="no pair belongs to a photo"):
        loop.train(parse_config(changed), tmp_path, quiet=True)


def _invoke(*arguments: object) -> str:
    done = CliRunner().invoke(group, ["pairs", *map(str, arguments), "--quiet"])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def test_the_command_makes_pairs_by_a_diffusion_model(
    diffusers_checkpoint: Callable[[str], Path], portraits: Path, tmp_path: Path
) -> None:
    arguments = [
        "--method", "advdm", "--data", portraits, "--surrogate", diffusers_checkpoint("sd"),
        "--size", 64, "--levels", 6, "--limit", 2, "--set", "steps=2", "-o", tmp_path / "pairs",
    ]  # fmt: skip
    assert "2 made, shard 0 of 1" in _invoke(*arguments)
    assert "0 made" in _invoke(*arguments)
    store = PairStore.open(tmp_path / "pairs")
    assert store.header.levels == 6
    assert store.header.settings["steps"] == 2
    assert store.read(next(iter(store.entries))).abs().max() > 0.5


def test_the_command_reads_a_training_config(
    tiny_encoder_file: Path, portraits: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        f'[defender]\nlevels = 5\n[data]\nfolder = "{portraits}"\nexclude = ["000[1-9].jpg"]\n'
        f'[[surrogate]]\nkind = "tiny-autoencoder"\npath = "{tiny_encoder_file}"\n'
        '[[objective]]\nkind = "regression"\npairs = "later"\n'
    )
    output = tmp_path / "pairs"
    _invoke("--config", config, "--size", 32, "--set", "steps=1", "--shard", "0/1", "-o", output)
    store = PairStore.open(output)
    assert (store.header.levels, list(store.entries)) == (5, ["0000.jpg"])
    with pytest.raises(RidError, match="--shard takes"):
        _invoke("--config", config, "--shard", "3/3", "-o", output)
    with pytest.raises(RidError, match="has no setting 'stesp'; did you mean step"):
        _invoke("--config", config, "--set", "stesp=3", "-o", tmp_path / "other")


def test_a_defender_can_be_the_method(portraits: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    teacher = create_defender("rid-n", width=8, detail_width=4).eval()
    torch.nn.init.normal_(teacher.to_image.conv.weight, std=0.1)  # type: ignore[union-attr]
    card = ModelCard("rid-n", levels=8, config={"width": 8, "detail_width": 4})
    save_checkpoint(tmp_path / "teacher.safetensors", teacher, card)
    _invoke("--method", "defender", "--data", portraits, "--size", 64, "-o", tmp_path / "pairs",
            "--set", f"checkpoint={tmp_path / 'teacher.safetensors'}", "--limit", 1)  # fmt: skip
    (name,) = (store := PairStore.open(tmp_path / "pairs")).entries
    with torch.no_grad():
        expected = teacher(to_tensor(centre_square(portraits / name, 64))[None])[0]
    assert (store.read(name) - expected).abs().max() <= 0.5 / 127 + 1e-5
