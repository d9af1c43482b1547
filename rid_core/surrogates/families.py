"""The families of diffusers checkpoints: which parts they have and how their denoiser is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rid_core.errors import RidError
from rid_core.surrogates.latent_diffusion import Denoise

Encode = Callable[[str], tuple[Any, Any] | None]
"""Suffix of a text encoder ("", "_2", "_3") -> (tokenizer, encoder), None where it is left out."""


@dataclass(frozen=True)
class Family:
    """One architecture of latent diffusion models.

    Attributes:
        name: for messages and documentation.
        network: name of the denoiser's part, ``unet`` or ``transformer``.
        texts: suffixes of the text encoders.
        optional: those that a checkpoint may lack.
        denoise: calls the denoiser.
        embed: encodes a prompt: ``embed(prompt, encode, denoiser config)`` by name, [1, ...] each.
        patch: side of a token in latent cells.
        packed: latent cells that ``denoise`` puts into one input cell of the network.
        time_scale: of a flow, what the network is told at full noise.
    """

    name: str
    network: str
    texts: tuple[str, ...]
    denoise: Denoise
    embed: Callable[[str, Encode, Any], dict[str, Tensor]]
    optional: tuple[str, ...] = ()
    patch: int = 1
    packed: int = 1
    time_scale: float = 1000.0

    def parts(self) -> list[str]:
        """Names of the folders that a checkpoint needs."""
        texts = [suffix for suffix in self.texts if suffix not in self.optional]
        encoders = [f"{part}{suffix}" for suffix in texts for part in ("text_encoder", "tokenizer")]
        return ["vae", self.network, "scheduler", *encoders]


def _tokens(tokenizer: Any, prompt: str, most: int) -> Tensor:
    """Token numbers of a prompt, padded as in training, int64 [1, length]."""
    # A tokenizer without a limit of its own states an absurdly large one.
    length = min(int(tokenizer.model_max_length), most)
    found: Tensor = tokenizer(
        prompt, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    ).input_ids
    return found


def _clip(pair: tuple[Any, Any] | None, prompt: str) -> Any:
    """Output of a CLIP text encoder with its hidden states."""
    assert pair is not None
    tokenizer, encoder = pair
    return encoder(_tokens(tokenizer, prompt, 77), output_hidden_states=True)


def _embed_sd(prompt: str, encode: Encode, config: Any) -> dict[str, Tensor]:
    return {"text": _clip(encode(""), prompt)[0]}


def _denoise_sd(net: nn.Module, z: Tensor, time: Tensor, prompt: Mapping[str, Tensor]) -> Tensor:
    output: Tensor = net(z, time, encoder_hidden_states=prompt["text"], return_dict=False)[0]
    return output


def _embed_sdxl(prompt: str, encode: Encode, config: Any) -> dict[str, Tensor]:
    # The last layer but one of both encoders; the pooled text of the second alone.
    one = _clip(encode(""), prompt).hidden_states[-2]
    second = _clip(encode("_2"), prompt)
    return {"text": torch.cat([one, second.hidden_states[-2]], dim=-1), "pooled": second[0]}


def _denoise_sdxl(net: nn.Module, z: Tensor, time: Tensor, prompt: Mapping[str, Tensor]) -> Tensor:
    # Original size, corner of the crop, target size: a photo at its own size, not cropped.
    height, width = (8 * side for side in z.shape[2:])
    sizes = torch.tensor([[height, width, 0, 0, height, width]]).to(z).expand(len(z), -1)
    added = {"text_embeds": prompt["pooled"], "time_ids": sizes}
    output: Tensor = net(
        z, time, encoder_hidden_states=prompt["text"], added_cond_kwargs=added, return_dict=False
    )[0]
    return output


def _embed_sd3(prompt: str, encode: Encode, config: Any) -> dict[str, Tensor]:
    clips = [_clip(encode(suffix), prompt) for suffix in ("", "_2")]
    text = torch.cat([clip.hidden_states[-2] for clip in clips], dim=-1)
    width = config.joint_attention_dim
    text = F.pad(text, (0, width - text.shape[-1]))
    third = encode("_3")
    if third is None:
        long = text.new_zeros(1, 256, width)
    else:
        tokenizer, encoder = third
        long = encoder(_tokens(tokenizer, prompt, 256))[0]
    pooled = torch.cat([clip[0] for clip in clips], dim=-1)
    return {"text": torch.cat([text, long.to(text)], dim=1), "pooled": pooled}


def _denoise_sd3(net: nn.Module, z: Tensor, time: Tensor, prompt: Mapping[str, Tensor]) -> Tensor:
    output: Tensor = net(
        hidden_states=z,
        encoder_hidden_states=prompt["text"],
        pooled_projections=prompt["pooled"],
        timestep=time,
        return_dict=False,
    )[0]
    return output


def _embed_flux(prompt: str, encode: Encode, config: Any) -> dict[str, Tensor]:
    pooled = _clip(encode(""), prompt).pooler_output
    pair = encode("_2")
    assert pair is not None
    tokenizer, encoder = pair
    text = encoder(_tokens(tokenizer, prompt, 512))[0]
    return {"text": text, "pooled": pooled.to(text)}


def _denoise_flux(net: nn.Module, z: Tensor, time: Tensor, prompt: Mapping[str, Tensor]) -> Tensor:
    batch, channels, height, width = z.shape
    rows, columns = height // 2, width // 2
    # A token is a square of 2 x 2 cells, ordered (channel, row, column).
    tokens = z.reshape(batch, channels, rows, 2, columns, 2).permute(0, 2, 4, 1, 3, 5)
    tokens = tokens.reshape(batch, rows * columns, 4 * channels)
    places = torch.zeros(rows, columns, 3, device=z.device, dtype=z.dtype)
    places[..., 1] = torch.arange(rows, device=z.device)[:, None]
    places[..., 2] = torch.arange(columns, device=z.device)[None]
    config: Any = net.config
    # Models distilled from guidance are told a scale; 1 is what fine-tuning tells them.
    guidance = z.new_ones(batch) if config.guidance_embeds else None
    output: Tensor = net(
        hidden_states=tokens,
        encoder_hidden_states=prompt["text"],
        pooled_projections=prompt["pooled"],
        timestep=time,
        img_ids=places.reshape(-1, 3),
        txt_ids=z.new_zeros(prompt["text"].shape[1], 3),
        guidance=guidance,
        return_dict=False,
    )[0]
    output = output.reshape(batch, rows, columns, channels, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return output.reshape(batch, channels, height, width)


SD = Family("Stable Diffusion 1 and 2", "unet", ("",), _denoise_sd, _embed_sd)
SDXL = Family("Stable Diffusion XL", "unet", ("", "_2"), _denoise_sdxl, _embed_sdxl)
SD3 = Family("Stable Diffusion 3", "transformer", ("", "_2", "_3"), _denoise_sd3, _embed_sd3,
             optional=("_3",), patch=2)  # fmt: skip
FLUX = Family("FLUX.1", "transformer", ("", "_2"), _denoise_flux, _embed_flux,
              patch=2, packed=4, time_scale=1.0)  # fmt: skip

_BY_PIPELINE = {
    "StableDiffusionPipeline": SD,
    "StableDiffusionImg2ImgPipeline": SD,
    "StableDiffusionXLPipeline": SDXL,
    "StableDiffusionXLImg2ImgPipeline": SDXL,
    "StableDiffusion3Pipeline": SD3,
    "FluxPipeline": FLUX,
}


def family_of(pipeline: str, source: str) -> Family:
    """The family of a checkpoint by the class of its pipeline.

    Raises:
        RidError: a pipeline whose denoiser is called otherwise, such as an inpainting model.
    """
    try:
        return _BY_PIPELINE[pipeline]
    except KeyError:
        raise RidError(
            f"{source}: pipelines of class {pipeline} are not supported; known: "
            f"{', '.join(sorted(_BY_PIPELINE))}"
        ) from None
