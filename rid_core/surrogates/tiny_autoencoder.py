"""Tiny autoencoders of the TAESD family (Ollin Boer Bohan, MIT): small stand-ins for large VAEs.

Each is distilled from a large autoencoder (:data:`DISTILS`): image in [0, 1], latent at 1/8. The
public weights (github.com/madebyollin/taesd) are a flat ``nn.Sequential`` whose layout this module
reproduces; the width, the number of latent channels and the blocks that have a pooled branch are
read off the file. On the hub (``madebyollin/taesd`` and others) they come in diffusers' layout, as
``AutoencoderTiny``.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from rid_core.errors import RidError
from rid_core.surrogates.base import precision_of
from rid_core.surrogates.diffusers_parts import DiffusersCheckpoint

DISTILS = {
    "taesd": "the SD 1/2 autoencoder",
    "taesdxl": "the SDXL autoencoder",
    "taesd3": "the SD 3 autoencoder",
    "taef1": "the FLUX.1 autoencoder",
    "taef2": "the FLUX.2 autoencoder",
}
"""What each member of the family stands for. A claim made with one names it."""


def distils(name: str) -> str | None:
    """What a surrogate of this name is a distillation of; None for one that is none."""
    return DISTILS.get(name)


_ENCODER = "encoder.safetensors"
_STAGES = 3
_BLOCKS_PER_STAGE = 3
_POOL_GROUPS = 4


class _Block(nn.Module):
    """Residual block ``relu(body(x) + x)``, with an optional branch that mixes channels first."""

    def __init__(self, width: int, pool_width: int | None) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.pool = (
            nn.Sequential(
                nn.Conv2d(width, pool_width, 1, bias=False),
                nn.GroupNorm(_POOL_GROUPS, pool_width),
                nn.ReLU(),
                nn.Conv2d(pool_width, width, 1, bias=False),
            )
            if pool_width
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.pool is not None:
            x = x + self.pool(x)
        return torch.relu(self.conv(x) + x)


class _Clamp(nn.Module):
    """``3 * tanh(x / 3)``: the decoder's guard against values that no encoder makes."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3) * 3


def encoder_layers(width: int, latent: int, pools: Mapping[int, int]) -> nn.Sequential:
    """Layers of an encoder: RGB in [0, 1] [B, 3, H, W] -> [B, latent, H / 8, W / 8].

    Args:
        width: channels of all inner layers.
        latent: channels of the latent.
        pools: by the number of a block, the width of its pooled branch.
    """
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), _Block(width, pools.get(1))]
    for _ in range(_STAGES):
        layers.append(nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False))
        for _ in range(_BLOCKS_PER_STAGE):
            layers.append(_Block(width, pools.get(len(layers))))
    layers.append(nn.Conv2d(width, latent, 3, padding=1))
    return nn.Sequential(*layers)


def decoder_layers(width: int, latent: int, pools: Mapping[int, int]) -> nn.Sequential:
    """Layers of a decoder: [B, latent, h, w] -> RGB, about [0, 1], [B, 3, 8 h, 8 w].

    Arguments are those of :func:`encoder_layers`.
    """
    layers: list[nn.Module] = [_Clamp(), nn.Conv2d(latent, width, 3, padding=1), nn.ReLU()]
    for _ in range(_STAGES):
        for _ in range(_BLOCKS_PER_STAGE):
            layers.append(_Block(width, pools.get(len(layers))))
        layers.append(nn.Upsample(scale_factor=2))
        layers.append(nn.Conv2d(width, width, 3, padding=1, bias=False))
    layers.append(_Block(width, pools.get(len(layers))))
    layers.append(nn.Conv2d(width, 3, 3, padding=1))
    return nn.Sequential(*layers)


def pooled_branches(state: Mapping[str, Tensor]) -> dict[int, int]:
    """Which blocks of a file have a pooled branch, and how wide it is."""
    suffix = ".pool.0.weight"
    found = {key: len(weight) for key, weight in state.items() if key.endswith(suffix)}
    return {int(key.removesuffix(suffix)): width for key, width in found.items()}


def _build_encoder(state: dict[str, Tensor]) -> nn.Sequential:
    last = max(int(key.split(".")[0]) for key in state)
    width, latent = (len(state[f"{layer}.weight"]) for layer in (0, last))
    return encoder_layers(width, latent, pooled_branches(state))


