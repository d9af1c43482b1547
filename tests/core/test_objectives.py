from __future__ import annotations

import numpy as np
import pytest
import torch

from rid_core import objectives


def test_log_shift_is_minus_the_logarithm_of_the_relative_shift() -> None:
    reference = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    shifted = reference.clone()
    shifted[1] *= 3  # a change of twice the latent: relative shift 4
    value = objectives.log_shift(reference, shifted)
    assert value[0].item() == pytest.approx(-np.log(0.01), rel=1e-4)
    assert value[1].item() == pytest.approx(-np.log(4.01), rel=1e-4)
    assert objectives.log_shift(reference, shifted, 1.0)[0].item() == pytest.approx(0)


def test_log_shift_gives_hard_and_easy_images_the_same_say() -> None:
    reference = torch.ones(2, 1, 4, 4)
    shifted = (reference + torch.tensor([0.1, 1.0]).reshape(2, 1, 1, 1)).requires_grad_(True)
    objectives.log_shift(reference, shifted).sum().backward()
    assert shifted.grad is not None
    # d(-log d^2) = -2 d: relative to the change, both gradients are the same.
    relative = shifted.grad.sum(dim=(1, 2, 3)) * (shifted.detach() - reference).mean(dim=(1, 2, 3))
    # All but the floor: at a shift of 0.01, as large as the floor, it is half.
    assert relative[0].item() == pytest.approx(0.5 * relative[1].item(), rel=0.02)


def test_distillation_is_the_mean_squared_distance() -> None:
    unit, target = torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.5)
    assert torch.allclose(objectives.distillation(unit, target), torch.tensor([0.25, 0.25]))
