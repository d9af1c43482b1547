"""Personalization of a tiny random model: what learns, what does not, and what is kept of it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from rid_core.attacks.registry import settings_of
from rid_core.budget import Budget
from rid_core.checkpoint import find_checkpoint
from rid_core.data import to_batch, to_pixels
from rid_core.defenders import Defender
from rid_core.errors import MissingExtraError, RidError
from rid_core.surrogates import Ensemble, load_surrogate
from rid_eval import metrics
from rid_eval.cli import group
from rid_eval.judges import load_judge
from rid_eval.personalization import attack, setup, study
from rid_eval.personalization.model import AttackedModel, load_model, model_digest
from rid_eval.personalization.noise import random_phase, random_signs
from rid_eval.personalization.protections import (
    Protections,
    open_defenders,
)
from rid_eval.personalization.records import (
    PhotoFigures,
    Record,
    claim,
    read_record,
    record_file,
    write_record,
)
from rid_eval.personalization.settings import AttackSettings, change, preset
from rid_eval.personalization.slow import (
    AttackedSurrogates,
    ModelIdentity,
    open_transfer,
    slow_methods,
)
from rid_eval.personalization.subjects import AttackTarget, Subject, targets
from rid_eval.personalization.summary import check_attack, effect_kept, summarize

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {
    "steps": 30, "batch": 2, "samples": 2, "sampling_steps": 3, "guidance": 1.0, "rank": 4,
    "instance_prompt": "a {}", "class_prompt": "a",  # the tiny model's prompts have eight tokens
}  # fmt: skip


@pytest.fixture(scope="module")
def model(diffusers_checkpoint: Callable[[str], Path]) -> AttackedModel:
    return load_model(diffusers_checkpoint("sd-v"), CPU)


@pytest.fixture(scope="module")
def photos(model: AttackedModel) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (4, model.side, model.side, 3), np.uint8)


def _settings(method: str, **changes: Any) -> AttackSettings:
    base = preset("face-ldm", method)
    if method == "textual-inversion":
        base = dataclasses.replace(base, token=2)
    return dataclasses.replace(base, **{"class_images": 2, **SMALL, "lr": 1e-2, **changes})


def _weights(part: torch.nn.Module) -> list[torch.Tensor]:
    return [value.clone() for value in part.state_dict().values()]


def _same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def _loss(model: AttackedModel, tuned: attack.Personalized, latents: torch.Tensor) -> float:
    """Of what was trained for, always with the same noise."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        parts = [
            attack._denoising(model, tuned.unet, latents, tuned.text, len(latents), generator)
            for _ in range(20)
        ]
    return float(torch.stack(parts).mean())


@pytest.mark.parametrize("method", ["dreambooth", "lora", "textual-inversion"])
def test_an_attack_learns_the_photos_and_leaves_the_model_alone(
    model: AttackedModel, photos: np.ndarray, method: str
) -> None:
    settings = _settings(method, token_lr=0.3, prior=0.0, text_encoder=False, steps=60)
    before = _weights(model.unet), _weights(model.text_encoder), len(model.tokenizer)
    encoded = model.encode(to_batch(photos))
    tuned = attack.personalize(model, encoded, settings, seed=3)
    own = attack.personalize(model, encoded, dataclasses.replace(settings, steps=1, lr=0.0,
                                                                 token_lr=0.0), seed=3)  # fmt: skip
    losses = [_loss(model, each, encoded.mean) for each in (tuned, own)]
    assert losses[0] < losses[1] * (0.9999 if method == "textual-inversion" else 0.9)
    assert _same(before[0], _weights(model.unet))
    assert _same(before[1], _weights(model.text_encoder))
    assert before[2] == len(model.tokenizer)
    assert (tuned.unet is model.unet) == (method == "textual-inversion")


def test_the_same_seed_is_the_same_attack(model: AttackedModel, photos: np.ndarray) -> None:
    settings = _settings("lora", steps=4)
    encoded = model.encode(to_batch(photos))

    def drawn(seed: int) -> torch.Tensor:
        tuned = attack.personalize(model, encoded, settings, seed)
        return attack.draw_latents(model, tuned, settings, 2, seed=0)

    torch.manual_seed(1)
    one = drawn(5)
    torch.manual_seed(2)
    assert torch.equal(one, drawn(5))
    assert not torch.equal(one, drawn(6))


def test_the_prior_keeps_the_class(model: AttackedModel, photos: np.ndarray) -> None:
    encoded = model.encode(to_batch(photos))
    prior = model.encode(to_batch(255 - photos))
    settings = _settings("dreambooth", prior=1.0, steps=3)
    with_prior = attack.personalize(model, encoded, settings, 0, prior)
    without = attack.personalize(model, encoded, dataclasses.replace(settings, prior=0.0), 0, prior)
    assert with_prior.losses[0] > without.losses[0]
    assert not _same(_weights(with_prior.unet), _weights(without.unet))


