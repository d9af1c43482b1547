"""Training a smaller latent on top of a tiny autoencoder's."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rid_core.devices import seeded
from rid_core.surrogates.latent_autoencoder import (
    LatentAutoencoder,
    Narrow,
    Widen,
    begin_as_components,
)
from rid_core.surrogates.tiny_autoencoder import open_decoder, pooled_branches, read_state_dict
from rid_core.training.fit import Task
from rid_core.training.loop import write_rows
from rid_core.training.recipe import Losses
from rid_core.training.run import State
from rid_core.training.surrogates.card import write_card, writing
from rid_core.training.surrogates.config import BaseSection, LatentAutoencoderConfig
from rid_core.training.surrogates.latents import (
    FaceLatents,
    LatentDataset,
    batches,
    noise_like,
)
from rid_core.visibility import psnr

_PROBES = 16
_SHOWN = 8
_MEASURED = 32


class LatentPair(nn.Module):
    """Both directions in training."""

    def __init__(self, narrow: Narrow, widen: Widen) -> None:
        super().__init__()
        self.narrow = narrow
        self.widen = widen

    def forward(self, latent: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, C, h, w]: the base's latent weighed, what comes back of it, and that in plain."""
        found = self.widen.weighed(self.narrow(latent) + noise)
        return self.narrow.weighed(latent), found, self.widen.plain(found)


def visibility(decoder: nn.Module, latents: Tensor, seed: int) -> Tensor:
    """How much of a small error in the latent is seen, by pairs of channels, [C, C].

    ``J' J`` of the decoder, summed over places: with ``v`` white noise on the picture, ``J' v`` has
    that covariance (Hutchinson's estimate).

    Args:
        decoder: latent -> picture.
        latents: where to look, [N, C, h, w].
        seed: of the noise.
    """
    total = torch.zeros(latents.shape[1], latents.shape[1])
    for number, latent in enumerate(latents):
        leaf = latent[None].float().requires_grad_(True)
        picture = decoder(leaf)
        probe = noise_like(picture.detach(), torch.tensor([number]), seed, 7)
        (gradient,) = torch.autograd.grad(picture, leaf, probe)
        flat = gradient[0].flatten(1)
        total += flat @ flat.T
    return total / len(latents)


