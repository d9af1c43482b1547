from __future__ import annotations

from pathlib import Path

import pytest


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
def test_contract(small_checkpoint: Path, layout: str) -> None:
    import torch

    from rid_core.checkpoint import load_checkpoint, weights_digest
    from rid_export.graph import ExportGraph

    defender, card = load_checkpoint(small_checkpoint)
    before = weights_digest(defender)
    graph = ExportGraph(defender, card.levels, layout)
    assert weights_digest(defender) == before

    torch.manual_seed(0)
    image = torch.rand(1, 3, 64, 96)
    to_layout, back = ((0, 2, 3, 1), (0, 3, 1, 2)) if layout == "nhwc" else ((0, 1, 2, 3),) * 2
    outputs = graph(image.permute(to_layout))
    delta, protected = (outputs[name].permute(back) for name in ("delta", "protected"))
    torch.testing.assert_close(delta, defender(image), rtol=0, atol=1e-5)
    torch.testing.assert_close(protected, (image + delta * 6 / 255).clamp(0, 1))
    assert list(outputs) == ["protected", "delta"]
    assert graph.example(32).shape == ((1, 32, 32, 3) if layout == "nhwc" else (1, 3, 32, 32))
    assert graph.example(32, 48).permute(back).shape == (1, 3, 32, 48)


def test_scale_and_choice_of_outputs(small_checkpoint: Path) -> None:
    import torch

    from rid_core.checkpoint import load_checkpoint
    from rid_export.graph import ExportGraph

    defender, card = load_checkpoint(small_checkpoint)
    image = torch.rand(1, 3, 32, 32)
    plain = ExportGraph(defender, card.levels, "nchw")(image)
    scaled = ExportGraph(defender, card.levels, "nchw", protected_scale=255.0)(image)
    torch.testing.assert_close(scaled["protected"], plain["protected"] * 255)
    assert torch.equal(scaled["delta"], plain["delta"])
    assert list(ExportGraph(defender, 8, "nchw", outputs=("delta",))(image)) == ["delta"]
