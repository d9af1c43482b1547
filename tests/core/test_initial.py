"""A larger network begins as the smaller one that it is grown from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from rid_core.checkpoint import (
    ModelCard,
    find_checkpoint,
    load_checkpoint,
    save_checkpoint,
    weights_digest,
)
from rid_core.defenders import Defender, create_defender
from rid_core.errors import RidError
from rid_core.training.config import DefenderSection
from rid_core.training.initial import grow, initial_defender

SMALL = {"width": 8, "detail_width": 4, "inner_blocks": 1, "detail_blocks": 1}
LARGE = {"width": 12, "detail_width": 8, "inner_blocks": 3, "detail_blocks": 2, "outer_blocks": 2}


def _trained(seed: int = 0, **overrides: Any) -> Defender:
    """A network whose perturbation is not zero."""
    torch.manual_seed(seed)
    defender = create_defender("rid-n", **{**SMALL, **overrides})
    for parameter in defender.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return defender.eval()


@pytest.mark.parametrize(
    "larger",
    [LARGE, {}, {"width": 16}, {"detail_width": 8}, {"inner_blocks": 2}, {"expansion": 3}],
    ids=str,
)
def test_a_grown_network_computes_what_the_small_one_did_and_can_learn(
    larger: dict[str, int],
) -> None:
    small = _trained()
    large = create_defender("rid-n", **{**SMALL, **larger}).eval()
    image = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        assert float((small(image) - large(image)).abs().max()) > 0.1
    grow(small, large)
    torch.testing.assert_close(large(image), small(image), rtol=1e-4, atol=1e-5)
    # What is new hears and will be heard: two steps of gradient reach every weight.
    large.requires_grad_(True)
    optimizer = torch.optim.SGD(large.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        torch.autograd.backward((large(image) - image).square().mean())
        optimizer.step()
    still = [n for n, p in large.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert not still


def test_a_bundled_preset_can_be_named() -> None:
    found, _ = initial_defender(DefenderSection(preset="rid-n", init=Path("rid-n")))
    bundled, _ = load_checkpoint(find_checkpoint("rid-n"))
    assert weights_digest(found) == weights_digest(bundled)


@pytest.mark.parametrize(
    ("other", "problem"),
    [
        ({"width": 4}, "width 8 does not grow to one of 4"),
        ({"kernel": 7}, "kernel 5 does not grow to one of 7"),
        ({"detail_blocks": 2, "inner_blocks": 0}, "inner_blocks 1 does not grow"),
    ],
)
def test_what_does_not_fit_is_refused(other: dict[str, int], problem: str) -> None:
    large = create_defender("rid-n", **{**SMALL, **other})
    with pytest.raises(RidError, match=problem):
        grow(_trained(), large)
    with pytest.raises(RidError, match="only a phone network"):
        grow(_trained(), create_defender("rid-dit", depth=1, width=32, heads=2))


def test_a_run_begins_with_what_is_grown_from_the_mean(tmp_path: Path) -> None:
    files = [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]
    defenders = [_trained(seed) for seed in range(2)]
    for file, defender in zip(files, defenders, strict=True):
        save_checkpoint(file, defender, ModelCard("rid-n", 8, config=dict(SMALL)))
    section = DefenderSection(preset="rid-n", overrides={**SMALL, **LARGE}, init=files)
    grown, overrides = initial_defender(section)
    assert overrides == {**SMALL, **LARGE}
    mean = _trained()
    parameters = [d.parameters() for d in defenders]
    for parameter, *both in zip(mean.parameters(), *parameters, strict=True):
        parameter.data = torch.stack([p.data for p in both]).mean(dim=0)
    image = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(grown.eval()(image), mean(image), rtol=1e-4, atol=1e-5)
    # Without overrides a checkpoint goes on with what it was built with.
    same, overrides = initial_defender(DefenderSection(preset="rid-n", init=files[0]))
    assert overrides == SMALL
    assert torch.equal(same.eval()(image), defenders[0](image))