class NarrowingTask(Task):
    """A small latent that keeps what is seen of the base's.

    Args:
        config: the run.
        output: its folder.
        faces: aligned and encoded.
        processes: how many train together.
    """

    state: State

    def __init__(
        self, config: LatentAutoencoderConfig, output: Path, faces: FaceLatents, processes: int = 1
    ) -> None:
        self.config = config
        self.faces = faces
        self.samples = LatentDataset(faces.latents, faces.kept, config.optim.seed)
        self.decoder = open_decoder(config.base.decoder)
        # Both, to be measured beside what is trained.
        with seeded(config.optim.seed):
            self.components = {
                "components": self._components(weighed=False),
                "components, weighed": self._components(weighed=True),
            }
        start = "components, weighed" if config.model.weighed else "components"
        self.state = State(copy.deepcopy(self.components[start]), config, output, processes)
        self._device = torch.device("cpu")

    def _components(self, weighed: bool) -> LatentPair:
        """Principal components of the latents, without any training."""
        latents, model = self.faces.latents, self.config.model
        base = latents.shape[1]
        sizes = base, model.channels, model.hidden, model.depth
        pair = LatentPair(Narrow(*sizes), Widen(*sizes))
        kept = latents[self.faces.kept]
        every = max(1, len(kept) // _PROBES)
        seen = visibility(self.decoder, kept[::every][:_PROBES], 0) if weighed else None
        begin_as_components(pair.narrow, pair.widen, kept, seen)
        return pair

    def to(self, device: torch.device) -> None:
        """Move the decoder."""
        self._device = device
        self.decoder.to(device)

    def losses(self, network: nn.Module, batch: Sequence[Tensor], step: int) -> Losses:
        """Mean squared error of the weighed latent, in units of its variance after weighing.

        With ``model.picture`` also the mean absolute error of what the base's decoder makes of it.
        """
        latent, index = batch[0].to(self._device), batch[1]
        channels = self.config.model.channels
        like = latent.new_empty(len(latent), channels, *latent.shape[2:])
        noise = noise_like(like, index, self.config.optim.seed, 1) * self.config.model.noise
        wanted, found, restored = network(latent, noise)
        error = (wanted - found).square().mean()
        terms: Losses = {"error": error.detach()}
        total = error / wanted.detach().square().mean()
        if self.config.model.picture:
            with torch.no_grad():
                picture = self.decoder(latent)
            terms["picture"] = (self.decoder(restored) - picture).abs().mean()
            total = total + self.config.model.picture * terms["picture"]
        return {"total": total, **terms}

    @torch.no_grad()
    def _pictures(self, pair: LatentPair, numbers: list[int]) -> Tensor:
        """What is left of faces that went through the small latent, [n, 3, H, W] in [0, 1]."""
        pair.eval().to(self._device)
        parts = [
            self.decoder(pair.widen(pair.narrow(latent.float().to(self._device)))).clamp(0, 1)
            for latent in batches(self.faces.latents[numbers], _SHOWN)
        ]
        return torch.cat(parts).cpu()

    def _clean(self, numbers: list[int]) -> Tensor:
        return self.faces.images[numbers].float() / 255

    @torch.no_grad()
    def preview(self, batch: Sequence[Tensor], path: Path) -> dict[str, float]:
        """Faces that were held out, and what comes back of them."""
        numbers = self.faces.held_out[:_SHOWN]
        found = self._pictures(self.state.averaged(LatentPair), numbers)
        clean = self._clean(numbers)
        write_rows([clean, found], path)
        return {"psnr": round(float(psnr(clean, found).mean()), 3)}

    def finish(self) -> Path:
        """Write the whole autoencoder in diffusers' layout, half precision, with its figures."""
        numbers = self.faces.held_out[:_MEASURED]
        clean = self._clean(numbers)
        with torch.no_grad():
            bare = torch.cat([
                self.decoder(latent.float().to(self._device)).clamp(0, 1).cpu()
                for latent in batches(self.faces.latents[numbers], _SHOWN)
            ])  # fmt: skip
        pictures = {
            "base": bare,
            **{name: self._pictures(pair, numbers) for name, pair in self.components.items()},
            "trained": self._pictures(self.state.averaged(LatentPair), numbers),
        }
        figures: dict[str, Any] = {
            f"psnr_{name.replace(', ', '_')}": round(float(psnr(clean, found).mean()), 2)
            for name, found in pictures.items()
        }
        figures |= {"faces": len(self.faces.kept), "measured_on": len(numbers)}
        folder = self.state.output / self.config.name
        with writing(folder) as fresh:
            assemble(self.config, self.state.averaged(LatentPair)).half().save_pretrained(fresh)
            write_card(fresh, self.config, self.state.step, figures)
        return folder


def assemble(config: LatentAutoencoderConfig, pair: LatentPair) -> LatentAutoencoder:
    """The trained layers together with the base, in float32, on the CPU."""
    encoder, decoder = _base(config.base)
    pools = pooled_branches(encoder), pooled_branches(decoder)
    widths = {*pools[0].values(), *pools[1].values()}
    last = max(int(key.split(".")[0]) for key in encoder)
    model: LatentAutoencoder = LatentAutoencoder(
        latent_channels=config.model.channels,
        hidden=config.model.hidden,
        depth=config.model.depth,
        base_channels=len(encoder[f"{last}.weight"]),
        base_width=len(encoder["0.weight"]),
        encoder_pools=sorted(pools[0]),
        decoder_pools=sorted(pools[1]),
        pool_width=max(widths, default=1),
    )
    model.load_base(encoder, decoder)
    model.encoder[1].load_state_dict(pair.narrow.state_dict())
    model.decoder[0].load_state_dict(pair.widen.state_dict())
    model.eval()
    return model


def _base(section: BaseSection) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    return read_state_dict(section.encoder), read_state_dict(section.decoder)
