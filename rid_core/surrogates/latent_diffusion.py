"""A latent diffusion model as a surrogate: autoencoder, denoiser, schedule, one prompt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rid_core.errors import RidError
from rid_core.surrogates.schedule import Schedule

Denoise = Callable[[nn.Module, Tensor, Tensor, Mapping[str, Tensor]], Tensor]
"""(network, latent [B, C, h, w], time [B], prompt) -> the network's output [B, C, h, w]."""


class Conditions(nn.Module):
    """The encoded prompt, for a batch of one; moves with the model and is never saved."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.names = list(tensors)
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor, persistent=False)

    def for_batch(self, size: int) -> dict[str, Tensor]:
        """Every tensor, expanded from [1, ...] to [size, ...]."""
        return {n: self.get_buffer(n).expand(size, *self.get_buffer(n).shape[1:])
                for n in self.names}  # fmt: skip


class LatentDiffusion(nn.Module):
    """A frozen latent diffusion model: a :class:`~rid_core.surrogates.DiffusionSurrogate`.

    The weights keep their precision; images, latents, noise and gradients are float32.

    Args:
        name: for reports and model cards.
        vae: an autoencoder of diffusers: ``AutoencoderKL`` or ``AutoencoderTiny``.
        denoiser: UNet or transformer; None for a model that only encodes.
        denoise: how to call it.
        schedule: of the noise; None without a denoiser.
        prompt: its encoding, by name, [1, ...] each.
        patch: side in latent cells of what the denoiser takes as one token.
        decoder: keep the autoencoder's decoder, for :meth:`decode`.
    """

    def __init__(
        self,
        name: str,
        vae: nn.Module,
        denoiser: nn.Module | None = None,
        denoise: Denoise | None = None,
        schedule: Schedule | None = None,
        prompt: Mapping[str, Tensor] | None = None,
        patch: int = 1,
        decoder: bool = False,
    ) -> None:
        super().__init__()
        self.name = name
        # No attack uses the decoder: a third of the autoencoder's memory.
        if hasattr(vae, "decoder") and not decoder:
            vae.decoder = nn.Identity()
        self.vae = vae.eval().requires_grad_(False)
        self._network = None if denoiser is None else denoiser.eval().requires_grad_(False)
        # Convolutions on a CPU are several times faster on channels-last memory.
        self.vae.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.schedule = schedule
        self.prompt = Conditions(prompt or {})
        self._denoise = denoise
        config: Any = vae.config
        stages = getattr(config, "encoder_block_out_channels", None) or config.block_out_channels
        self.stride = 2 ** (len(stages) - 1) * patch
        self.timesteps = 0 if schedule is None else len(schedule)
        self._scale = float(getattr(config, "scaling_factor", None) or 1.0)
        self._shift = float(getattr(config, "shift_factor", None) or 0.0)

    @property
    def denoiser(self) -> nn.Module | None:
        """UNet or transformer; None for a model that only encodes."""
        # A property, since from Python 3.12 on isinstance() does not find a module's submodules.
        return self._network

    def _pixels(self, image: Tensor) -> Tensor:
        """[0, 1] to the autoencoder's range and precision; the gradient comes back as float32."""
        weight = next(self.vae.parameters())
        signed: Tensor = image.float() * 2 - 1
        return signed.to(weight.dtype).contiguous(memory_format=torch.channels_last)

    def encode(self, image: Tensor) -> Tensor:
        """[B, 3, H, W] RGB in [0, 1] -> scaled mean latent, float32 [B, C, h, w], with gradient."""
        coded: Any = self.vae.encode(self._pixels(image))  # type: ignore[operator]
        known = hasattr(coded, "latent_dist")
        latent: Tensor = coded.latent_dist.mean if known else coded.latents
        return (latent.float() - self._shift) * self._scale

    @torch.no_grad()
    def decode(self, latent: Tensor) -> Tensor:
        """Latent as :meth:`encode` gives it -> RGB in [0, 1], float32 [B, 3, H, W].

        Raises:
            RidError: the decoder was not kept.
        """
        decoder = getattr(self.vae, "decoder", None)
        if decoder is None or isinstance(decoder, nn.Identity):
            raise RidError(f"{self.name} was loaded without its decoder; set decoder = true")
        weight = next(self.vae.parameters())
        unscaled = (latent.float() / self._scale + self._shift).to(weight.dtype)
        coded: Any = self.vae.decode(unscaled)  # type: ignore[operator]
        picture: Tensor = coded.sample.float() / 2 + 0.5
        return picture.clamp(0, 1)

    def features(self, image: Tensor) -> list[Tensor]:
        """Outputs of the encoder's resolutions, finest first, float32, with gradient."""
        encoder: Any = self.vae.encoder
        if not hasattr(encoder, "down_blocks"):
            raise RidError(f"{self.name}: its autoencoder shows no inner layers; leave it out of "
                           "objectives of kind feature-shift")  # fmt: skip
        x = encoder.conv_in(self._pixels(image))
        found = []
        for block in encoder.down_blocks:
            x = block(x)
            found.append(x.float())
        return [*found, encoder.mid_block(x).float()]

    def _parts(self) -> tuple[nn.Module, Denoise, Schedule]:
        if self.denoiser is None or self._denoise is None or self.schedule is None:
            raise RidError(
                f"{self.name} was loaded as an encoder only; leave denoiser = false out of its "
                "[[surrogate]]"
            )
        return self.denoiser, self._denoise, self.schedule

    def _predict(self, noisy: Tensor, t: Tensor) -> Tensor:
        denoiser, denoise, schedule = self._parts()
        dtype = next(denoiser.parameters()).dtype
        time = schedule.time[t.cpu()].to(noisy.device)
        prompt = self.prompt.for_batch(len(noisy))
        return denoise(denoiser, noisy.to(dtype), time, prompt).float()

    def add_noise(self, latent: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """The latent at timestep ``t``, [B, C, h, w]."""
        return self._parts()[2].add_noise(latent, noise, t)

    def noise_variance(self, t: Tensor) -> Tensor:
        """``1 - alphabar_t``, or ``sigma_t ** 2`` of a flow, [B, 1, 1, 1] on the CPU."""
        return self._parts()[2].sigma[t.cpu()].square().reshape(-1, 1, 1, 1)

    @torch.no_grad()
    def predict_noise(self, noisy: Tensor, t: Tensor) -> Tensor:
        """The noise that the model sees in ``noisy``, float32 [B, C, h, w]; without gradient."""
        return self._parts()[2].to_noise(self._predict(noisy, t), noisy, t)

    def denoising_loss(self, latent: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Mean squared error of the network's output, [B]; see :class:`DiffusionSurrogate`."""
        schedule = self._parts()[2]
        output = self._predict(schedule.add_noise(latent, noise, t), t)
        error = output - schedule.target(latent, noise, t)
        return error.square().flatten(1).mean(dim=1)
