"""What every surrogate promises, and the measure that all of them share."""

from __future__ import annotations

from typing import Protocol, TypeGuard, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from rid_core.errors import RidError, did_you_mean

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@runtime_checkable
class Surrogate(Protocol):
    """A frozen image encoder, differentiable with respect to its input.

    Attributes:
        name: for reports and model cards, such as ``"taef2"``.
        stride: multiple of pixels that height and width must be.
    """

    name: str
    stride: int

    def encode(self, image: Tensor) -> Tensor:
        """[B, 3, H, W] RGB in [0, 1] -> latent [B, C, H / stride, W / stride], with gradient."""


@runtime_checkable
class FeatureSurrogate(Surrogate, Protocol):
    """A surrogate whose encoder shows its inner layers."""

    def features(self, image: Tensor) -> list[Tensor]:
        """[B, 3, H, W] RGB in [0, 1] -> outputs of the encoder's stages, with gradient."""


@runtime_checkable
class DiffusionSurrogate(Surrogate, Protocol):
    """A frozen latent diffusion model under one prompt.

    Latents and noise are float32, whatever the precision of the weights. A timestep ``t`` is int64
    [B] from 0, the least noise, to ``timesteps - 1``.

    Attributes:
        timesteps: how many there are.
    """

    timesteps: int

    @property
    def denoiser(self) -> nn.Module | None:
        """UNet or transformer, for methods that fine-tune it; None for an encoder alone."""

    def add_noise(self, latent: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """The latent at timestep ``t``, [B, C, h, w]: signal and noise in the schedule's shares."""

    def noise_variance(self, t: Tensor) -> Tensor:
        """Share of the noise, ``1 - alphabar_t`` (of a flow: ``sigma_t ** 2``), [B, 1, 1, 1]."""

    def predict_noise(self, noisy: Tensor, t: Tensor) -> Tensor:
        """The noise that the model sees in ``noisy``, [B, C, h, w]; without gradient."""

    def denoising_loss(self, latent: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What personalization minimises: the model's own training loss, [B], with gradient.

        The gradient reaches ``latent`` and whatever weights of ``denoiser`` ask for one.
        """


def has_denoiser(surrogate: Surrogate) -> TypeGuard[DiffusionSurrogate]:
    """Whether it is a whole diffusion model, and not an encoder or one loaded without the rest."""
    return isinstance(surrogate, DiffusionSurrogate) and surrogate.denoiser is not None


AnySurrogate = TypeVar("AnySurrogate", bound=Surrogate)


def moved(surrogate: AnySurrogate, device: torch.device | str) -> AnySurrogate:
    """The surrogate, with its weights on ``device``."""
    if isinstance(surrogate, nn.Module):
        surrogate.to(device)
    return surrogate


def relative_shift(reference: Tensor, shifted: Tensor) -> Tensor:
    """Relative latent shift ``mean((E(x') - E(x))**2) / mean(E(x)**2)`` of each image.

    Args:
        reference: latents of the reference images, [B, ...].
        shifted: latents of the changed images, same shape.

    Returns:
        [B]; 0 is no effect, 1 a change as large as the latent itself.
    """
    dims = tuple(range(1, reference.ndim))
    change = (shifted - reference).square().mean(dim=dims)
    return change / reference.square().mean(dim=dims)


def computes_bfloat16() -> bool:
    """Whether this processor has instructions for bfloat16; elsewhere it is emulated, and slow."""
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def precision_of(dtype: str) -> torch.dtype:
    """The torch dtype that a surrogate's setting names.

    Args:
        dtype: "float32", "bfloat16", "float16", or "auto": bfloat16 on a processor that multiplies
            matrices in it (AMX, AVX512-BF16), where it takes a quarter to half of the time.

    Raises:
        RidError: an unknown one; the nearest is named.
    """
    if dtype == "auto":
        return torch.bfloat16 if computes_bfloat16() else torch.float32
    if dtype not in _DTYPES:
        hint = did_you_mean(str(dtype), ["auto", *_DTYPES])
        raise RidError(f"dtype {dtype!r} is unknown; {hint}")
    return _DTYPES[dtype]
