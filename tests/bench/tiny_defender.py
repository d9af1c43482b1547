"""A defender of few parameters whose perturbation is not zero."""

from __future__ import annotations

from pathlib import Path


def tiny(seed: int, folder: Path) -> Path:
    import torch

    from rid_core.checkpoint import ModelCard, save_checkpoint
    from rid_core.defenders import create_defender

    config = {"width": 16, "detail_width": 8, "inner_blocks": 1}
    torch.manual_seed(seed)
    defender = create_defender("rid-n", **config)
    torch.nn.init.normal_(defender.to_image.conv.weight, std=0.3)
    path = folder / "tiny.safetensors"
    save_checkpoint(path, defender, ModelCard("rid-n", levels=8, config=config))
    return path