class TinyAutoencoder(nn.Module):
    """The encoder of a tiny autoencoder, frozen: layers that take RGB in [0, 1].

    Args:
        name: for reports.
        encoder: the layers.
        precision: of weights and activations; latents and gradients to the photo stay float32.
    """

    def __init__(
        self, name: str, encoder: nn.Sequential, precision: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.name = name
        self.precision = precision
        self.stride = 2 ** sum(map(_halves, encoder))
        self.encoder = encoder.eval().requires_grad_(False).to(precision)
        # Convolutions on a CPU are several times faster on channels-last memory.
        self.encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def encode(self, image: Tensor) -> Tensor:
        """[B, 3, H, W] RGB in [0, 1] -> latent [B, C, H / 8, W / 8], with gradient."""
        latent: Tensor = self.encoder(self._input(image))
        return latent.float()

    def _input(self, image: Tensor) -> Tensor:
        return image.to(self.precision, memory_format=torch.channels_last)

    def features(self, image: Tensor) -> list[Tensor]:
        """What each resolution ends with, finest first, and the latent; with gradient."""
        x = self._input(image)
        found = []
        for layer in self.encoder:
            if _halves(layer):
                found.append(x.float())
            x = layer(x)
        return [*found, x.float()]


def _halves(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and layer.stride == (2, 2)


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read a flat dictionary of tensors without executing anything, as float32.

    Args:
        path: ``.safetensors``, or a torch file with nothing but tensors.

    Raises:
        RidError: missing or damaged file, or one that holds more than tensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(path)
    if not path.is_file():
        raise RidError(f"{path}: no such file; docs/training.md says where surrogates come from")
    try:
        state = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise RidError(f"{path}: cannot be read as plain tensors ({reason})") from None
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise RidError(f"{path}: holds more than a flat dictionary of tensors")
    return {key: value.float() for key, value in state.items()}


def load_tiny_autoencoder(
    path: str | Path,
    name: str | None = None,
    *,
    dtype: str = "float32",
    local_files_only: bool = False,
) -> TinyAutoencoder:
    """Load the encoder of a TAESD-family autoencoder.

    Args:
        path: file of the encoder's weights; or a folder that holds ``encoder.safetensors``, or one
            in diffusers' layout, or its name on the hub (``madebyollin/taesd``).
        name: for reports; by default the file's name without ``_encoder``, or the folder's.
        dtype: of weights and activations: "float32", "bfloat16", "float16" or "auto", see
            :func:`~rid_core.surrogates.base.precision_of`; the gradient to the photo stays float32.
        local_files_only: never ask the hub.

    Raises:
        RidError: the file is missing, damaged, or holds another network; an unknown dtype.
    """
    path = Path(path)
    precision = precision_of(dtype)
    if (path / _ENCODER).is_file():
        path = path / _ENCODER
    if path.is_dir() or (not path.suffix and len(path.parts) == 2 and not path.exists()):
        loaded = _load_folder(str(path), name, local_files_only)
        return TinyAutoencoder(loaded.name, loaded.encoder, precision)
    state = read_state_dict(path)
    try:
        encoder = _build_encoder(state)
        encoder.load_state_dict(state)
    except (KeyError, RuntimeError, IndexError, ValueError):
        raise RidError(f"{path}: not the encoder of a TAESD-family autoencoder") from None
    if name is None:
        whole = path.absolute().parent.name if path.name == _ENCODER else path.stem
        name = whole.removesuffix("_encoder")
    return TinyAutoencoder(name, encoder, precision)


def open_decoder(path: str | Path) -> nn.Sequential:
    """The decoder of a tiny autoencoder, frozen: latent -> RGB, about [0, 1].

    Raises:
        RidError: missing or damaged, or another network.
    """
    state = read_state_dict(path)
    try:
        weight = state["1.weight"]
        decoder = decoder_layers(weight.shape[0], weight.shape[1], pooled_branches(state))
        decoder.load_state_dict(state)
    except (KeyError, RuntimeError, IndexError, ValueError):
        raise RidError(f"{path}: not the decoder of a TAESD-family autoencoder") from None
    decoder.eval().requires_grad_(False)
    decoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return decoder


def _load_folder(source: str, name: str | None, local_files_only: bool) -> TinyAutoencoder:
    from diffusers import AutoencoderTiny

    checkpoint = DiffusersCheckpoint(source, local_files_only)
    config = checkpoint.folder / "config.json" if checkpoint.folder else None
    if config is not None and (
        not config.is_file() or "AutoencoderTiny" not in config.read_text(errors="replace")
    ):
        raise RidError(f"{source}: not a folder of diffusers' AutoencoderTiny")
    loaded = checkpoint.load("", AutoencoderTiny, **checkpoint.weights())
    # Its forward pass maps [-1, 1] to [0, 1] and then runs these layers, which is all we need.
    return TinyAutoencoder(name or checkpoint.name, loaded.encoder.layers.float())
