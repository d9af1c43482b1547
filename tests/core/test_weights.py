"""The surrogates in ``weights/`` are what docs/surrogates.md says they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from rid_core.surrogates import DiffusionSurrogate, load_surrogate, open_surrogate
from rid_core.training.surrogates.diffusion import faces_found

WEIGHTS = Path(__file__).resolve().parents[2] / "weights"


@pytest.mark.parametrize(
    ("name", "stride", "channels"),
    [("encoder-s4", 4, 6), ("encoder-s8", 8, 4), ("encoder-s16", 16, 16), ("encoder-pupil", 8, 12)],
)
def test_encoders_see_a_portrait(
    name: str, stride: int, channels: int, astronaut: np.ndarray
) -> None:
    surrogate = load_surrogate("tiny-autoencoder", path=WEIGHTS / name)
    image = torch.from_numpy(astronaut[:256, :256].copy()).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        latent = surrogate.encode(image)
        flat = surrogate.encode(torch.full_like(image, 0.5))
    assert surrogate.stride == stride
    assert latent.shape == (1, channels, 256 // stride, 256 // stride)
    inside = flat[..., 4:-4, 4:-4]
    assert latent.std(dim=(2, 3)).mean() > 10 * inside.std(dim=(2, 3)).mean()


@pytest.mark.full
@pytest.mark.slow
def test_the_face_model_draws_faces() -> None:
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(
        WEIGHTS / "face-ldm", torch_dtype=torch.float32
    )
    pipeline.set_progress_bar_config(disable=True)
    drawn = pipeline(
        "a photo of a face",
        num_images_per_prompt=10,
        num_inference_steps=20,
        guidance_scale=1.0,
        generator=torch.Generator().manual_seed(7),
        output_type="pt",
    ).images
    found = faces_found(drawn.float().clamp(0, 1).cpu())
    assert found is not None
    assert found >= 8


def test_the_face_model_is_a_surrogate_for_diffusion_objectives() -> None:
    surrogate = open_surrogate(WEIGHTS / "face-ldm", prompt="a photo of a face")
    assert isinstance(surrogate, DiffusionSurrogate)
    latent = surrogate.encode(torch.rand(1, 3, 128, 128))
    assert latent.shape == (1, 8, 16, 16)


def test_no_machine_is_named() -> None:
    cards = sorted(WEIGHTS.rglob("training.json"))
    assert len(cards) == 6
    for card in cards:
        command = json.loads(card.read_text())["command"]
        assert command.startswith("rid-train surrogate --config configs/")
        assert "/tmp" not in card.read_text()
