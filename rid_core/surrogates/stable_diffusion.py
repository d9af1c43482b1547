"""Stable Diffusion and its relatives, any checkpoint in diffusers' layout, as surrogates.

Of a checkpoint only what an attack needs stays in memory: the autoencoder's encoder (on request its
decoder), the denoiser, and one encoded prompt. The text encoders are dropped once they have spoken.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rid_core.errors import RidError
from rid_core.surrogates.base import precision_of
from rid_core.surrogates.diffusers_parts import DiffusersCheckpoint
from rid_core.surrogates.families import Family, family_of
from rid_core.surrogates.latent_diffusion import LatentDiffusion
from rid_core.surrogates.schedule import Schedule

# Parts that are ours and not diffusers': by class, the module. Nothing else is ever imported.
_OWN = {"LatentAutoencoder": "rid_core.surrogates.latent_autoencoder"}


def load_stable_diffusion(
    path: str | Path,
    name: str | None = None,
    *,
    prompt: str = " ",
    dtype: str = "float32",
    denoiser: bool = True,
    decoder: bool = False,
    gradient_checkpointing: bool = False,
    local_files_only: bool = False,
    revision: str | None = None,
    variant: str | None = None,
) -> LatentDiffusion:
    """Load a diffusers checkpoint of Stable Diffusion 1, 2, XL, 3 or FLUX.1 on the CPU.

    Args:
        path: folder, or name on the hub.
        name: for reports; by default the last part of ``path``.
        prompt: encoded once; the RID paper attacks with a single space.
        dtype: of the weights: ``float32``, ``bfloat16`` or ``float16``. Gradients to the image are
            float32 in each.
        denoiser: False loads the autoencoder alone, which is all that encoder objectives need.
        decoder: True keeps the way back to pictures, :meth:`LatentDiffusion.decode`.
        gradient_checkpointing: compute activations twice and keep few of them.
        local_files_only: never ask the hub.
        revision: branch, tag or commit on the hub.
        variant: of the weights' files, such as ``"fp16"``.

    Raises:
        RidError: no such folder, a part missing or damaged, the hub out of reach, a pipeline or
            prediction type that is not known.
    """
    precision = precision_of(dtype)
    checkpoint = DiffusersCheckpoint(str(path), local_files_only, revision, variant)
    index = checkpoint.index()
    family = family_of(index["_class_name"], checkpoint.source)
    checkpoint.require(index, family.parts() if denoiser else ["vae"])
    name = name or checkpoint.name

    vae = _load_vae(checkpoint, index, precision)
    if not denoiser:
        surrogate = LatentDiffusion(name, vae, decoder=decoder)
    else:
        schedule = _load_schedule(checkpoint, index, family)
        network = checkpoint.load(
            family.network,
            class_of(checkpoint, index, family.network),
            torch_dtype=precision,
            **checkpoint.weights(),
        )
        _check_channels(checkpoint, vae, network, family)
        encoded = _embed(checkpoint, index, family, prompt, precision, network.config)
        surrogate = LatentDiffusion(
            name, vae, network, family.denoise, schedule, encoded, family.patch, decoder
        )
    if gradient_checkpointing:
        for part in (surrogate.vae, surrogate.denoiser):
            if part is not None:
                part.enable_gradient_checkpointing()  # type: ignore[operator]
    return surrogate


def class_of(checkpoint: DiffusersCheckpoint, index: dict[str, Any], part: str) -> Any:
    """The class that the checkpoint names for a part, one of diffusers' or of ours."""
    import diffusers

    name = str(index[part][-1])
    if name in _OWN:
        return getattr(importlib.import_module(_OWN[name]), name)
    found = getattr(diffusers, name, None)
    if found is None:
        raise RidError(
            f"{checkpoint.source}: its {part} is a {index[part][-1]}, which diffusers "
            f"{diffusers.__version__} does not have"
        )
    return found


def _load_vae(
    checkpoint: DiffusersCheckpoint, index: dict[str, Any], precision: torch.dtype
) -> Any:
    vae = checkpoint.load(
        "vae",
        class_of(checkpoint, index, "vae"),
        torch_dtype=precision,
        **checkpoint.weights(),
    )
    # Some autoencoders, SDXL's for one, overflow in half precision, and say so.
    if precision is torch.float16 and getattr(vae.config, "force_upcast", False):
        vae = vae.float()
    return vae


def _load_schedule(
    checkpoint: DiffusersCheckpoint, index: dict[str, Any], family: Family
) -> Schedule:
    from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler

    try:
        if family.network == "transformer":
            flow = checkpoint.load("scheduler", FlowMatchEulerDiscreteScheduler)
            return Schedule.flow(flow.sigmas.flip(0), family.time_scale)
        # Whichever sampler a checkpoint names, its betas are those of training.
        ddpm = checkpoint.load("scheduler", DDPMScheduler)
        return Schedule.variance_preserving(ddpm.alphas_cumprod, ddpm.config.prediction_type)
    except RidError as error:
        if "prediction type" in str(error):
            raise RidError(f"{checkpoint.source}: {error}") from None
        raise


def _check_channels(
    checkpoint: DiffusersCheckpoint, vae: Any, network: Any, family: Family
) -> None:
    expected = vae.config.latent_channels * family.packed
    if network.config.in_channels != expected:
        raise RidError(
            f"{checkpoint.source}: its {family.network} takes {network.config.in_channels} channels"
            f" where the autoencoder gives {expected}: an inpainting or editing model, which is "
            "not supported"
        )


@torch.no_grad()
def _embed(
    checkpoint: DiffusersCheckpoint,
    index: dict[str, Any],
    family: Family,
    prompt: str,
    precision: torch.dtype,
    config: Any,
) -> dict[str, Tensor]:
    """Encode the prompt; each text encoder is in memory only while it is used."""
    import transformers

    def encode(suffix: str) -> tuple[Any, Any] | None:
        part = f"text_encoder{suffix}"
        named = index.get(part)
        if suffix in family.optional and not (isinstance(named, list) and named[-1]):
            return None
        cls = getattr(transformers, str(index[part][-1]), None)
        if cls is None:
            raise RidError(f"{checkpoint.source}: its {part} is a {index[part][-1]}, unknown here")
        encoder = checkpoint.load(part, cls, dtype=precision, **checkpoint.weights()).eval()
        tokenizer = f"tokenizer{suffix}"
        tokens = getattr(transformers, str(index[tokenizer][-1]), transformers.AutoTokenizer)
        return checkpoint.load(tokenizer, tokens), encoder

    encoded = family.embed(prompt, encode, config)
    return {name: tensor.detach().clone() for name, tensor in encoded.items()}
