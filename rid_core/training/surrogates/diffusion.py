"""Training a small latent diffusion model of faces, saved as a Stable Diffusion of diffusers."""

from __future__ import annotations

import copy
import json
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rid_core.data import to_pixels
from rid_core.devices import seeded
from rid_core.errors import MissingExtraError, RidError
from rid_core.surrogates.latent_autoencoder import LatentAutoencoder
from rid_core.surrogates.schedule import Schedule
from rid_core.training.fit import Task
from rid_core.training.loop import write_rows
from rid_core.training.recipe import Losses
from rid_core.training.run import State
from rid_core.training.surrogates.card import write_card, writing
from rid_core.training.surrogates.config import DiffusionSection, LatentDiffusionConfig
from rid_core.training.surrogates.latents import (
    FaceLatents,
    LatentDataset,
    batches,
    noise_like,
    yunet,
)
from rid_core.training.surrogates.words import save_tokenizer

_log = logging.getLogger(__name__)
_ROW = 8
_BATCH = 32


class Denoiser(nn.Module):
    """UNet and text encoder, which learn together: the prompt's tokens are learned ones."""

    def __init__(self, unet: Any, text_encoder: Any) -> None:
        super().__init__()
        self.unet = unet
        self.text_encoder = text_encoder

    def forward(self, noisy: Tensor, t: Tensor, tokens: Tensor) -> Tensor:
        """Noisy latents [B, C, h, w], timesteps [B], tokens [B, length] -> the UNet's output."""
        text = self.text_encoder(tokens)[0]
        output: Tensor = self.unet(noisy, t, encoder_hidden_states=text, return_dict=False)[0]
        return output


def build_denoiser(section: DiffusionSection, channels: int, side: int, words: int) -> Denoiser:
    """A new network.

    Args:
        section: its sizes.
        channels: of the latent.
        side: of the latent, cells.
        words: size of the vocabulary.
    """
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    deeper = len(section.widths) - 1
    unet = UNet2DConditionModel(
        sample_size=side, in_channels=channels, out_channels=channels,
        block_out_channels=tuple(section.widths), layers_per_block=section.layers,
        down_block_types=("DownBlock2D", *["CrossAttnDownBlock2D"] * deeper),
        up_block_types=(*["CrossAttnUpBlock2D"] * deeper, "UpBlock2D"),
        cross_attention_dim=section.text_width, norm_num_groups=section.groups,
        attention_head_dim=section.heads,  # diffusers' name for the number of heads
    )  # fmt: skip
    text = CLIPTextModel(CLIPTextConfig(
        vocab_size=words, hidden_size=section.text_width, intermediate_size=2 * section.text_width,
        num_hidden_layers=section.text_layers, num_attention_heads=4, max_position_embeddings=16,
        projection_dim=section.text_width, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    ))  # fmt: skip
    return Denoiser(unet, text)


def open_autoencoder(folder: Path) -> LatentAutoencoder:
    """A trained small autoencoder, frozen, float32.

    Raises:
        RidError: the folder holds none.
    """
    try:
        model = LatentAutoencoder.from_pretrained(
            folder, torch_dtype=torch.float32, use_safetensors=True, local_files_only=True
        )
    except Exception as error:  # noqa: BLE001 - three libraries raise whatever they like
        reason = str(error).strip().split("\n")[0][:120]
        raise RidError(
            f"{folder}: no trained autoencoder ({reason}); make it by rid-train surrogate "
            "--config configs/face-autoencoder.toml"
        ) from None
    model.eval().requires_grad_(False)
    model.to(memory_format=torch.channels_last)
    found: LatentAutoencoder = model
    return found


