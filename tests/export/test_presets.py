"""Every preset passes every target: tiny networks of each kind, converted and proved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rid_core.checkpoint import ModelCard, save_checkpoint
from rid_core.defenders import create_defender, list_defenders
from rid_export.pipeline import export
from rid_export.registry import list_targets
from rid_export.spec import ExportSpec

TINY: dict[str, dict[str, int]] = {
    "rid-n": {"width": 16, "detail_width": 8, "inner_blocks": 1},
    "rid-s": {"width": 16, "detail_width": 8, "inner_blocks": 1},
    "rid-b": {"width": 16, "detail_width": 8, "inner_blocks": 1},
    "rid-dit": {"image_size": 64, "width": 32, "depth": 1, "heads": 2},
}


def test_no_preset_is_forgotten() -> None:
    assert sorted(TINY) == list_defenders()


def tiny(preset: str, folder: Path) -> Path:
    import torch

    torch.manual_seed(5)
    defender: Any = create_defender(preset, **TINY[preset])
    with torch.no_grad():
        for module in defender.modules():
            if isinstance(module, torch.nn.Linear):
                torch.nn.init.normal_(module.weight, std=0.2)
        if preset != "rid-dit":
            torch.nn.init.normal_(defender.to_image.conv.weight, std=0.3)
    path = folder / f"{preset}.safetensors"
    save_checkpoint(path, defender, ModelCard(preset, levels=8, config=TINY[preset]))
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    "preset",
    # The mobile presets differ in width and depth, which are the same here.
    ["rid-dit", *(pytest.param(n, marks=pytest.mark.full) for n in ("rid-b", "rid-n", "rid-s"))],
)
def test_every_target(preset: str, tmp_path: Path) -> None:
    specs = [ExportSpec(target, resolution=64) for target in list_targets()]
    results = export(specs, tiny(preset, tmp_path), tmp_path / "dist")
    assert [result.error for result in results] == [None] * len(specs)
    for result in results:
        least = result.figure("delta_sqnr_db")
        assert least is not None
        assert least > 60, result.target


@pytest.mark.slow
@pytest.mark.parametrize(
    "precision",
    ["int8", *(pytest.param(n, marks=pytest.mark.full) for n in ("fp16", "w8", "w8a16"))],
)
def test_a_transformer_in_every_precision(precision: str, small_dit: Path, tmp_path: Path) -> None:
    """Its activations pass GELU and attention, and ranges are calibrated all the same."""
    specs = [
        ExportSpec(target, precision, resolution=64, calib_samples=8)
        for target in ("onnx", "tflite")
    ]
    results = export(specs, small_dit, tmp_path)
    assert [result.error for result in results] == [None, None]
