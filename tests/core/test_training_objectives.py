"""The terms of the loss, their weights, ensembles, and the committed configs of the paper."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from rid_core.cli.train import group
from rid_core.defenders import create_defender
from rid_core.errors import RidError
from rid_core.surrogates import Ensemble, load_surrogate
from rid_core.training import loop
from rid_core.training.config import load_config, parse_config
from rid_core.training.make_pairs import PairJob, make_pairs
from rid_core.training.recipe import Batch, Recipe
from rid_core.training.terms import list_objectives, weight_at

ROOT = Path(__file__).resolve().parents[2]
Checkpoint = Callable[[str], Path]


UNPRICED = {"jod": 0.0, "jod_enlarged": 0.0, "ssimulacra2": 0.0, "colour": 0.0}


@pytest.fixture
def raw(portraits: Path, tiny_encoder_file: Path) -> dict[str, object]:
    return {
        "defender": {"preset": "rid-n", "overrides": {"width": 8, "detail_width": 4}},
        "data": {"folder": str(portraits), "crop": 64, "short_side": [64, 96]},
        "surrogate": [{"kind": "tiny-autoencoder", "path": str(tiny_encoder_file)}],
        "objective": [{"kind": "log-shift"}],
        "visibility": UNPRICED,
        "optim": {"steps": 2, "batch": 2, "warmup": 1},
        "log": {"every": 1, "save_every": 2, "preview_every": 2},
    }


def _batch(count: int = 2, first: int = 0) -> Batch:
    images = torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    return Batch(images[first : first + count], torch.arange(first, first + count))


def _defender() -> torch.nn.Module:
    torch.manual_seed(0)
    defender = create_defender("rid-n", width=8, detail_width=4)
    torch.nn.init.normal_(defender.to_image.conv.weight, std=0.2)  # type: ignore[union-attr]
    return defender.eval()


def _losses(raw: dict[str, object], batch: Batch | None = None, step: int = 0) -> dict[str, float]:
    recipe = Recipe(parse_config(raw))
    found = recipe.losses(_defender(), batch or _batch(), step)
    return {name: value.item() for name, value in found.items()}


def test_every_objective_trains_through_the_defender(
    raw: dict[str, object], diffusers_checkpoint: Checkpoint, portraits: Path
) -> None:
    raw["surrogate"] = [{"kind": "stable-diffusion", "path": str(diffusers_checkpoint("sd"))}]
    settings = {"targeted-latent": {"target": str(portraits / "0001.jpg")}}
    for kind in set(list_objectives()) - {"distillation", "regression"}:
        raw["objective"] = [{"kind": kind, **settings.get(kind, {})}]
        raw["visibility"] = UNPRICED
        defender = _defender()
        losses = Recipe(parse_config(raw)).losses(defender, _batch())
        assert losses["total"].item() == pytest.approx(losses[kind].item())
        losses["total"].backward()
        gradients = [p.grad.abs().sum().item() for p in defender.parameters() if p.grad is not None]
        assert sum(gradients) > 0, kind
        assert np.isfinite(gradients).all(), kind


def test_weights_follow_their_points() -> None:
    points = [(10, 0.0), (20, 1.0), (40, 0.5)]
    found = [weight_at(points, step) for step in (0, 10, 15, 20, 30, 99)]
    assert found == pytest.approx([0, 0, 0.5, 1, 0.75, 0.5])
    assert weight_at(2.0, 1234) == 2.0


def test_the_total_is_the_weighted_sum_and_a_term_without_weight_is_not_computed(
    raw: dict[str, object],
) -> None:
    raw["objective"] = [
        {"kind": "log-shift", "weight": 2.0},
        {"kind": "feature-shift", "weight": [[5, 0.0], [15, 1.0]]},
        {"kind": "log-shift", "weight": 0.5},
    ]
    raw["visibility"] = {"jod": 3.0, "jod_enlarged": 0.5, "ssimulacra2": 2.0, "colour": 0.25}
    early, late = _losses(raw, step=5), _losses(raw, step=10)
    assert "feature-shift" not in early
    assert late["log-shift"] == late["log-shift-2"]
    expected = (
        2.5 * late["log-shift"]
        + 0.5 * late["feature-shift"]
        + 3 * late["jod"]
        + 0.5 * late["jod_enlarged"]
        + 2 * late["ssimulacra2"]
        + 0.25 * late["colour"]
    )
    assert late["total"] == pytest.approx(expected, rel=1e-4)


def test_a_step_neither_changes_torchs_own_random_state_nor_depends_on_it(
    raw: dict[str, object],
) -> None:
    raw["visibility"] = UNPRICED
    recipe, network = Recipe(parse_config(raw)), _defender().train()
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        found.append(recipe.losses(network, _batch())["total"].item())
        assert torch.equal(torch.get_rng_state(), before)
    assert found[0] == found[1]


def test_terms_of_visibility_follow_their_points(raw: dict[str, object]) -> None:
    raw["objective"] = [{"kind": "log-shift"}]
    raw["visibility"] = {**UNPRICED, "ssimulacra2": [[0, 3.0], [10, 1.0]]}
    for step, weight in ((0, 3.0), (5, 2.0), (50, 1.0)):
        found = _losses(raw, step=step)
        expected = found["log-shift"] + weight * found["ssimulacra2"]
        assert found["total"] == pytest.approx(expected, rel=1e-4)
    for wrong in (-1.0, [[5, 1.0], [2, 1.0]], [[0, 1.0], [5, -1.0]], []):
        raw["visibility"] = {"colour": wrong}
        with pytest.raises(RidError, match="colour"):
            parse_config(raw)
    raw["visibility"] = {"periodicity": 0.3}
    with pytest.raises(RidError, match="periodicity no longer exists; jod, jod_enlarged"):
        parse_config(raw)


def test_noise_and_timesteps_follow_sample_and_member(
    raw: dict[str, object], diffusers_checkpoint: Checkpoint
) -> None:
    """Whatever batches the samples come in, and different for members that are the same model."""
    one = {"kind": "stable-diffusion", "path": str(diffusers_checkpoint("sd"))}
    raw["objective"] = [{"kind": "adv-sds"}]
    raw["defender"] = {**raw["defender"], "rounding": False}  # type: ignore[dict-item]
    raw["surrogate"] = [one]
    whole = _losses(raw, _batch(4))["adv-sds"]
    halves = [_losses(raw, _batch(2, first))["adv-sds"] for first in (0, 2)]
    assert whole == pytest.approx(np.mean(halves), rel=1e-3)
    assert halves[0] != pytest.approx(halves[1], rel=0.05)
    raw["surrogate"] = [one, one]
    assert _losses(raw, _batch(4))["adv-sds"] != pytest.approx(whole, rel=0.01)


def test_timesteps_are_drawn_from_their_range(
    raw: dict[str, object], diffusers_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rid_core import objectives

    drawn = []

    def spy(surrogate: object, latent: torch.Tensor, noise: torch.Tensor, t: torch.Tensor):  # type: ignore[no-untyped-def]
        drawn.extend(t.tolist())
        return latent.square().mean(dim=(1, 2, 3))

    monkeypatch.setattr(objectives, "adversarial_score_distillation", spy)
    raw["surrogate"] = [{"kind": "stable-diffusion", "path": str(diffusers_checkpoint("sd"))}]
    for given, low, high in (([300, 400], 300, 400), (None, 0, 1000)):
        raw["objective"] = [{"kind": "adv-sds", **({"timesteps": given} if given else {})}]
        drawn.clear()
        recipe = Recipe(parse_config(raw))
        for first in range(0, 160, 8):
            images = torch.rand(8, 3, 64, 64)
            recipe.losses(_defender(), Batch(images, torch.arange(first, first + 8)))
        assert min(drawn) >= low
        assert max(drawn) < high
        assert np.mean(drawn) == pytest.approx((low + high) / 2, rel=0.1)
    raw["objective"] = [{"kind": "adv-sds", "timesteps": [0, 1001]}]
    with pytest.raises(RidError, match="ends at 1001, but sd has 1000"):
        _losses(raw)


def test_an_ensemble_of_three_trains_in_every_mode(
    raw: dict[str, object], tiny_encoder_files: list[Path]
) -> None:
    surrogates = [{"kind": "tiny-autoencoder", "path": str(path)} for path in tiny_encoder_files]
    alone = [_losses({**raw, "surrogate": [one]})["log-shift"] for one in surrogates]
    raw["surrogate"] = surrogates
    for offload in (False, True):
        for mode in ("mean", "worst", "random"):
            raw["ensemble"] = {"mode": mode, "offload": offload}
            value = _losses(raw)["log-shift"]
            if mode == "mean":
                assert value == pytest.approx(np.mean(alone), rel=1e-4)
            elif mode == "worst":
                assert value >= max(alone) - 1e-4
            else:
                assert min(abs(value - one) for one in alone) < 1e-4
    raw["ensemble"] = {"mode": "random"}
    drawn = {round(_losses(raw, _batch(2, first))["log-shift"], 3) for first in range(6)}
    assert len(drawn) > 1


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ({"kind": "adv-sd"}, "did you mean adv-sds"),
        ({"kind": "adv-sds", "weigth": 2}, "unknown key objective.0.weigth; did you mean weight"),
        ({"kind": "adv-sds", "teacher": "rid-s"}, "adv-sds takes no teacher"),
        ({"kind": "log-shift", "weight": 0}, "must be positive"),
        ({"kind": "log-shift", "weight": [[10, 1], [5, 2]]}, "in order of their steps"),
        ({"kind": "log-shift", "weight": []}, "in order of their steps"),
        ({"kind": "regression"}, "needs pairs: a folder that rid-train pairs made"),
        ({"kind": "adv-sds", "timesteps": [5, 5]}, "timesteps must rise"),
        ({"kind": "distillation", "teacher": "x", "on": ["tiny"]}, "looks at no surrogate"),
        ({"kind": "log-shift", "on": []}, "objective.0.on"),
    ],
)
def test_faults_in_an_objective_are_named(
    raw: dict[str, object], objective: dict[str, object], message: str
) -> None:
    with pytest.raises(RidError, match=message) as caught:
        parse_config({**raw, "objective": [objective]})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("section", "value", "message"),
    [
        ("ensemble", {"mod": "mean"}, "unknown key ensemble.mod; did you mean mode"),
        ("ensemble", {"mode": "best"}, "ensemble.mode"),
        ("optim", {"schedul": "constant"}, "did you mean schedule"),
        ("ensembles", {}, "unknown key ensembles; did you mean ensemble"),
        ("defender", {"round": True}, "unknown key defender.round; did you mean rounding"),
    ],
)
def test_faults_in_the_new_sections_are_named(
    raw: dict[str, object], section: str, value: object, message: str
) -> None:
    with pytest.raises(RidError, match=message):
        parse_config({**raw, section: value})


def test_a_surrogate_that_cannot_be_attacked_so_is_named(
    raw: dict[str, object], diffusers_checkpoint: Checkpoint
) -> None:
    raw["objective"] = [{"kind": "adv-sds"}]
    with pytest.raises(RidError, match="adv-sds cannot attack tiny, which is no diffusion model"):
        Recipe(parse_config(raw))
    path = str(diffusers_checkpoint("sd"))
    raw["surrogate"] = [{"kind": "stable-diffusion", "path": path, "denoiser": False}]
    with pytest.raises(RidError, match="cannot attack sd with denoiser = false"):
        Recipe(parse_config(raw))
    raw["surrogate"] = [{"kind": "stable-diffusion", "path": path, "promt": " "}]
    with pytest.raises(RidError, match="has no setting 'promt'; did you mean prompt"):
        Recipe(parse_config(raw))


def test_an_objective_may_be_on_some_surrogates_only(
    raw: dict[str, object], diffusers_checkpoint: Checkpoint
) -> None:
    encoder = raw["surrogate"][0]  # type: ignore[index]
    model = {"kind": "stable-diffusion", "path": str(diffusers_checkpoint("sd"))}
    raw["objective"] = [{"kind": "log-shift"}]
    alone = _losses({**raw, "surrogate": [encoder]})["log-shift"]
    raw["surrogate"] = [encoder, model]
    # Not every surrogate has to be a diffusion model for this.
    raw["objective"] = [
        {"kind": "log-shift", "on": ["tiny"]},
        {"kind": "adv-sds", "on": ["sd"]},
    ]
    found = _losses(raw)
    assert found["log-shift"] == pytest.approx(alone, rel=1e-5)
    assert found["adv-sds"] > 0
    raw["objective"] = [{"kind": "log-shift", "on": ["tinny"]}]
    with pytest.raises(RidError, match="is on 'tinny', but the surrogates are tiny, sd"):
        Recipe(parse_config(raw))


def test_what_is_left_of_the_way_to_a_target_is_one_without_a_perturbation(
    raw: dict[str, object], portraits: Path
) -> None:
    raw["objective"] = [
        {"kind": "targeted-latent"},
        {"kind": "targeted-latent", "target": str(portraits / "0001.jpg")},
    ]
    raw["defender"] = {"preset": "rid-n", "rounding": False}
    recipe = Recipe(parse_config(raw))
    untrained = create_defender("rid-n", width=8, detail_width=4).eval()
    left = recipe.losses(untrained, _batch())
    assert left["targeted-latent"].item() == pytest.approx(1.0, abs=1e-4)
    assert left["targeted-latent-2"].item() == pytest.approx(1.0, abs=1e-4)
    moved = recipe.losses(_defender(), _batch())
    assert abs(moved["targeted-latent"].item() - 1) > 3e-4


def test_terms_of_a_step_encode_every_view_once(
    raw: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    raw["objective"] = [{"kind": "log-shift"}, {"kind": "targeted-latent"}]
    recipe = Recipe(parse_config(raw))
    (member,) = recipe.surrogates.members
    seen: list[bool] = []
    encode = member.encode

    def counted(image: torch.Tensor) -> torch.Tensor:
        seen.append(image.requires_grad)
        return encode(image)

    monkeypatch.setattr(member, "encode", counted)
    recipe.losses(_defender(), _batch())
    assert sorted(seen) == [False, True]


def test_items_of_a_list_are_overridden_by_their_place() -> None:
    path = ROOT / "configs/paper-mix.toml"
    config = load_config(path, ("surrogate.1.path=mine", "objective.0.weight=[[0, 1.0], [9, 2]]"))
    assert [s.path for s in config.surrogate][1] == "mine"  # type: ignore[attr-defined]
    assert config.objective[0].weight == [(0, 1.0), (9, 2.0)]
    for bad in ("surrogate.3.path=x", "surrogate.x.path=y", "optim.steps.x=1"):
        with pytest.raises(RidError, match="--set"):
            load_config(path, (bad,))


@pytest.mark.parametrize("name", ["paper-sds", "paper-regression", "paper-mix"])
def test_the_papers_configs_start_and_log_on_tiny_models(
    name: str, diffusers_checkpoint: Checkpoint, portraits: Path, tmp_path: Path
) -> None:
    models = [diffusers_checkpoint(family) for family in ("sd-other", "sd", "sd-v")]
    path = ROOT / "configs" / f"{name}.toml"
    config = load_config(path)
    assert config.defender.levels == 6
    assert (config.optim.lr, config.optim.weight_decay, config.optim.warmup) == (3e-4, 1e-2, 500)
    assert (config.optim.batch, config.optim.mixed_precision) == (1, "no")
    assert config.channel == {"identity": 1.0}
    assert not config.defender.rounding
    assignments = [
        "defender.overrides={image_size = 64, width = 16, depth = 1, heads = 2}",
        f"data.folder={portraits}", "data.crop=64", "data.short_side=[64, 64]", "data.workers=0",
        *(f"surrogate.{place}.path={model}" for place, model in enumerate(models)),
        "optim.steps=2", "log.every=1", "log.preview_every=2",
    ]  # fmt: skip
    if config.pairs:
        pairs = tmp_path / "pairs"
        job = PairJob("advdm", portraits, pairs, levels=6, size=64, settings={"steps": 1}, limit=3)
        make_pairs(job, Ensemble([load_surrogate("stable-diffusion", path=models[0])]))
        place = len(config.objective) - 1
        assignments.append(f"objective.{place}.pairs={pairs}")
    arguments = [part for assignment in assignments for part in ("--set", assignment)]
    done = CliRunner().invoke(
        group, ["--config", str(path), "-o", str(tmp_path / "run"), "--quiet", *arguments]
    )
    assert done.exception is None, done.exception
    rows = [json.loads(row) for row in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert len(rows) == 2
    kinds = {"paper-sds": {"adv-sds"}, "paper-regression": {"regression"}}.get(
        name, {"adv-sds", "regression"}
    )
    for row in rows:
        assert kinds == set(row) & set(list_objectives())
        assert row["total"] == pytest.approx(sum(row[kind] for kind in kinds), abs=1e-5)
    assert (tmp_path / "run/rid-dit.safetensors").is_file()


def test_a_saved_state_of_an_older_version_goes_on(raw: dict[str, object], tmp_path: Path) -> None:
    """Settings that did not exist when it was saved are taken to be at their defaults."""
    raw["optim"] = {**raw["optim"], "steps": 3}  # type: ignore[dict-item]
    loop.train(parse_config(raw), tmp_path, quiet=True)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    saved = json.loads(state["config"])
    del saved["ensemble"], saved["optim"]["schedule"], saved["optim"]["compile"]
    del saved["defender"]["rounding"], state["processes"]
    saved["objective"] = [{"kind": "log-shift", "weight": 1.0, "teacher": None}]
    torch.save({**state, "config": json.dumps(saved)}, tmp_path / "state.pt")
    loop.train(parse_config(raw), tmp_path, quiet=True)
    other = {**raw, "ensemble": {"mode": "worst"}}
    with pytest.raises(RidError, match=r"another \[ensemble\]"):
        loop.train(parse_config(other), tmp_path, quiet=True)
    torch.save({**state, "config": json.dumps({**saved, "of_later": 1})}, tmp_path / "state.pt")
    with pytest.raises(RidError, match="was made with another"):
        loop.train(parse_config(raw), tmp_path, quiet=True)
