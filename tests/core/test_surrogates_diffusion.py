"""Diffusion models of every family, on tiny random checkpoints that diffusers itself wrote."""

from __future__ import annotations

import inspect
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import diffusers_folders
import pytest
import torch

from rid_core.errors import RidError
from rid_core.surrogates import DiffusionSurrogate, FeatureSurrogate, load_surrogate, open_surrogate
from rid_core.surrogates.schedule import PREDICTIONS, Schedule

FAMILIES = ["sd", "sd-v", "sdxl", "sd3", "sd3-without-t5", "flux"]
Checkpoint = Callable[[str], Path]


def _image(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, 3, 64, 64, generator=generator)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_encodes_and_denoises(family: str, diffusers_checkpoint: Checkpoint) -> None:
    surrogate = load_surrogate("stable-diffusion", path=diffusers_checkpoint(family))
    assert isinstance(surrogate, DiffusionSurrogate)
    assert isinstance(surrogate, FeatureSurrogate)
    for member in ("name", "stride", "timesteps", "denoiser"):  # as isinstance() from 3.12 on
        inspect.getattr_static(surrogate, member)
    assert surrogate.name == family
    assert surrogate.timesteps == 1000
    assert not any(p.requires_grad for p in surrogate.parameters())  # type: ignore[attr-defined]
    image = _image().requires_grad_(True)
    latent = surrogate.encode(image)
    assert latent.shape == (2, 8 if family.startswith("sd3") else 4, 8, 8)
    (gradient,) = torch.autograd.grad(latent.square().sum(), image)
    assert gradient.dtype == torch.float32
    assert gradient.abs().sum() > 0
    noise, t = torch.randn_like(latent), torch.tensor([10, 700])
    predicted = surrogate.predict_noise(surrogate.add_noise(latent, noise, t), t)
    assert predicted.shape == latent.shape
    assert not predicted.requires_grad
    loss = surrogate.denoising_loss(surrogate.encode(image), noise, t)
    assert loss.shape == (2,)
    (gradient,) = torch.autograd.grad(loss.sum(), image)
    assert gradient.isfinite().all()
    assert len(surrogate.features(image)) == 5


@pytest.mark.parametrize("family", ["sd", "sd-v", "sdxl", "sd3", "flux"])
def test_the_encoded_prompt_and_the_call_are_those_of_diffusers_pipelines(
    family: str, diffusers_checkpoint: Checkpoint
) -> None:
    """What the network is given, against the pipeline's own ``encode_prompt`` and packing."""
    import diffusers

    folder = diffusers_checkpoint(family)
    ours = load_surrogate("stable-diffusion", path=folder, prompt="a photo of a person")
    assert isinstance(ours, DiffusionSurrogate)
    index = json.loads((folder / "model_index.json").read_text())
    pipeline_class = getattr(diffusers, index["_class_name"])
    unused = {"safety_checker": None, "feature_extractor": None}
    extra = unused if family in ("sd", "sd-v") else {}
    pipeline = pipeline_class.from_pretrained(folder, **extra)
    options = {"num_images_per_prompt": 1, "device": "cpu"}
    z, t = torch.randn(1, *_latent_shape(family)), torch.tensor([321])
    with torch.no_grad():
        if family == "flux":
            text, pooled, text_ids = pipeline.encode_prompt(
                "a photo of a person", "a photo of a person", max_sequence_length=12, **options
            )
            packed = pipeline._pack_latents(z, 1, 4, 8, 8)
            ids = pipeline._prepare_latent_image_ids(1, 4, 4, "cpu", torch.float32)
            sigma = ours.schedule.sigma[t]  # type: ignore[attr-defined]
            output = pipeline.transformer(
                hidden_states=packed, timestep=sigma, guidance=torch.ones(1),
                pooled_projections=pooled, encoder_hidden_states=text, txt_ids=text_ids,
                img_ids=ids, return_dict=False,
            )[0]  # fmt: skip
            output = pipeline._unpack_latents(output, 64, 64, 8)
            expected = z + (1 - sigma) * output
        elif family == "sd3":
            text, _, pooled, _ = pipeline.encode_prompt(
                *["a photo of a person"] * 3, do_classifier_free_guidance=False,
                max_sequence_length=12, **options,
            )  # fmt: skip
            sigma = ours.schedule.sigma[t]  # type: ignore[attr-defined]
            output = pipeline.transformer(
                hidden_states=z, timestep=sigma * 1000, encoder_hidden_states=text,
                pooled_projections=pooled, return_dict=False,
            )[0]  # fmt: skip
            expected = z + (1 - sigma) * output
        elif family == "sdxl":
            text, _, pooled, _ = pipeline.encode_prompt(
                "a photo of a person", do_classifier_free_guidance=False, **options
            )
            sizes = torch.tensor([[64.0, 64, 0, 0, 64, 64]])
            expected = pipeline.unet(
                z, t, encoder_hidden_states=text,
                added_cond_kwargs={"text_embeds": pooled, "time_ids": sizes},
            ).sample  # fmt: skip
        else:
            text, _ = pipeline.encode_prompt(
                "a photo of a person", do_classifier_free_guidance=False, **options
            )
            output = pipeline.unet(z, t, encoder_hidden_states=text).sample
            kept = pipeline.scheduler.alphas_cumprod[t]
            expected = output if family == "sd" else kept.sqrt() * output + (1 - kept).sqrt() * z
    torch.testing.assert_close(ours.predict_noise(z, t), expected, rtol=1e-4, atol=1e-5)


