"""An autoencoder on top of a tiny autoencoder: the same pictures in a quarter of the channels.

A small diffusion model learns a small latent. So the latent of a base (taef2: 32 channels) is made
narrow by a few layers, and wide again before the base's decoder. It is a model of diffusers, with
``save_pretrained``, and stands as ``vae`` in the folder of a pipeline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTinyOutput
from diffusers.models.autoencoders.vae import DecoderOutput
from torch import Tensor, nn
from torch.nn import functional as F

from rid_core.surrogates.tiny_autoencoder import decoder_layers, encoder_layers


class _Residual(nn.Module):
    """``x + conv(relu(conv(relu(x))))``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.ReLU(), nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(), nn.Conv2d(width, width, 3, padding=1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + self.conv(x)
        return found


def _body(inputs: int, hidden: int, depth: int, outputs: int) -> nn.Sequential:
    """Layers that begin as zero, so that training starts from the linear path beside them."""
    last = nn.Conv2d(hidden, outputs, 3, padding=1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)  # type: ignore[arg-type]
    first = nn.Conv2d(inputs, hidden, 3, padding=1)
    return nn.Sequential(first, *[_Residual(hidden) for _ in range(depth)], nn.ReLU(), last)


class Narrow(nn.Module):
    """The base's latent [B, base, h, w] -> a small one [B, channels, h, w] of unit variance.

    A linear path, which begins as principal components, plus a convolutional one.
    """

    def __init__(self, base: int, channels: int, hidden: int, depth: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(base))
        self.register_buffer("weigh", torch.eye(base))
        self.linear = nn.Conv2d(base, channels, 1, bias=False)
        self.body = _body(base, hidden, depth, channels)
        # Diffusion wants every channel at unit variance, whatever training does to the scale.
        self.norm = nn.BatchNorm2d(channels, affine=False, momentum=0.01)

    def weighed(self, latent: Tensor) -> Tensor:
        """The base's latent in coordinates where equal errors are equally visible."""
        mean, weigh = self.get_buffer("mean"), self.get_buffer("weigh")
        return F.conv2d(latent - mean[:, None, None], weigh[:, :, None, None])

    def forward(self, latent: Tensor) -> Tensor:
        """[B, base, h, w] -> [B, channels, h, w]."""
        weighed = self.weighed(latent)
        narrow: Tensor = self.norm(self.linear(weighed) + self.body(weighed))
        return narrow


class Widen(nn.Module):
    """The small latent [B, channels, h, w] -> the base's, [B, base, h, w]."""

    def __init__(self, base: int, channels: int, hidden: int, depth: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(base))
        self.register_buffer("unweigh", torch.eye(base))
        self.linear = nn.Conv2d(channels, base, 1, bias=False)
        self.body = _body(channels, hidden, depth, base)

    def weighed(self, narrow: Tensor) -> Tensor:
        """The base's latent in the coordinates of :meth:`Narrow.weighed`."""
        wide: Tensor = self.linear(narrow) + self.body(narrow)
        return wide

    def plain(self, weighed: Tensor) -> Tensor:
        """Back from the coordinates of :meth:`Narrow.weighed` to the base's latent."""
        mean, unweigh = self.get_buffer("mean"), self.get_buffer("unweigh")
        return F.conv2d(weighed, unweigh[:, :, None, None]) + mean[:, None, None]

    def forward(self, narrow: Tensor) -> Tensor:
        """[B, channels, h, w] -> [B, base, h, w]."""
        return self.plain(self.weighed(narrow))


@torch.no_grad()
def begin_as_components(
    narrow: Narrow, widen: Widen, latents: Tensor, visibility: Tensor | None = None
) -> None:
    """Set both to principal component analysis, which is where training starts.

    Args:
        narrow: changed in place.
        widen: changed in place.
        latents: of the base, [N, base, h, w].
        visibility: how much of an error in the latent is seen in the picture, symmetric positive
            [base, base]; None counts every channel alike.
    """
    values = latents.double().movedim(1, -1).flatten(0, -2)
    mean = values.mean(dim=0)
    size = len(mean)
    seen = torch.eye(size).double() if visibility is None else visibility.double()
    # With seen = L L', the error e' seen e is the plain square of L' e.
    weigh = torch.linalg.cholesky(seen * (size / seen.trace())).T
    weighed = (values - mean) @ weigh.T
    variances, vectors = torch.linalg.eigh(weighed.T @ weighed / len(weighed))
    channels = narrow.linear.out_channels
    spread, axes = variances[-channels:].sqrt(), vectors[:, -channels:]
    for module in (narrow, widen):
        module.get_buffer("mean").copy_(mean)
    narrow.get_buffer("weigh").copy_(weigh)
    widen.get_buffer("unweigh").copy_(torch.linalg.inv(weigh))
    narrow.linear.weight.copy_((axes / spread).T[:, :, None, None])
    widen.linear.weight.copy_((axes * spread)[:, :, None, None])


class LatentAutoencoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Base encoder, :class:`Narrow`; :class:`Widen`, base decoder.

    Args:
        latent_channels: of the small latent.
        hidden: width of the layers between.
        depth: residual blocks on each side.
        base_channels: of the base's latent.
        base_width: of the base's layers.
        encoder_pools: numbers of the base encoder's blocks with a pooled branch.
        decoder_pools: the same of its decoder.
        pool_width: of those branches.
        block_out_channels: as many as there are resolutions; pipelines read the stride off it.
        scaling_factor: 1, since the latent has unit variance.
        force_upcast: whether half precision is too little.
    """

    _supports_gradient_checkpointing = True

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        latent_channels: int = 8,
        hidden: int = 96,
        depth: int = 2,
        base_channels: int = 32,
        base_width: int = 64,
        encoder_pools: Sequence[int] = (),
        decoder_pools: Sequence[int] = (),
        pool_width: int = 256,
        block_out_channels: Sequence[int] = (64, 64, 64, 64),
        scaling_factor: float = 1.0,
        force_upcast: bool = False,
    ) -> None:
        super().__init__()
        self.gradient_checkpointing = False
        pools = dict.fromkeys(encoder_pools, pool_width), dict.fromkeys(decoder_pools, pool_width)
        self.encoder = nn.Sequential(
            encoder_layers(base_width, base_channels, pools[0]),
            Narrow(base_channels, latent_channels, hidden, depth),
        )
        self.decoder = nn.Sequential(
            Widen(base_channels, latent_channels, hidden, depth),
            decoder_layers(base_width, base_channels, pools[1]),
        )

    def encode(self, x: Tensor, return_dict: bool = True) -> Any:
        """[B, 3, H, W] RGB in [-1, 1] -> latents [B, latent_channels, H / 8, W / 8]."""
        image = (x + 1) / 2
        if torch.is_grad_enabled() and self.gradient_checkpointing:
            latents = self._gradient_checkpointing_func(self.encoder, image)
        else:
            latents = self.encoder(image)
        return AutoencoderTinyOutput(latents=latents) if return_dict else (latents,)

    def decode(self, z: Tensor, return_dict: bool = True, generator: Any = None) -> Any:
        """Latents [B, latent_channels, h, w] -> RGB in [-1, 1], [B, 3, 8 h, 8 w]."""
        sample = self.decoder(z) * 2 - 1
        return DecoderOutput(sample=sample) if return_dict else (sample,)

    def load_base(self, encoder: Mapping[str, Tensor], decoder: Mapping[str, Tensor]) -> None:
        """Take the weights of the base."""
        self.encoder[0].load_state_dict(encoder)
        self.decoder[1].load_state_dict(decoder)
