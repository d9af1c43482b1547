"""Training a small autoencoder of pictures: a member of an ensemble, or a black box held out."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rid_core.data import CropDataset
from rid_core.devices import seeded
from rid_core.errors import RidError
from rid_core.surrogates import Surrogate, moved, open_surrogate
from rid_core.training.fit import Task
from rid_core.training.loop import write_rows
from rid_core.training.recipe import Losses
from rid_core.training.run import State
from rid_core.training.surrogates.card import write_card, writing
from rid_core.training.surrogates.config import AutoencoderConfig
from rid_core.training.surrogates.latents import noise_like
from rid_core.visibility import psnr

_SHOWN = 8


class Autoencoder(nn.Module):
    """diffusers' ``AutoencoderTiny`` in training, and a linear map to a teacher's latent."""

    def __init__(self, model: Any, taught: int | None) -> None:
        super().__init__()
        self.model = model
        latent = model.config.latent_channels
        self.match = None if taught is None else nn.Conv2d(latent, taught, 1)

    def forward(self, image: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures in [0, 1] -> latent, what is held against a teacher's, picture in [0, 1].

        Without noise nothing is decoded, and the last is empty.
        """
        latent: Tensor = self.model.encoder(image * 2 - 1)
        matched = latent if self.match is None else self.match(latent)
        if noise is None:
            return latent, matched, image.new_empty(0)
        return latent, matched, (self.model.decoder(latent + noise) + 1) / 2


class AutoencoderTask(Task):
    """An autoencoder whose posterior has a fixed variance, or a pupil of another encoder, or both.

    Args:
        config: the run.
        output: its folder.
        dataset: crops of pictures.
        processes: how many train together.
    """

    def __init__(
        self, config: AutoencoderConfig, output: Path, dataset: CropDataset, processes: int = 1
    ) -> None:
        from diffusers import AutoencoderTiny

        self.config = config
        self.samples = self.dataset = dataset
        self.workers = config.data.workers
        section = config.model
        scales = len(section.encoder)
        self.stride = 2 ** (scales - 1)
        self.teacher = None if config.teacher is None else self._open(config.teacher.path)
        taught = None if self.teacher is None else self._channels(self.teacher)
        with seeded(config.optim.seed):
            model = AutoencoderTiny(
                encoder_block_out_channels=(section.width,) * scales,
                decoder_block_out_channels=(section.width,) * scales,
                num_encoder_blocks=tuple(section.encoder),
                num_decoder_blocks=(section.decoder,) * scales,
                latent_channels=section.latent,
                act_fn=section.activation,
            )
            network = Autoencoder(model, taught)
        if not config.loss.reconstruction:
            # Several processes would wait for the gradients of what is never used.
            model.decoder.requires_grad_(False)
        self.state = State(network, config, output, processes)
        self._device = torch.device("cpu")

    def _open(self, path: Path) -> Surrogate:
        teacher = open_surrogate(path)
        if teacher.stride != self.stride:
            raise RidError(
                f"{path}: a teacher of stride {teacher.stride} cannot teach one of stride "
                f"{self.stride}; model.encoder needs {teacher.stride.bit_length()} numbers"
            )
        return teacher

    def _channels(self, teacher: Surrogate) -> int:
        with torch.no_grad():
            return teacher.encode(torch.zeros(1, 3, 64, 64)).shape[1]

    def to(self, device: torch.device) -> None:
        """Move the teacher."""
        self._device = device
        if self.teacher is not None:
            moved(self.teacher, device)

    def losses(self, network: nn.Module, batch: Sequence[Tensor], step: int) -> Losses:
        """Reconstruction, divergence, and distance to the teacher's latent, those with a weight."""
        loss, index = self.config.loss, batch[1]
        image = batch[0].to(self._device, memory_format=torch.channels_last)
        noise = None
        if loss.reconstruction:
            size = [side // self.stride for side in image.shape[2:]]
            like = image.new_empty(len(image), self.config.model.latent, *size)
            noise = noise_like(like, index, self.config.optim.seed, 1) * loss.noise
        latent, matched, found = network(image, noise)
        terms: Losses = {}
        if noise is not None:
            terms["reconstruction"] = (found - image).abs().mean()
        # Of a normal posterior with fixed variance, up to a constant.
        terms["divergence"] = 0.5 * latent.square().mean()
        total = loss.reconstruction * terms.get("reconstruction", 0) + (
            loss.divergence * terms["divergence"]
        )
        if self.teacher is not None and self.config.teacher is not None:
            with torch.no_grad():
                wanted = self.teacher.encode(image)
            terms["distillation"] = F.mse_loss(matched, wanted) / wanted.square().mean()
            total = total + self.config.teacher.weight * terms["distillation"]
        return {"total": total, **terms}

    @torch.no_grad()
    def preview(self, batch: Sequence[Tensor], path: Path) -> dict[str, float]:
        """Pictures of the batch and what comes back of them; without a decoder, nothing."""
        if not self.config.loss.reconstruction:
            return {}
        image = batch[0][:_SHOWN].to(self._device)
        network = self.state.averaged(Autoencoder)
        found = (network.model.decoder(network.model.encoder(image * 2 - 1)) / 2 + 0.5).clamp(0, 1)
        write_rows([image, found], path)
        return {"psnr": round(float(psnr(image, found).mean()), 3)}

    def finish(self) -> Path:
        """Write the autoencoder in diffusers' layout, with its figures."""
        folder = self.state.output / self.config.name
        model = copy.deepcopy(self.state.averaged(Autoencoder).model).cpu()
        model.to(memory_format=torch.contiguous_format)
        figures = {
            "stride": self.stride,
            "parameters": sum(p.numel() for p in model.encoder.parameters()),
            "pictures": len(set(self.dataset.paths)),
        }
        with writing(folder) as fresh:
            model.save_pretrained(fresh)
            write_card(fresh, self.config, self.state.step, figures)
        return folder
