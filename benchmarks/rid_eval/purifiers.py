"""Purification by models: through an autoencoder and back, and img2img on a diffusion model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from rid_core.errors import RidError
from rid_core.surrogates.diffusers_parts import DiffusersCheckpoint
from rid_core.surrogates.latent_diffusion import LatentDiffusion
from rid_core.surrogates.stable_diffusion import load_stable_diffusion
from rid_core.surrogates.tiny_autoencoder import (
    TinyAutoencoder,
    load_tiny_autoencoder,
    open_decoder,
)
from rid_eval.steps import PURIFICATION, Link

STRENGTHS = (0.1, 0.2, 0.3)
STEPS = 50
"""Of a whole way from noise to picture; img2img walks its share of them."""


class RoundTrip(nn.Module):
    """An autoencoder, there and back: what its latent cannot hold is gone."""

    def __init__(
        self, encoder: TinyAutoencoder | LatentDiffusion, decoder: nn.Module | None
    ) -> None:
        super().__init__()
        self.name = encoder.name
        self.encoder = encoder
        self.decoder = decoder

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """[B, 3, H, W] RGB in [0, 1] -> the same shape and range."""
        _check_size(image, self.name, self.encoder.stride)
        latent = self.encoder.encode(image)
        if isinstance(self.encoder, LatentDiffusion):
            return self.encoder.decode(latent)
        assert self.decoder is not None
        picture: Tensor = self.decoder(latent)
        return picture.clamp(0, 1)


def open_round_trip(path: Path) -> RoundTrip:
    """An autoencoder of any kind that this package knows.

    Args:
        path: ``*_encoder.*`` of the TAESD family with its ``*_decoder.*`` beside it; or a folder of
            diffusers: an autoencoder, or a whole model, of which the autoencoder is taken.

    Raises:
        RidError: no such file or folder, no decoder, or a class that is not an autoencoder.
    """
    if not path.is_dir():
        encoder = load_tiny_autoencoder(path)
        beside = path.with_name(path.name.replace("_encoder", "_decoder"))
        if beside == path or not beside.is_file():
            raise RidError(f"{path}: no decoder beside it; call them NAME_encoder and NAME_decoder")
        return RoundTrip(encoder, open_decoder(beside))
    if (path / "model_index.json").is_file():
        return RoundTrip(load_stable_diffusion(path, denoiser=False, decoder=True), None)
    from diffusers import AutoencoderKL, AutoencoderTiny

    classes = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}
    try:
        name = json.loads((path / "config.json").read_text()).get("_class_name")
    except (OSError, ValueError, AttributeError):
        name = None
    if name not in classes:
        raise RidError(f"{path}: not a folder of diffusers' {' or '.join(classes)}")
    checkpoint = DiffusersCheckpoint(str(path))
    vae = checkpoint.load("", classes[name], **checkpoint.weights())
    return RoundTrip(LatentDiffusion(checkpoint.name, vae, decoder=True), None)


def round_trip_link(model: RoundTrip) -> Link:
    """As a step of a chain."""
    return Link(f"vae:{model.name}", PURIFICATION, f"through {model.name} and back", model)


@torch.no_grad()
def img2img(
    image: Tensor, model: LatentDiffusion, strength: float, seed: int = 0, steps: int = STEPS
) -> Tensor:
    """Noise a photo's latent and let the model denoise it (SDEdit, Meng et al., arXiv 2108.01073).

    By DDIM (Song et al., arXiv 2010.02502) which is deterministic, and without guidance.

    Args:
        image: [B, 3, H, W] RGB in [0, 1].
        model: with denoiser and decoder.
        strength: share of the noise schedule that is walked, in (0, 1].
        seed: of the noise, which is the same for every image of one size.
        steps: of a whole schedule.

    Raises:
        RidError: a size that does not fit, or the model has no denoiser or decoder.
    """
    _check_size(image, model.name, model.stride)
    schedule = model.schedule
    if schedule is None:
        raise RidError(f"{model.name} was loaded without its denoiser, which img2img needs")
    clean = model.encode(image)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(clean.shape[1:], generator=generator).to(clean).expand_as(clean)
    first = round(strength * model.timesteps) - 1
    times = torch.linspace(first, 0, max(1, round(strength * steps)) + 1).round().long()[:-1]
    latent = model.add_noise(clean, noise, times[:1].expand(len(clean)))
    for number, time in enumerate(times.tolist()):
        t = torch.full((len(clean),), time)
        found = model.predict_noise(latent, t)
        estimate = (latent - schedule.sigma[time].item() * found) / schedule.signal[time].item()
        if number + 1 == len(times):
            latent = estimate
        else:
            latent = model.add_noise(estimate, found, times[number + 1].expand(len(clean)))
    return model.decode(latent)


def img2img_links(model: LatentDiffusion, strengths: Sequence[float] = STRENGTHS) -> list[Link]:
    """As steps of a chain, one for each strength.

    Raises:
        RidError: a strength outside of (0, 1].
    """
    for strength in strengths:
        if not 0 < strength <= 1:
            raise RidError(f"the strength of img2img is above 0 and at most 1, not {strength:g}")

    def link(strength: float) -> Link:
        text = f"img2img on {model.name}, strength {strength:g}"
        return Link(f"img2img{strength:g}", PURIFICATION, text,
                    lambda image: img2img(image, model, strength))  # fmt: skip

    return [link(strength) for strength in strengths]


def _check_size(image: Tensor, name: str, stride: int) -> None:
    if image.shape[2] % stride or image.shape[3] % stride:
        height, width = image.shape[2:]
        raise RidError(f"{name} takes multiples of {stride} pixels, not {width} x {height}")