def test_a_linear_schedule_begins_at_the_same_rate_and_falls(
    model: AttackedModel, photos: np.ndarray
) -> None:
    encoded = model.encode(to_batch(photos))
    settings = _settings("dreambooth", steps=3, prior=0.0, text_encoder=False)

    def attacked(scheduler: str, steps: int) -> attack.Personalized:
        changed = dataclasses.replace(settings, lr_scheduler=scheduler, steps=steps)
        return attack.personalize(model, encoded, changed, 0)

    one, other = (attacked(scheduler, 3).losses for scheduler in ("linear", "constant"))
    assert one[:2] == other[:2]  # a loss is of the weights before its step
    assert one[2] != other[2]


def test_a_text_encoder_learns_only_when_asked_to(model: AttackedModel, photos: np.ndarray) -> None:
    encoded = model.encode(to_batch(photos))
    own = attack.untuned(model, _settings("dreambooth"))
    for method in ("dreambooth", "lora"):
        settings = _settings(method, text_encoder=True, steps=2, token=0, prior=0.0)
        learned = attack.personalize(model, encoded, settings, 0)
        frozen = attack.personalize(
            model, encoded, dataclasses.replace(settings, text_encoder=False), 0
        )
        assert not torch.equal(learned.text[1], own.text[1])
        assert torch.equal(frozen.text[1], own.text[1])


def test_a_new_word_has_rows_of_its_own() -> None:
    old = torch.nn.Embedding(5, 3)
    words = attack.NewWords(old, [4, 7], begin=1)
    tokens = torch.tensor([[0, 4, 7, 1]])
    found = words(tokens)
    assert torch.equal(found[0, 0], old.weight[0])
    assert torch.equal(found[0, 1], words.new[0])
    assert torch.equal(found[0, 2], words.new[1])
    assert not torch.equal(words.new[0], words.new[1])
    assert torch.allclose(words.new, old.weight[1].expand(2, -1), atol=0.2)


def test_more_new_words_than_a_prompt_holds(model: AttackedModel, photos: np.ndarray) -> None:
    settings = dataclasses.replace(_settings("textual-inversion"), token=7)
    with pytest.raises(RidError, match=r"10 tokens where the model takes 8; lower token"):
        attack.personalize(model, model.encode(to_batch(photos)), settings, 0)


def test_samples_are_those_of_the_pipeline(model: AttackedModel) -> None:
    """Prompt, guidance and solver as in diffusers' own pipeline, out of the same noise."""
    from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

    settings = _settings("dreambooth", guidance=3.0, sampling_steps=6)
    mine = attack.draw_latents(model, attack.untuned(model, settings), settings, 2, seed=9)
    pipeline = StableDiffusionPipeline(
        vae=model.vae, text_encoder=model.text_encoder, tokenizer=model.tokenizer,
        unet=model.unet, safety_checker=None, feature_extractor=None,
        scheduler=DPMSolverMultistepScheduler.from_config(model.scheduler.config),
        requires_safety_checker=False,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn(mine.shape, generator=torch.Generator().manual_seed(9))
    theirs = pipeline(
        settings.class_prompt, num_inference_steps=6, guidance_scale=3.0, latents=noise,
        num_images_per_prompt=2, output_type="latent",
    ).images  # fmt: skip
    assert torch.allclose(mine, theirs, atol=1e-4)


def test_photos_are_encoded_as_the_surrogate_sees_them(
    model: AttackedModel, photos: np.ndarray, diffusers_checkpoint: Callable[[str], Path]
) -> None:
    surrogate = load_surrogate("stable-diffusion", path=diffusers_checkpoint("sd-v"))
    encoded = model.encode(to_batch(photos))
    assert torch.allclose(encoded.mean, surrogate.encode(to_batch(photos)), atol=1e-5)
    drawn = encoded.draw(torch.tensor([1]), torch.Generator().manual_seed(0))
    assert not torch.equal(drawn[0], encoded.mean[1])
    assert (encoded.deviation > 0).all()
    assert model.decode(encoded.mean).shape == (4, 3, model.side, model.side)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"steps": "many"}, "steps must be of type int"),
        ({"ranks": "4"}, "did you mean rank"),
        ({"text_encoder": "perhaps"}, "true or false"),
        ({"steps": "0"}, "steps must be 1 or more"),
        ({"lr": "-1"}, "lr must not be negative"),
        ({"class_images": "0"}, "prior preservation needs class_images"),
        ({"instance_prompt": "a photo"}, "needs {}"),
        ({"guidance": "0.5"}, "guidance must be 1 or more"),
        ({"lr_scheduler": "cosine"}, "known: constant, linear"),
        ({"method": "lora"}, "no setting 'method'"),
    ],
)
def test_settings_say_what_is_wrong(changes: dict[str, str], problem: str) -> None:
    with pytest.raises(RidError, match=problem):
        change(preset("face-ldm", "dreambooth"), changes)