def _latent_shape(family: str) -> tuple[int, int, int]:
    return (8 if family == "sd3" else 4, 8, 8)


def test_latents_are_scaled_and_shifted_as_in_the_pipelines(
    diffusers_checkpoint: Checkpoint,
) -> None:
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(diffusers_checkpoint("sd3") / "vae")
    image = _image()
    with torch.no_grad():
        mean = vae.encode(image * 2 - 1).latent_dist.mean
    ours = load_surrogate("stable-diffusion", path=diffusers_checkpoint("sd3"))
    torch.testing.assert_close(ours.encode(image), (mean - 0.06) * 1.5, rtol=1e-4, atol=1e-5)


def test_the_prompt_matters_and_the_text_encoders_are_gone(
    diffusers_checkpoint: Checkpoint,
) -> None:
    folder = diffusers_checkpoint("sd")
    one = load_surrogate("stable-diffusion", path=folder, prompt="a photo")
    other = load_surrogate("stable-diffusion", path=folder, prompt="a person")
    z, t = torch.randn(1, 4, 8, 8), torch.tensor([500])
    assert not torch.equal(one.predict_noise(z, t), other.predict_noise(z, t))  # type: ignore[attr-defined]
    kinds = {type(module).__name__ for module in one.modules()}  # type: ignore[attr-defined]
    assert not [kind for kind in kinds if kind.startswith("CLIP")]
    assert "Decoder" not in kinds


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_keeps_float32_outside(dtype: str, diffusers_checkpoint: Checkpoint) -> None:
    folder = diffusers_checkpoint("sd")
    full = load_surrogate("stable-diffusion", path=folder)
    half = load_surrogate("stable-diffusion", path=folder, dtype=dtype)
    assert next(half.denoiser.parameters()).dtype == getattr(torch, dtype)  # type: ignore[attr-defined]
    image = _image().requires_grad_(True)
    latent = half.encode(image)
    assert latent.dtype == torch.float32
    (gradient,) = torch.autograd.grad(latent.square().sum(), image)
    assert gradient.dtype == torch.float32
    torch.testing.assert_close(latent, full.encode(image), rtol=0.1, atol=0.05)
    predicted = half.predict_noise(latent.detach(), torch.tensor([1, 2]))  # type: ignore[attr-defined]
    assert predicted.dtype == torch.float32


