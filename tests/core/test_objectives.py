from __future__ import annotations

import numpy as np
import pytest
import torch

from rid_core import objectives
from rid_core.channel import blur


def test_encoder_shift_is_minus_the_logarithm_of_the_relative_shift() -> None:
    reference = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    shifted = reference.clone()
    shifted[1] *= 3  # a change of twice the latent: relative shift 4
    value = objectives.encoder_shift(reference, shifted)
    assert value[0].item() == pytest.approx(-np.log(1e-4), rel=1e-4)
    assert value[1].item() == pytest.approx(-np.log(4), rel=1e-3)


def test_encoder_shift_gives_hard_and_easy_images_the_same_say() -> None:
    reference = torch.ones(2, 1, 4, 4)
    shifted = (reference + torch.tensor([0.1, 1.0]).reshape(2, 1, 1, 1)).requires_grad_(True)
    objectives.encoder_shift(reference, shifted).sum().backward()
    assert shifted.grad is not None
    # d(-log d^2) = -2 d: relative to the change, both gradients are the same.
    relative = shifted.grad.sum(dim=(1, 2, 3)) * (shifted.detach() - reference).mean(dim=(1, 2, 3))
    assert relative[0].item() == pytest.approx(relative[1].item(), rel=0.02)


def test_distillation_is_the_mean_squared_distance() -> None:
    unit, target = torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.5)
    assert torch.allclose(objectives.distillation(unit, target), torch.tensor([0.25, 0.25]))


def test_dissimilarity_agrees_with_scikit_image(astronaut: np.ndarray) -> None:
    from skimage.metrics import structural_similarity

    clean = astronaut[:128, 160:288].astype(np.float32) / 255
    rng = np.random.default_rng(0)
    noisy = (clean + rng.normal(0, 0.03, clean.shape)).clip(0, 1).astype(np.float32)
    expected = 1 - structural_similarity(
        clean, noisy, channel_axis=2, data_range=1.0, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False,
    )  # fmt: skip
    batch = [torch.from_numpy(x).permute(2, 0, 1)[None] for x in (clean, noisy)]
    assert objectives.dissimilarity(*batch).item() == pytest.approx(expected, rel=0.03)


def test_a_perturbation_costs_more_on_skin_than_in_texture() -> None:
    generator = torch.Generator().manual_seed(0)
    smooth = torch.full((1, 3, 64, 64), 0.5)
    texture = torch.rand(1, 3, 64, 64, generator=generator)
    change = (torch.randint(0, 2, smooth.shape, generator=generator) * 2 - 1) * 8 / 255
    on_smooth = objectives.dissimilarity(smooth, smooth + change)
    on_texture = objectives.dissimilarity(texture, (texture + change).clamp(0, 1))
    assert on_smooth > 10 * on_texture