def test_the_paper_is_as_it_says() -> None:
    lora, dreambooth = preset("paper", "lora"), preset("paper", "dreambooth")
    assert (lora.rank, lora.lr, lora.steps, lora.token) == (32, 3e-4, 220, 1)
    assert dreambooth.lr == 8e-7
    assert dreambooth.prompt == "a photo of sks person"
    assert lora.prompt == "a photo of <rid-0>"
    with pytest.raises(RidError, match="no preset"):
        preset("papers", "lora")


def test_a_model_of_another_kind_is_refused(
    diffusers_checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(RidError, match="StableDiffusionXLPipeline"):
        load_model(diffusers_checkpoint("sdxl"), CPU)
    index = json.loads((diffusers_checkpoint("sd") / "model_index.json").read_text())
    index["text_encoder"] = [None, None]
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(RidError, match="no text encoder, so textual-inversion"):
        load_model(tmp_path, CPU, "textual-inversion")


def test_another_model_has_another_digest(diffusers_checkpoint: Callable[[str], Path]) -> None:
    one, other = (model_digest(diffusers_checkpoint(name)) for name in ("sd", "sd-other"))
    assert one != other
    assert one == model_digest(diffusers_checkpoint("sd"))


def test_divergence_is_said_in_a_line(model: AttackedModel, photos: np.ndarray) -> None:
    settings = _settings("dreambooth", lr=1e9, prior=0.0)
    with pytest.raises(RidError, match="lower lr"):
        attack.personalize(model, model.encode(to_batch(photos)), settings, 0)


def test_noise_of_the_same_spectrum_and_values(astronaut: np.ndarray) -> None:
    image = astronaut[:64, 128:192].astype(np.float32) / 255
    unit = np.tanh(8 * (image - np.roll(image, 1, axis=1)))
    noise = random_phase(unit, seed=1)
    for colour in range(3):
        assert np.array_equal(
            np.sort(noise[..., colour].ravel()), np.sort(unit[..., colour].ravel())
        )
    powers = [np.abs(np.fft.fft2(x, axes=(0, 1))) for x in (unit, noise)]
    assert np.corrcoef(powers[0].ravel(), powers[1].ravel())[0, 1] > 0.98
    assert abs(np.corrcoef(unit.ravel(), noise.ravel())[0, 1]) < 0.1
    # Colours keep their relation: of this photo's edges, they go together.
    assert np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1] > 0.7
    assert np.array_equal(noise, random_phase(unit, seed=1))
    assert not np.array_equal(noise, random_phase(unit, seed=2))
    assert set(np.unique(random_signs((8, 8, 3), 0))) == {-1, 1}


class _Pattern(Defender):
    """A defender that draws the same waves on every photo."""

    def __init__(self, height: float = 0.8) -> None:
        super().__init__()
        self.height = height

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        rows = torch.arange(image.shape[2]).reshape(1, 1, -1, 1)
        return torch.sin(rows + 0 * image) * self.height


METHODS = {"aspl": {**settings_of("aspl"), "rounds": 2},
           "photoguard": {**settings_of("photoguard"), "steps": 2}}  # fmt: skip


def _opponent(checkpoint: Path) -> AttackedSurrogates:
    surrogate = load_surrogate("stable-diffusion", path=checkpoint)
    return AttackedSurrogates.of([(surrogate, ModelIdentity("sd"))], CPU)


def _protections(path: Path, opponent: AttackedSurrogates, **changes: Any) -> Protections:
    methods, _ = slow_methods(METHODS, opponent, [], CPU)
    return Protections(**{
        "budget": Budget(8), "defenders": {"mine": _Pattern()}, "methods": methods, "cache": path,
        "device": CPU, **changes,
    })  # fmt: skip


def _target(photos: np.ndarray, person: str = "00", number: int = 0) -> AttackTarget:
    return AttackTarget(person, number, photos, ["a.jpg"] * len(photos), np.array([1.0, 0.0]), 0.9)