def test_an_autoencoder_that_overflows_in_float16_stays_float32(
    diffusers_checkpoint: Checkpoint,
) -> None:
    half = load_surrogate("stable-diffusion", path=diffusers_checkpoint("sdxl"), dtype="float16")
    assert next(half.vae.parameters()).dtype == torch.float32  # type: ignore[attr-defined]
    assert next(half.denoiser.parameters()).dtype == torch.float16  # type: ignore[attr-defined]


def test_gradient_checkpointing_keeps_less_and_changes_nothing(
    diffusers_checkpoint: Checkpoint,
) -> None:
    def run(checkpointing: bool) -> tuple[torch.Tensor, int]:
        surrogate = load_surrogate(
            "stable-diffusion",
            path=diffusers_checkpoint("sd"),
            gradient_checkpointing=checkpointing,
        )
        kept = 0

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal kept
            kept += tensor.numel()
            return tensor

        image = _image().requires_grad_(True)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            latent = surrogate.encode(image)
        (gradient,) = torch.autograd.grad(latent.square().sum(), image)
        return gradient, kept

    (plain, much), (saving, little) = run(False), run(True)
    torch.testing.assert_close(plain, saving)
    assert little < much / 2


def test_an_encoder_alone_loads_nothing_else(
    diffusers_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    folder = tmp_path / "vae-only"
    source = diffusers_checkpoint("flux")
    shutil.copytree(source / "vae", folder / "vae")
    shutil.copy(source / "model_index.json", folder)
    surrogate = load_surrogate("stable-diffusion", path=folder, denoiser=False)
    whole = load_surrogate("stable-diffusion", path=source)
    assert torch.equal(surrogate.encode(_image()), whole.encode(_image()))
    with pytest.raises(RidError, match="loaded as an encoder only"):
        surrogate.predict_noise(torch.zeros(1, 4, 8, 8), torch.tensor([0]))  # type: ignore[attr-defined]


@pytest.mark.parametrize("part", ["vae", "unet", "scheduler", "text_encoder", "tokenizer"])
def test_a_missing_part_is_named(
    part: str, diffusers_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(diffusers_checkpoint("sd"), folder)
    shutil.rmtree(folder / part)
    with pytest.raises(RidError, match=f"broken: its part '{part}' is missing"):
        load_surrogate("stable-diffusion", path=folder)


def _damage(fault: str, folder: Path) -> None:
    if fault == "no index":
        (folder / "model_index.json").unlink()
    elif fault == "index damaged":
        (folder / "model_index.json").write_text("{")
    elif fault == "weights truncated":
        weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-100])
    elif fault == "weights gone":
        (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    elif fault == "unknown pipeline":
        index = json.loads((folder / "model_index.json").read_text())
        index["_class_name"] = "KandinskyPipeline"
        (folder / "model_index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("no index", "no diffusers checkpoint"),
        ("index damaged", "damaged"),
        ("weights truncated", "its unet cannot be loaded"),
        ("weights gone", "its vae cannot be loaded"),
        ("unknown pipeline", "KandinskyPipeline are not supported"),
    ],
)
def test_unfit_folders_are_refused_in_one_line(
    fault: str, message: str, diffusers_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    folder = tmp_path / "unfit"
    shutil.copytree(diffusers_checkpoint("sd"), folder)
    _damage(fault, folder)
    with pytest.raises(RidError, match=message) as caught:
        load_surrogate("stable-diffusion", path=folder)
    assert "\n" not in str(caught.value)


def test_unknown_prediction_types_and_inpainting_models_are_refused(tmp_path: Path) -> None:
    folder = diffusers_folders.save_sd(tmp_path / "odd", prediction="score")
    with pytest.raises(RidError, match=r"odd: prediction type 'score' is unknown; known: epsilon"):
        load_surrogate("stable-diffusion", path=folder)
    folder = diffusers_folders.save_sd(tmp_path / "inpainting", in_channels=9)
    with pytest.raises(RidError, match=r"takes 9 channels .* gives 4: an inpainting"):
        load_surrogate("stable-diffusion", path=folder)


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    settings = {"path": "nobody/nothing-of-the-kind", "local_files_only": True}
    with pytest.raises(RidError, match="cannot be had from the hub") as caught:
        load_surrogate("stable-diffusion", **settings)
    assert "\n" not in str(caught.value)
    for path in ("/nowhere/at/all", "./relative", "a/b/c"):
        with pytest.raises(RidError, match="no such folder"):
            load_surrogate("stable-diffusion", path=path)


def test_settings_are_checked_and_the_nearest_named(diffusers_checkpoint: Checkpoint) -> None:
    folder = diffusers_checkpoint("sd")
    with pytest.raises(RidError, match="did you mean prompt"):
        load_surrogate("stable-diffusion", path=folder, promt="x")
    with pytest.raises(RidError, match="did you mean bfloat16"):
        load_surrogate("stable-diffusion", path=folder, dtype="bf16oat16")
    with pytest.raises(RidError, match="needs a path"):
        load_surrogate("stable-diffusion")


def test_tiny_autoencoders_in_diffusers_layout(
    diffusers_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    from diffusers import AutoencoderTiny

    folder = diffusers_checkpoint("tiny-autoencoder")
    surrogate = load_surrogate("tiny-autoencoder", path=folder)
    theirs = AutoencoderTiny.from_pretrained(folder)
    image = _image()
    with torch.no_grad():
        expected = theirs.encode(image * 2 - 1).latents
    torch.testing.assert_close(surrogate.encode(image), expected, rtol=1e-4, atol=1e-5)
    assert surrogate.stride == 8
    assert [f.shape[2] for f in surrogate.features(image)] == [64, 32, 16, 8]  # type: ignore[attr-defined]
    with pytest.raises(RidError, match="not a folder of diffusers' AutoencoderTiny"):
        load_surrogate("tiny-autoencoder", path=tmp_path)


def test_the_kind_shows_in_the_files(
    diffusers_checkpoint: Checkpoint, tiny_encoder_file: Path
) -> None:
    assert isinstance(open_surrogate(diffusers_checkpoint("sd")), DiffusionSurrogate)
    for path in (diffusers_checkpoint("tiny-autoencoder"), tiny_encoder_file):
        assert not isinstance(open_surrogate(path), DiffusionSurrogate)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_noise_is_found_again_from_a_perfect_output(prediction: str) -> None:
    if prediction == "flow":
        schedule = Schedule.flow(torch.linspace(0.001, 1, 1000), 1000.0)
    else:
        kept = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0)
        schedule = Schedule.variance_preserving(kept, prediction)
    latent, noise = torch.randn(2, 3, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([20, 500, 998])
    noisy = schedule.add_noise(latent, noise, t)
    found = schedule.to_noise(schedule.target(latent, noise, t), noisy, t)
    torch.testing.assert_close(found, noise, rtol=1e-3, atol=1e-3)
    signal, sigma = schedule.signal[t], schedule.sigma[t]
    if prediction == "flow":
        torch.testing.assert_close(signal + sigma, torch.ones(3))
    else:
        torch.testing.assert_close(signal**2 + sigma**2, torch.ones(3))


def test_the_flow_schedule_of_a_checkpoint_rises_to_pure_noise(
    diffusers_checkpoint: Checkpoint,
) -> None:
    schedule = load_surrogate("stable-diffusion", path=diffusers_checkpoint("sd3")).schedule  # type: ignore[attr-defined]
    assert schedule.sigma[-1] == 1
    assert bool((schedule.sigma.diff() > 0).all())
    # A shift of 3 makes the middle of the steps noisier than a half.
    assert schedule.sigma[499].item() == pytest.approx(3 * 0.5 / (1 + 2 * 0.5), abs=1e-3)
    assert schedule.time[-1] == 1000
