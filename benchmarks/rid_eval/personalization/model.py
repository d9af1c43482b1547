"""The attacked model, all of its parts: a Stable Diffusion 1 or 2 in diffusers' layout."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rid_core.errors import RidError
from rid_core.surrogates.diffusers_parts import DiffusersCheckpoint
from rid_core.surrogates.stable_diffusion import class_of

PARTS = ("vae", "unet", "text_encoder", "tokenizer", "scheduler")
_PIECE = 1 << 20
_BATCH = 8


@dataclass(frozen=True)
class Encoded:
    """Photos in the autoencoder's latent, from which training draws.

    Attributes:
        mean: scaled, float32 [N, C, h, w].
        deviation: scaled, the same shape; zeros where the autoencoder has no distribution.
    """

    mean: Tensor
    deviation: Tensor

    def draw(self, numbers: Tensor, generator: torch.Generator) -> Tensor:
        """Latents of photos, [B, C, h, w], as the training scripts sample them."""
        numbers = numbers.to(self.mean.device)
        noise = torch.randn((len(numbers), *self.mean.shape[1:]), generator=generator)
        drawn: Tensor = self.mean[numbers] + self.deviation[numbers] * noise.to(self.mean)
        return drawn


class AttackedModel:
    """Autoencoder, UNet, text encoder, tokenizer and schedule, float32, frozen.

    Attributes:
        name: for reports.
        side: of the pictures that it was made for, pixels.
        stride: pixels per latent cell.
        device: where it is.
    """

    def __init__(self, name: str, parts: dict[str, Any], device: torch.device) -> None:
        from diffusers import DDPMScheduler

        self.name = name
        self.device = device
        self.vae = _frozen(parts["vae"], device)
        self.unet = _frozen(parts["unet"], device)
        self.text_encoder = _frozen(parts["text_encoder"], device, channels_last=False)
        self.tokenizer = parts["tokenizer"]
        self.scheduler = parts["scheduler"]
        self.training_schedule = DDPMScheduler.from_config(self.scheduler.config)
        config: Any = self.vae.config
        stages = getattr(config, "encoder_block_out_channels", None) or config.block_out_channels
        self.stride = 2 ** (len(stages) - 1)
        self.side = int(self.unet.config.sample_size) * self.stride
        self._scale = float(getattr(config, "scaling_factor", None) or 1.0)
        self._shift = float(getattr(config, "shift_factor", None) or 0.0)

    @property
    def parameters(self) -> int:
        """Of the UNet."""
        return sum(p.numel() for p in self.unet.parameters())

    @torch.no_grad()
    def encode(self, photos: Tensor) -> Encoded:
        """[N, 3, H, W] in [0, 1] -> latents, a few at a time."""
        means, deviations = [], []
        for part in torch.split(photos, _BATCH):
            pixels = (part.to(self.device) * 2 - 1).contiguous(memory_format=torch.channels_last)
            coded = self.vae.encode(pixels)
            if hasattr(coded, "latent_dist"):
                mean, deviation = coded.latent_dist.mean, coded.latent_dist.std
            else:
                mean, deviation = coded.latents, torch.zeros_like(coded.latents)
            means.append((mean - self._shift) * self._scale)
            deviations.append(deviation * self._scale)
        return Encoded(torch.cat(means), torch.cat(deviations))

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents [N, C, h, w] -> pictures [N, 3, H, W] in [0, 1], on the CPU."""
        pictures = [
            (self.vae.decode(part / self._scale + self._shift).sample / 2 + 0.5).clamp(0, 1).cpu()
            for part in torch.split(latents.to(self.device), _BATCH)
        ]
        return torch.cat(pictures)

    def tokens(self, prompts: list[str], tokenizer: Any = None) -> Tensor:
        """Numbers of the prompts' tokens, int64 [N, length]."""
        tokenizer = tokenizer or self.tokenizer
        found: Tensor = tokenizer(
            prompts, padding="max_length", max_length=tokenizer.model_max_length,
            truncation=True, return_tensors="pt",
        ).input_ids  # fmt: skip
        return found.to(self.device)


def load_model(path: str | Path, device: torch.device, method: str = "dreambooth") -> AttackedModel:
    """Open a ``StableDiffusionPipeline``, safetensors only; nothing that it names is executed.

    Args:
        path: its folder, or a name on the hub.
        device: where to work.
        method: of the attack, for the error about a missing text encoder.

    Raises:
        RidError: another pipeline, a part missing (a model without a text encoder has no word to
            learn), or damaged files.
    """
    import diffusers
    import transformers

    checkpoint = DiffusersCheckpoint(str(path))
    index = checkpoint.index()
    if index["_class_name"] != "StableDiffusionPipeline":
        raise RidError(
            f"{checkpoint.source}: a {index['_class_name']}; personalization attacks Stable "
            "Diffusion 1 and 2 and the face model (StableDiffusionPipeline)"
        )
    named = index.get("text_encoder")
    if not (isinstance(named, list) and named[-1]):
        raise RidError(
            f"{checkpoint.source}: has no text encoder, so {method} has no prompt to tie a "
            "person to; give a model with one, such as that of configs/face-ldm.toml"
        )
    checkpoint.require(index, list(PARTS))

    def of_transformers(part: str) -> Any:
        found = getattr(transformers, str(index[part][-1]), None)
        if found is None:
            raise RidError(f"{checkpoint.source}: its {part} is a {index[part][-1]}, unknown here")
        return found

    scheduler = getattr(diffusers, str(index["scheduler"][-1]), diffusers.DDIMScheduler)
    weights = checkpoint.weights()
    parts = {
        "vae": checkpoint.load("vae", class_of(checkpoint, index, "vae"),
                               torch_dtype=torch.float32, **weights),
        "unet": checkpoint.load("unet", class_of(checkpoint, index, "unet"),
                                torch_dtype=torch.float32, **weights),
        "text_encoder": checkpoint.load("text_encoder", of_transformers("text_encoder"),
                                        dtype=torch.float32, **weights),
        "tokenizer": checkpoint.load("tokenizer", of_transformers("tokenizer")),
        "scheduler": checkpoint.load("scheduler", scheduler),
    }  # fmt: skip
    return AttackedModel(checkpoint.name, parts, device)


def model_digest(path: str | Path) -> str:
    """Of a model's folder or file: names, sizes, and both ends of each; of a hub's name, the name.

    Enough to notice that another model lies there, without reading gigabytes.
    """
    folder = Path(path)
    found = hashlib.sha256(b"" if folder.exists() else str(path).encode())
    files = [folder] if folder.is_file() else [p for p in folder.rglob("*") if p.is_file()]
    for file in sorted(p for p in files if p.name != "training.json"):
        size = file.stat().st_size
        name = file.relative_to(folder if folder.is_dir() else folder.parent)
        found.update(f"{name} {size}\n".encode())
        with file.open("rb") as data:
            found.update(data.read(_PIECE))
            data.seek(max(0, size - _PIECE))
            found.update(data.read(_PIECE))
    return found.hexdigest()[:16]


def _frozen(part: Any, device: torch.device, channels_last: bool = True) -> Any:
    module: nn.Module = part.eval().requires_grad_(False).to(device)
    if channels_last:
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module
