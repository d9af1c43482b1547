from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from rid_core.budget import Budget
from rid_core.imagewise.pgd import encoder_pgd, pgd
from rid_core.surrogates import load_surrogate, relative_shift


def test_pgd_finds_the_corner_of_a_linear_loss() -> None:
    image = torch.full((1, 3, 8, 8), 0.5)
    slope = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    budget = Budget(8)
    unit = pgd(image, lambda x: (x * slope).sum(dim=(1, 2, 3)), budget, steps=40)
    assert torch.equal(unit, -slope.sign())


def test_pgd_on_an_encoder_beats_random_signs(
    tiny_encoder_file: Path, astronaut: np.ndarray
) -> None:
    surrogate = load_surrogate("tiny-autoencoder", path=tiny_encoder_file)
    image = torch.from_numpy(astronaut[:96, 180:276].copy()).permute(2, 0, 1)[None].float() / 255
    budget = Budget(8)
    signs = torch.randint(0, 2, image.shape, generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    reference = surrogate.encode(image)

    def shift(unit: torch.Tensor) -> float:
        return relative_shift(reference, surrogate.encode(budget.apply(image, unit))).item()

    unit = encoder_pgd(image, surrogate, budget, steps=10)
    assert unit.abs().max() <= 1
    assert shift(unit) > 2 * shift(signs)
    assert torch.equal(unit, encoder_pgd(image, surrogate, budget, steps=10))
