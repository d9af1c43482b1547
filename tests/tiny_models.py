"""Surrogates, checkpoints and portraits small enough for tests, as fixtures for all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image


def tiny_encoder_state(width: int = 8, latent: int = 4, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights in the layout of a TAESD-family encoder, small enough for tests."""
    generator = torch.Generator().manual_seed(seed)

    def weights(*shape: int) -> torch.Tensor:
        fan_in = int(np.prod(shape[1:])) or 1
        return torch.randn(*shape, generator=generator) * (2 / fan_in) ** 0.5

    state = {"0.weight": weights(width, 3, 3, 3), "0.bias": torch.zeros(width)}
    index = 1

    def block(i: int, pool: bool) -> None:
        for layer in (0, 2, 4):
            state[f"{i}.conv.{layer}.weight"] = weights(width, width, 3, 3) * 0.5
            state[f"{i}.conv.{layer}.bias"] = torch.zeros(width)
        if pool:
            state[f"{i}.pool.0.weight"] = weights(4 * width, width, 1, 1)
            state[f"{i}.pool.1.weight"] = torch.ones(4 * width)
            state[f"{i}.pool.1.bias"] = torch.zeros(4 * width)
            state[f"{i}.pool.3.weight"] = weights(width, 4 * width, 1, 1) * 0.5

    block(index, pool=False)
    for stage in range(3):
        index += 1
        state[f"{index}.weight"] = weights(width, width, 3, 3)
        for _ in range(3):
            index += 1
            block(index, pool=stage == 2)
    index += 1
    state[f"{index}.weight"] = weights(latent, width, 3, 3)
    state[f"{index}.bias"] = torch.zeros(latent)
    return state


@pytest.fixture(scope="session")
def tiny_encoder_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from safetensors.torch import save_file

    path = tmp_path_factory.mktemp("weights") / "tiny_encoder.safetensors"
    save_file(tiny_encoder_state(), path)
    return path


@pytest.fixture(scope="session")
def tiny_encoder_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three encoders of different weights and widths."""
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("members")
    paths = [folder / f"member-{number}.safetensors" for number in range(3)]
    for seed, path in enumerate(paths):
        save_file(tiny_encoder_state(width=8 + 4 * seed, seed=seed), path)
    return paths


@pytest.fixture(scope="session")
def diffusers_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a tiny random checkpoint by family, made when it is first asked for."""
    import diffusers_folders as make

    root = tmp_path_factory.mktemp("checkpoints")
    makers: dict[str, Callable[[Path], Path]] = {
        "sd": make.save_sd,
        "sd-other": lambda folder: make.save_sd(folder, seed=10),
        "sd-v": lambda folder: make.save_sd(folder, seed=11, prediction="v_prediction"),
        "sdxl": make.save_sdxl,
        "sd3": make.save_sd3,
        "sd3-without-t5": lambda folder: make.save_sd3(folder, t5=False),
        "flux": make.save_flux,
        "tiny-autoencoder": make.save_tiny_autoencoder,
    }

    def checkpoint(family: str) -> Path:
        folder = root / family
        return folder if folder.exists() else makers[family](folder)

    return checkpoint


@pytest.fixture(scope="session")
def portraits(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> Path:
    """A folder of six portraits cut from a real one, and one broken file."""
    folder = tmp_path_factory.mktemp("portraits")
    image = Image.fromarray(astronaut)
    for number in range(6):
        left = 20 * number
        image.crop((left, 0, left + 384, 384)).save(folder / f"{number:04d}.jpg", quality=92)
    (folder / "0006.jpg").write_bytes((folder / "0000.jpg").read_bytes()[:2000])
    return folder