def test_periodicity_sees_a_lattice_and_nothing_else() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 3, 160, 160, generator=generator)
    for grain in (noise, blur(noise, 1.5), blur(noise, 3), noise.sign(), blur(noise, 5).sign()):
        assert objectives.periodicity(grain).item() < 1.4
    assert objectives.periodicity(torch.zeros(1, 3, 96, 96)).item() < 1e-6
    for period in (8, 10, 16, 20):
        cell = torch.randn(1, 3, period, period, generator=generator)
        lattice = cell.repeat(1, 1, 160 // period, 160 // period)
        assert objectives.periodicity(lattice).item() > 12


def test_periodicity_sees_cells_of_random_colours_on_a_lattice() -> None:
    """No cell repeats another, but their borders do."""
    colours = torch.randn(1, 3, 10, 10, generator=torch.Generator().manual_seed(0)).sign()
    cells = colours.repeat_interleave(16, 2).repeat_interleave(16, 3)
    assert objectives.periodicity(cells).item() > 4


def test_no_lattice_hides_behind_a_large_blotch() -> None:
    generator = torch.Generator().manual_seed(0)
    lattice = torch.randn(1, 3, 16, 16, generator=generator).sign().repeat(1, 1, 10, 10)
    alone = objectives.periodicity(lattice).item()
    lattice[:, :, :64, :64] = 1
    assert objectives.periodicity(lattice).item() > 0.7 * alone


def test_periodicity_sees_long_stripes() -> None:
    """Their peaks in the spectrum are broad; their reach gives them away."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(1, 3, 1, 160, generator=generator).sign()
    assert objectives.periodicity(rows.expand(1, 3, 160, 160)).item() > 4


def cells(generator: torch.Generator) -> torch.Tensor:
    """Every cell of 16 has colours of its own, and stripes at its border, [4, 3, 160, 160]."""
    noise = torch.randn(4, 3, 160, 160, generator=generator)
    stripes = torch.randn(4, 3, 160, 10, generator=generator).repeat_interleave(16, dim=3)
    at = torch.arange(160) % 16
    border = ((at < 4) | (at > 11)).float()[:, None]
    return torch.where(border > 0, stripes, noise).sign()


def test_cellularity_sees_cells_that_neither_repeat_nor_differ_in_energy() -> None:
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    noise = torch.randn(4, 3, 160, 160, generator=generator)
    for grain in (noise, blur(noise, 1.5), noise.sign(), blur(noise, 3).sign()):
        assert objectives.cellularity(grain).item() < 0.06
    assert objectives.cellularity(torch.zeros(4, 3, 160, 160)).item() < 0.02
    unit = cells(generator)
    assert objectives.cellularity(unit).item() > 0.1
    # Each photo moved by another part of a cell: no place of the network's cell is special now.
    moved = torch.stack([photo.roll((4 * i, 4 * i), (1, 2)) for i, photo in enumerate(unit)])
    assert objectives.cellularity(moved).item() < 0.06


@pytest.mark.parametrize("cell", [4, 8])
def test_cellularity_sees_divisors_of_the_cell(cell: int) -> None:
    torch.manual_seed(0)
    patches = torch.randn(4, 3, 160 // cell, 160 // cell)
    unit = patches.repeat_interleave(cell, 2).repeat_interleave(cell, 3)
    assert objectives.cellularity(unit).item() > 0.1


def test_cellularity_falls_along_its_gradient() -> None:
    unit = cells(torch.Generator().manual_seed(0))
    torch.manual_seed(1)  # other filters at every step
    before = objectives.cellularity(unit).item()
    for _ in range(10):
        unit.requires_grad_(True)
        (gradient,) = torch.autograd.grad(objectives.cellularity(unit), unit)
        unit = unit.detach() - 0.05 * gradient / gradient.square().mean().sqrt()
    assert objectives.cellularity(unit).item() < 0.8 * before


def test_bordering_sees_equal_cells_along_one_side_only() -> None:
    torch.manual_seed(0)
    noise = torch.randn(4, 3, 160, 160).sign()
    assert objectives.bordering(noise).item() < 0.2
    inside = noise.clone()
    inside[:, :, 32:48] = noise[:1, :, 32:48, :16].repeat(4, 1, 1, 10)
    assert objectives.bordering(inside).item() < 0.2
    for turns in range(4):
        beads = torch.rot90(noise, turns, (2, 3)).clone()
        beads[:, :, -16:] = beads[:1, :, -16:, :16].repeat(4, 1, 1, 10)
        beads = torch.rot90(beads, -turns, (2, 3))
        assert objectives.bordering(beads).item() > 0.25
        assert objectives.cellularity(beads).item() < 0.12


def test_universality_is_what_photos_have_in_common() -> None:
    own = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    shared = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    assert objectives.universality(own).item() < 0.02
    assert objectives.universality(shared.expand(4, -1, -1, -1)).item() == pytest.approx(1)
    half = objectives.universality(own + shared).item()
    assert half == pytest.approx(0.5, abs=0.05)
    assert objectives.universality(own[:1]).item() == 0
    assert objectives.universality(torch.cat([shared, -shared])).item() == 0


def test_periodicity_falls_when_a_lattice_is_broken_up() -> None:
    unit = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)).repeat(1, 1, 6, 6)
    unit.requires_grad_(True)
    before = objectives.periodicity(unit).sum()
    (gradient,) = torch.autograd.grad(before, unit)
    jitter = torch.randn(unit.shape, generator=torch.Generator().manual_seed(1))
    direction = -gradient if gradient.abs().max() > 0 else jitter
    moved = unit.detach() + 0.1 * jitter + direction / (direction.abs().max() + 1e-12) * 0.1
    assert objectives.periodicity(moved).item() < before.item()