def test_every_protection_keeps_the_bound_and_is_made_once(
    photos: np.ndarray, diffusers_checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    opponent = _opponent(diffusers_checkpoint("sd"))
    protections = _protections(tmp_path, opponent, signs_bound=True)
    assert protections.labels == [
        "clean", "mine", "aspl", "photoguard", "signs", "signs-bound", "spectrum"]  # fmt: skip
    target = _target(photos)
    made = {label: protections.apply(label, target) for label in protections.labels}
    assert np.array_equal(made["clean"], photos)
    for label in protections.labels[1:]:
        change_ = np.abs(made[label].astype(int) - photos).max()
        assert (1 if label == "signs" else 6) <= change_ <= 8, label

    def none() -> Ensemble:
        raise AssertionError("made a second time")

    again = _protections(tmp_path, AttackedSurrogates(opponent.models, none))
    assert np.array_equal(again.apply("aspl", target), made["aspl"])
    assert again.budget_of("signs", target) == protections.budget_of("signs", target)
    other = _protections(tmp_path, AttackedSurrogates([ModelIdentity("another")], none))
    with pytest.raises(AssertionError, match="second time"):
        other.apply("aspl", target)


@pytest.fixture(scope="module")
def faces(astronaut: np.ndarray) -> np.ndarray:
    """Photos on which a change is seen, unlike on noise."""
    return np.stack([astronaut[top : top + 64, 192:256] for top in (60, 100)])


def test_signs_and_slow_methods_get_the_look_of_the_first_defender(
    faces: np.ndarray, diffusers_checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    methods, _ = slow_methods({"photoguard": METHODS["photoguard"]},
                              _opponent(diffusers_checkpoint("sd")), [], CPU)  # fmt: skip
    nothing = AttackedSurrogates([], lambda: Ensemble([]))
    protections = _protections(tmp_path, nothing, methods=methods,
                               defenders={"mine": _Pattern(0.2)}, budget=Budget(8),
                               equal_look=True, signs_bound=True)  # fmt: skip
    assert protections.labels == ["clean", "mine", "photoguard", "photoguard-look", "signs",
                                  "signs-bound", "spectrum"]  # fmt: skip
    target = _target(faces)
    jod = {label: metrics.jod(faces, protections.apply(label, target))
           for label in protections.labels}  # fmt: skip
    assert jod["photoguard"] < jod["mine"] - 0.05
    assert jod["photoguard-look"] == pytest.approx(jod["mine"], abs=0.03)
    assert jod["signs-bound"] < jod["mine"] - 0.05
    # Signs are seen in steps of a whole level.
    strength = protections.budget_of("signs", target).strength
    steps = [metrics.jod(faces, _signs(faces, level)) for level in range(1, 9)]
    nearest = 1 + int(np.argmin([abs(step - jod["mine"]) for step in steps]))
    assert abs(round(8 * strength) - nearest) <= 1
    assert 0.05 < protections.budget_of("photoguard-look", target).strength < 1
    assert protections.budget_of("photoguard", target).strength == 1
    described = protections.describe("photoguard-look")
    assert described.look_of == protections.describe("mine")
    assert described.attacked == [ModelIdentity("sd")]


def _signs(photos: np.ndarray, level: int) -> np.ndarray:
    signs = np.random.default_rng(5).integers(0, 2, photos.shape) * 2 - 1
    return (photos + level * signs).clip(0, 255).astype(np.uint8)


def test_signs_change_a_level_where_the_defender_is_not_seen_at_all(
    faces: np.ndarray, tmp_path: Path
) -> None:
    unseen = _protections(tmp_path, AttackedSurrogates([], lambda: Ensemble([])), methods={},
                          defenders={"mine": _Pattern(0.01)}, budget=Budget(4))  # fmt: skip
    target = _target(faces)
    assert np.array_equal(unseen.apply("mine", target), faces)
    assert np.abs(unseen.apply("signs", target).astype(int) - faces).max() == 1
    assert unseen.describe("signs").levels == 8  # what the defender may use does not bound them
    assert round(8 * unseen.budget_of("signs", target).strength) == 1


def test_slow_methods_attack_other_surrogates_where_they_can(
    photos: np.ndarray, diffusers_checkpoint: Callable[[str], Path], tiny_encoder_files: list[Path],
    tmp_path: Path,
) -> None:  # fmt: skip
    taesd = tmp_path / "taesd"
    taesd.mkdir()
    shutil.copy(tiny_encoder_files[0], taesd / "encoder.safetensors")
    paths = [str(taesd), str(tiny_encoder_files[1])]
    encoders = open_transfer(paths, "a photo of a face")
    one, other = encoders[0][1], encoders[1][1]
    assert (one.name, one.distils) == ("taesd", "the SD 1/2 autoencoder")
    assert (other.distils, other.prompt) == (None, None)
    assert one.digest != other.digest
    own = _opponent(diffusers_checkpoint("sd"))
    methods, left_out = slow_methods(METHODS, own, encoders, CPU)
    assert list(methods) == ["aspl", "photoguard", "photoguard-transfer"]
    assert len(left_out) == 1
    assert "aspl-transfer is left out" in left_out[0]
    assert "names none (taesd, member-1)" in left_out[0]
    protections = _protections(tmp_path, own, methods=methods)
    attacked = protections.describe("photoguard-transfer").attacked
    assert [model.name for model in attacked] == ["taesd", "member-1"]
    target = _target(photos[:1])
    assert not np.array_equal(protections.apply("photoguard-transfer", target),
                              protections.apply("photoguard", target))  # fmt: skip
    # Of mixed surrogates each method attacks those that it can.
    mixed = open_transfer([*paths, str(diffusers_checkpoint("sd-other"))], "a photo of a face")
    methods, left_out = slow_methods(METHODS, own, mixed, CPU)
    assert not left_out
    names = {label: [model.name for model in slow.attacked.models]
             for label, slow in methods.items()}  # fmt: skip
    assert names["aspl-transfer"] == ["sd-other"]
    assert names["photoguard-transfer"] == ["taesd", "member-1", "sd-other"]
    assert mixed[2][1].prompt == "a photo of a face"


def test_conditions_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    nothing = AttackedSurrogates([], lambda: Ensemble([]))
    with pytest.raises(RidError, match="two conditions are called 'signs'"):
        _protections(tmp_path, nothing, defenders={"mine": _Pattern(), "signs": _Pattern()})
    with pytest.raises(RidError, match="needs a --defender"):
        _protections(tmp_path, nothing, defenders={}, equal_look=True)


def test_of_a_mixed_set_only_a_share_is_protected(
    photos: np.ndarray, diffusers_checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    opponent = _opponent(diffusers_checkpoint("sd"))
    protections = _protections(tmp_path, opponent, methods={}, shares=(25, 50))
    assert protections.labels == ["clean", "mine", "signs", "spectrum", "mine@25", "mine@50"]
    target = _target(np.concatenate([photos, photos])[:4])
    protected = protections.apply("mine", target)
    for label, count in (("mine@25", 1), ("mine@50", 2)):
        mixed = protections.apply(label, target)
        assert np.array_equal(mixed[:count], protected[:count])
        assert np.array_equal(mixed[count:], target.photos[count:])
        described = protections.describe(label)
        whole = protections.describe("mine")
        assert described == dataclasses.replace(whole, share=int(label[-2:]))
        assert described.plain() == {**whole.plain(), "share": int(label[-2:])}
    shutil.copy(find_checkpoint("rid-n"), tmp_path / "rid-n@50.safetensors")
    with pytest.raises(RidError, match="rename the file, @ stands for shares of photos"):
        open_defenders((str(tmp_path / "rid-n@50.safetensors"),), None)
    nobody = _protections(tmp_path, opponent, defenders={}, shares=(25,))
    assert nobody.labels == ["clean", "aspl", "photoguard", "signs"]


def _subject(name: str, count: int) -> Subject:
    crops = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    embeddings = np.tile([1.0, 0.0], (count, 1))
    return Subject(name, crops, embeddings, [f"{n:02d}.jpg" for n in range(count)],
                   {"x.jpg": "no face found", "y.jpg": "2 faces"})  # fmt: skip


def test_sets_and_reference_are_disjoint() -> None:
    dealt = targets([_subject("00", 20), _subject("01", 12)], sets=2, photos=4)
    assert [target.key for target in dealt] == ["00-0", "00-1", "01-0", "01-1"]
    one, other = set(dealt[0].files), set(dealt[1].files)
    assert len(one) == len(other) == 4
    assert not one & other
    assert [int(name[:2]) for name in dealt[0].files] == dealt[0].photos[:, 0, 0, 0].tolist()
    assert dealt[0].photos_score == pytest.approx(1)


def test_too_few_photos_are_named_with_what_was_left_out() -> None:
    with pytest.raises(RidError, match=r"01: 11 photos .* need 12.*x.jpg \(no face found\), y.jpg"):
        targets([_subject("00", 20), _subject("01", 11)], sets=2, photos=4)


def _record(key: str, label: str, *cosines: float | None) -> Record:
    vectors = [None if c is None else np.array([c, (1 - c**2) ** 0.5]) for c in cosines]
    return Record(key, label, vectors, PhotoFigures(psnr=31.0 if label != "clean" else None))


def test_an_attack_that_does_not_find_the_person_is_broken(photos: np.ndarray) -> None:
    people = [_target(photos, name) for name in ("00", "01", "02")]
    before = _record("untuned", "untuned", 0.1, 0.2)

    def verdict(*means: float) -> Any:
        return check_attack([(t, _record(t.key, "clean", m, m), before)
                     for t, m in zip(people, means, strict=True)], threshold=0.4)  # fmt: skip

    assert verdict(0.6, 0.5, 0.7).works
    assert not verdict(0.6, 0.39, 0.3).works  # above the threshold for one of three
    few_faces = [(t, _record(t.key, "clean", 0.7, None), before) for t in people]
    assert not check_attack(few_faces, 0.4).works  # one sample of two has no face: 0.35
    close = [(t, _record(t.key, "clean", 0.5), _record("u", "untuned", 0.45)) for t in people]
    assert not check_attack(close, 0.4).works  # the model drew such people before
    assert "difference" in check_attack(close, 0.4).reason


def test_falls_and_ratios(photos: np.ndarray) -> None:
    people = [_target(photos, name) for name in ("00", "01")]
    ism = {"untuned": (0.1,), "clean": (0.8, 0.8), "mine": (0.4, None), "aspl": (0.3, 0.5),
           "signs": (0.7, 0.7), "mine@50": (0.6, 0.7)}  # fmt: skip
    records = {(t.key, label): _record(t.key, label, *values)
               for t in people for label, values in ism.items()}  # fmt: skip

    def find(key: str, label: str) -> Record | None:
        return records.get((key, label))

    references = np.random.default_rng(0).standard_normal((20, 2))
    found = summarize(people, list(ism), find, 0.5, references, ["mine"])
    falls = {label: found.conditions[label].fall for label in ("mine", "aspl", "signs")}
    assert falls["mine"].zero.value == pytest.approx(0.6)
    assert falls["mine"].found.value == pytest.approx(0.4)
    assert falls["signs"].zero.value == pytest.approx(0.1)
    ratios = {ratio.to: ratio for ratio in found.ratios}
    assert [r.of for r in found.ratios] == ["mine", "mine", "mine@50"]
    assert ratios["mine"].zero.value == pytest.approx(0.25)  # of the effect is left
    assert ratios["aspl"].zero.value == pytest.approx(1.5)
    assert ratios["aspl"].target == 0.8
    assert ratios["signs"].zero.value == pytest.approx(6)
    assert ratios["signs"].target == 6
    assert len(found.rows) == 12
    assert found.conditions["mine"].means.fdfr.value == 0.5
    assert "few" in found.conditions["aspl"].distance.warning
    half = {key: _record(*key, *[None if v is None else 0.8 - (0.8 - v) / 2 for v in ism[key[1]]])
            for key in records}  # fmt: skip
    kept = effect_kept(people, list(ism), lambda k, c: half.get((k, c)), find, 0.5)
    assert kept["aspl"].zero.value == pytest.approx(0.5)


def test_a_record_comes_back_and_a_damaged_one_is_none(tmp_path: Path) -> None:
    samples = np.zeros((2, 8, 8, 3), np.uint8)
    record = _record("00-0", "mine", 0.5, None)
    write_record(tmp_path, record, samples)
    found = read_record(tmp_path, "00-0", "mine")
    assert found is not None
    assert found.embeddings[1] is None
    assert np.allclose(found.embeddings[0], record.embeddings[0], atol=1e-5)  # type: ignore[arg-type]
    record_file(tmp_path, "00-0", "mine").write_text('{"key": ')
    assert read_record(tmp_path, "00-0", "mine") is None


def test_a_folder_of_other_settings_is_left_alone(tmp_path: Path) -> None:
    claim(tmp_path, {"lr": 1e-4, "steps": 5}, {"clean": {}})
    claim(tmp_path, {"lr": 1e-4, "steps": 5}, {"mine": {"weights": "a"}})
    with pytest.raises(RidError, match=r"made otherwise \(steps\)"):
        claim(tmp_path, {"lr": 1e-4, "steps": 6}, {"clean": {}})
    with pytest.raises(RidError, match=r"made otherwise \(mine\)"):
        claim(tmp_path, {"lr": 1e-4, "steps": 5}, {"mine": {"weights": "b"}})


class _StubJudge:
    """Says that tuned models draw the person, unless they were trained on waves."""

    def __init__(self) -> None:
        self.calls = 0

    def embed(self, images: list[np.ndarray]) -> list[np.ndarray | None]:
        self.calls += 1
        return [np.array([0.1 if self.calls == 1 else 0.8, 0.6])] * len(images)


def _study(
    model: AttackedModel, photos: np.ndarray, checkpoint: Path, output: Path, **changes: Any
) -> study.Study:
    surrogate = load_surrogate("stable-diffusion", path=checkpoint)
    nothing = AttackedSurrogates([], lambda: Ensemble([surrogate]))
    protections = _protections(output / "protected", nothing, methods={})
    people = [_target(photos, "00"), _target(photos[::-1].copy(), "01")]
    settings = _settings("dreambooth", steps=2)
    return study.Study(**{
        "model": model, "judge": _StubJudge(), "protections": protections, "targets": people,
        "threshold": 0.4, "settings": settings, "output": output / "study",
        "measured": lambda: surrogate, **changes,
    })  # fmt: skip


@pytest.mark.full
def test_an_interrupted_study_goes_on_and_shards_share_it(
    model: AttackedModel, photos: np.ndarray, diffusers_checkpoint: Callable[[str], Path],
    tmp_path: Path,
) -> None:  # fmt: skip
    checkpoint = diffusers_checkpoint("sd-v")
    done: list[tuple[int, int]] = []

    def interrupt(number: int, total: int) -> None:
        done.append((number, total))
        if len(done) == 3:
            raise KeyboardInterrupt

    begun = _study(model, photos, checkpoint, tmp_path)
    assert len(begun.left()) == 8
    with pytest.raises(KeyboardInterrupt):
        begun.run(interrupt)
    assert done == [(1, 8), (2, 8), (3, 8)]
    finished = [(t.key, label) for t in begun.targets for label in ("clean", "mine", "signs")
                if begun.record(t.key, label)]  # fmt: skip
    assert finished == [("00-0", "clean"), ("00-0", "mine"), ("01-0", "clean")]
    again = _study(model, photos, checkpoint, tmp_path)
    assert len(again.left()) == 5
    assert again.run(interrupt, start=False).attacks == 2  # judges what is there
    assert len(again.left()) == 5
    for number in (1, 0):
        part = _study(model, photos, checkpoint, tmp_path, shard=(number, 2))
        assert part.run(lambda *numbers: done.append(numbers)).works
    assert len(done) == 8
    merged = _study(model, photos, checkpoint, tmp_path)
    assert merged.left() == []
    assert merged.run(lambda *numbers: done.append(numbers)).works
    assert len(done) == 8
    record = merged.record("01-0", "mine")
    assert record is not None
    assert [name for name, value in vars(record.photos).items() if value is None] == ["lpips"]
    assert record.photos.levels == 8
    signs = merged.record("01-0", "signs")
    assert signs is not None
    assert signs.photos.levels == pytest.approx(8 * signs.photos.strength)
    with Image.open(tmp_path / "study" / "sheets" / "01-0.png") as sheet:
        assert sheet.height == 5 * (model.side + 8)


def test_a_shard_with_few_attacks_leaves_the_verdict_to_others(
    model: AttackedModel, photos: np.ndarray, diffusers_checkpoint: Callable[[str], Path],
    tmp_path: Path,
) -> None:  # fmt: skip
    class Nobody:
        def embed(self, images: list[np.ndarray]) -> list[np.ndarray | None]:
            return [None] * len(images)

    people = [_target(photos, f"{number:02d}") for number in range(5)]
    part = _study(model, photos, diffusers_checkpoint("sd-v"), tmp_path, judge=Nobody(),
                  targets=people, shard=(0, 4))  # fmt: skip
    assert len(part.mine) == 2
    assert not part.run().works
    assert part.left() == []
    whole = _study(model, photos, diffusers_checkpoint("sd-v"), tmp_path, judge=Nobody(),
                   targets=people)  # fmt: skip
    assert not whole.run().works
    assert {label for _, label in whole.left()} == {"mine", "signs", "spectrum"}


@pytest.mark.full
def test_what_the_channel_does_is_done_to_clean_photos_too(
    model: AttackedModel, photos: np.ndarray, diffusers_checkpoint: Callable[[str], Path],
    tmp_path: Path,
) -> None:  # fmt: skip
    made = _study(model, photos, diffusers_checkpoint("sd-v"), tmp_path, channel="jpeg75")
    plain = made.protections.apply("mine", made.targets[0])
    for label in ("clean", "mine"):
        assert not np.array_equal(made.published(label, made.targets[0]), photos)
    assert not np.array_equal(made.published("mine", made.targets[0]), plain)
    assert np.array_equal(to_pixels(to_batch(photos)), photos)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> Path:
    """Two folders of the same person, one photo without a face."""
    try:
        load_judge()
    except MissingExtraError as error:
        pytest.skip(str(error))
    root = tmp_path_factory.mktemp("people")
    image = Image.fromarray(astronaut).crop((130, 30, 310, 210))
    for person in ("ann", "bob"):
        (root / person).mkdir()
        for number in range(6):
            turned = image.rotate(3 * number - 6, resample=Image.Resampling.BICUBIC)
            turned.save(root / person / f"{number}.png")
    Image.new("RGB", (64, 64), "grey").save(root / "ann" / "grey.png")
    return root


def _command(people: Path, checkpoint: Path, output: Path, *more: str) -> Any:
    arguments = [
        "personalize", "--surrogate", str(checkpoint), "--people", str(people), "-o", str(output),
        "--sets", "1", "--photos", "2", "--steps", "1", "--samples", "1", "--device", "cpu",
        "--set", "sampling_steps=1", "--set", "class_images=1", "--set", "aspl.rounds=1",
        "--against", "aspl", "--quiet",
    ]  # fmt: skip
    return CliRunner().invoke(group, [*arguments, *more])


@pytest.mark.full
def test_the_command_stops_at_a_broken_attack_and_can_be_forced(
    people: Path, diffusers_checkpoint: Callable[[str], Path], tiny_encoder_file: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    checkpoint, figures = diffusers_checkpoint("sd"), tmp_path / "figures.json"
    stopped = _command(people, checkpoint, tmp_path / "out", "--json", str(figures))
    assert stopped.exit_code == 1
    assert "attack is broken" in stopped.output
    content = json.loads(figures.read_text())
    assert (content["what"], content["attack"]) == ("personalization", "broken")
    assert list(content["conditions"]) == ["untuned", "clean"]
    assert content["protections"]["aspl"]["settings"]["learning_rate"] == content["settings"]["lr"]
    assert float(content["settings"]["lr"]) == preset("face-ldm", "dreambooth").lr > 0
    more = ("--force", "--transfer", str(tiny_encoder_file), "--equal-look")
    forced = _command(people, checkpoint, tmp_path / "out", "--json", str(figures), *more)
    assert forced.exit_code == 0, forced.output
    assert forced.output.count("aspl-transfer is left out") == 1
    content = json.loads(figures.read_text())
    assert content["attack"] == "broken"
    assert list(content["conditions"]) == [
        "untuned", "clean", "rid-s", "aspl", "aspl-look", "signs", "spectrum"]  # fmt: skip
    assert "aspl-transfer is left out" in content["conditions_left_out"][0]
    looks = {row["condition"]: row for row in content["rows"] if row["person"] == "ann"}
    assert looks["aspl-look"]["levels"] <= looks["aspl"]["levels"] == 8
    assert looks["aspl-look"]["jod"] >= looks["aspl"]["jod"]
    assert content["protections"]["aspl-look"]["attacked"][0]["name"] == "sd"
    assert "JOD" in forced.output
    assert content["left_out"] == {"ann": {"grey.png": "no face found"}}
    assert len(content["rows"]) == 14
    assert "LPIPS is left out" in content["lpips"]
    assert str(tmp_path) not in json.dumps(content).replace(content["made"]["command"], "")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("attacks/**/*.json")}
    assert len(before) == 13
    again = _command(people, checkpoint, tmp_path / "out", *more)
    assert ", 0 attacks to do" in again.output
    assert before == {p: p.stat().st_mtime_ns for p in before}


def test_the_command_says_what_is_missing(
    people: Path, diffusers_checkpoint: Callable[[str], Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    checkpoint = diffusers_checkpoint("sd")

    def problem(*more: str) -> str:
        done = _command(people, checkpoint, tmp_path / "out", *more)
        assert isinstance(done.exception, RidError), done.output
        return str(done.exception)

    assert "6 photos with exactly one face are too few" in problem("--photos", "4")
    assert "left out: grey.png (no face found)" in problem("--photos", "4")
    assert "did you mean rank" in problem("--set", "ranks=2")
    nobody = CliRunner().invoke(group, [
        "personalize", "--surrogate", str(checkpoint), "--people", str(people), "--transfer", "x",
        "--against", "none", "-o", str(tmp_path / "out"), "--quiet"])  # fmt: skip
    assert "name one with --against" in str(nobody.exception)
    assert "no such file" in problem("--transfer", str(tmp_path / "none.pth"))
    assert "not among --against" in problem("--set", "mist.rate=2")
    assert "I from 0" in problem("--shard", "2/2")
    assert "no such kind of device" in problem("--device", "toaster")
    monkeypatch.setattr(setup, "estimated_hours", lambda *_: 1234.0)
    said = problem()
    assert "1,234 hours" in said
    assert "--yes" in said
    assert not (tmp_path / "out" / "dreambooth").exists()


def test_the_estimate_grows_with_the_work(model: AttackedModel) -> None:
    settings = _settings("dreambooth", prior=0.0)
    little = study.estimated_hours(model, settings, 1)
    much = study.estimated_hours(model, dataclasses.replace(settings, steps=100000), 100)
    assert 0 < little < much / 1000