class DiffusionTask(Task):
    """A UNet that denoises small latents of faces under a prompt.

    Args:
        config: the run.
        output: its folder.
        faces: aligned and encoded by the base.
        processes: how many train together.
    """

    def __init__(
        self, config: LatentDiffusionConfig, output: Path, faces: FaceLatents, processes: int = 1
    ) -> None:
        from diffusers import DDIMScheduler

        self.config = config
        self.faces = faces
        self.autoencoder = open_autoencoder(config.autoencoder)
        latents = self._narrow(faces.latents)
        self.samples = LatentDataset(latents, faces.kept, config.optim.seed)
        self.scheduler = DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
            clip_sample=False, set_alpha_to_one=False, steps_offset=1,
            prediction_type=config.model.prediction, timestep_spacing="trailing",
        )  # fmt: skip
        self.schedule = Schedule.variance_preserving(
            self.scheduler.alphas_cumprod, config.model.prediction
        )
        with tempfile.TemporaryDirectory() as folder:
            self.tokenizer = save_tokenizer(Path(folder))
        prompts = [config.model.prompt, ""]
        length = self.tokenizer.model_max_length
        self.tokens: Tensor = self.tokenizer(
            prompts, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        ).input_ids
        with seeded(config.optim.seed):
            network = build_denoiser(
                config.model, latents.shape[1], latents.shape[-1], len(self.tokenizer)
            )
        self.state = State(network, config, output, processes)
        self._device = torch.device("cpu")

    @torch.no_grad()
    def _narrow(self, latents: Tensor) -> Tensor:
        narrow = self.autoencoder.encoder[1]
        expected = self.autoencoder.config.base_channels
        if latents.shape[1] != expected:
            raise RidError(
                f"{self.config.autoencoder}: made for a base of {expected} channels, but "
                f"{self.config.base.encoder} has {latents.shape[1]}"
            )
        return torch.cat([narrow(part.float()) for part in batches(latents, _BATCH)]).contiguous()

    def to(self, device: torch.device) -> None:
        """Move the autoencoder, which draws the previews."""
        self._device = device
        self.autoencoder.to(device)

    def _drawn(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Timestep and prompt (0, or 1 for none) of each sample, [B] each."""
        seed, model = self.config.optim.seed, self.config.model
        rngs = [np.random.default_rng([seed, 2, number]) for number in index.tolist()]
        drawn = [(int(r.integers(len(self.schedule))), int(r.random() < model.drop)) for r in rngs]
        t, empty = torch.tensor(drawn).T
        return t, empty

    def losses(self, network: nn.Module, batch: Sequence[Tensor], step: int) -> Losses:
        """The model's own training loss: mean squared error of what it predicts."""
        latent, index = batch[0].to(self._device), batch[1]
        noise = noise_like(latent, index, self.config.optim.seed, 1)
        t, empty = self._drawn(index)
        noisy = self.schedule.add_noise(latent, noise, t)
        tokens = self.tokens[empty].to(self._device)
        output = network(noisy, t.to(self._device), tokens)
        loss = (output - self.schedule.target(latent, noise, t)).square().mean()
        return {"total": loss}

    @torch.no_grad()
    def draw_samples(self, count: int) -> Tensor:
        """Faces out of noise, always out of the same, by DDIM: [count, 3, H, W] in [0, 1]."""
        section = self.config.samples
        network = self.state.averaged(Denoiser)
        like = self.samples[0][0]
        z = noise_like(like.expand(count, *like.shape), torch.arange(count), 0, 3)
        parts = [self._sample(network, part, section.steps, section.guidance)
                 for part in batches(z, _BATCH)]  # fmt: skip
        return torch.cat(parts).cpu()

    def _sample(self, network: nn.Module, z: Tensor, steps: int, guidance: float) -> Tensor:
        z = z.to(self._device)
        self.scheduler.set_timesteps(steps)
        for t in self.scheduler.timesteps:
            times = t.expand(len(z)).to(self._device)
            output = network(z, times, self.tokens[:1].expand(len(z), -1).to(self._device))
            if guidance > 1:
                empty = network(z, times, self.tokens[1:].expand(len(z), -1).to(self._device))
                output = empty + guidance * (output - empty)
            z = self.scheduler.step(output, t, z).prev_sample
        pictures = [self.autoencoder.decode(part).sample for part in batches(z, _ROW)]
        return (torch.cat(pictures) / 2 + 0.5).clamp(0, 1)

    def preview(self, batch: Sequence[Tensor], path: Path) -> dict[str, float]:
        """A sheet of samples; in how many of them a face is found."""
        images = self.draw_samples(self.config.samples.count)
        _sheet(images, path)
        found = faces_found(images)
        return {} if found is None else {"faces_found": found, "samples": len(images)}

    def finish(self) -> Path:
        """Write the pipeline's folder, half precision, with its figures."""
        images = self.draw_samples(4 * self.config.samples.count)
        _sheet(images, self.state.output / "samples.png")
        figures: dict[str, Any] = {"samples": len(images), "faces_found": faces_found(images)}
        figures["faces"] = len(self.faces.kept)
        folder = self.state.output / self.config.name
        with writing(folder) as fresh:
            self._save(fresh)
            write_card(fresh, self.config, self.state.step, figures)
        return folder

    def _save(self, folder: Path) -> None:
        from diffusers import __version__

        network = self.state.averaged(Denoiser)
        save_tokenizer(folder / "tokenizer")
        self.scheduler.save_pretrained(folder / "scheduler")
        # Copies, since training may go on with these.
        for name, part in (
            ("unet", network.unet),
            ("text_encoder", network.text_encoder),
            ("vae", self.autoencoder),
        ):
            _half(part).save_pretrained(folder / name)
        own = LatentAutoencoder.__module__
        index = {
            "_class_name": "StableDiffusionPipeline",
            "_diffusers_version": __version__,
            "vae": [own, "LatentAutoencoder"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "scheduler": ["diffusers", "DDIMScheduler"],
            "safety_checker": [None, None],
            "feature_extractor": [None, None],
            "image_encoder": [None, None],
            "requires_safety_checker": False,
        }
        (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


def _half(part: Any) -> Any:
    return copy.deepcopy(part).cpu().to(torch.float16, memory_format=torch.contiguous_format)


def _sheet(images: Tensor, path: Path) -> None:
    rows = [part for part in batches(images, _ROW) if len(part) == min(_ROW, len(images))]
    write_rows(rows, path)


def faces_found(images: Tensor) -> int | None:
    """In how many pictures, [B, 3, H, W] in [0, 1], YuNet finds a face; None without YuNet."""
    try:
        find = yunet()
    except MissingExtraError as error:
        _log.warning("samples are not counted: %s", error)
        return None
    return sum(points is not None for points in find(list(to_pixels(images))))
