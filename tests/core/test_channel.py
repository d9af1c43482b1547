from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from rid_core import channel
from rid_core.errors import RidError


@pytest.fixture(scope="module")
def image(astronaut: np.ndarray) -> Tensor:
    return torch.from_numpy(astronaut[:128, 160:320].copy()).permute(2, 0, 1)[None].float() / 255


def _psnr(a: Tensor, b: Tensor) -> float:
    return -10 * float(torch.log10((a - b).square().mean()))


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_soft_jpeg_follows_the_real_codec(image: Tensor, quality: int) -> None:
    soft, real = channel.soft_jpeg(image, quality), channel.real_jpeg(image, quality)
    # The two may differ in rounding and in chroma filters, but less than the codec changes.
    assert _psnr(soft, real) > _psnr(image, real) + 3


def test_real_jpeg_is_pillows(image: Tensor) -> None:
    assert 25 < _psnr(channel.real_jpeg(image, 75), image) < 45
    assert _psnr(channel.real_jpeg(image, 95), image) > _psnr(channel.real_jpeg(image, 50), image)


@pytest.mark.parametrize("name", channel.STEPS)
def test_steps_keep_shape_and_range_and_carry_gradient(image: Tensor, name: str) -> None:
    for seed in range(4):
        step = channel.sample_step({name: 1}, np.random.default_rng(seed))
        assert step.name == name
        source = image.clone().requires_grad_(True)
        result = step(source)
        assert result.shape == image.shape
        assert result.min() >= 0
        assert result.max() <= 1
        result.square().sum().backward()
        assert source.grad is not None
        assert source.grad.abs().mean() > 1e-3


@pytest.mark.parametrize("name", channel.STEPS)
def test_a_step_does_the_same_to_both_images_of_a_pair(image: Tensor, name: str) -> None:
    step = channel.sample_step({name: 1}, np.random.default_rng(1))
    pair = step(torch.cat([image, image]))
    assert torch.equal(pair[0], pair[1])
    assert torch.allclose(step(image), pair[:1], atol=1e-6)


def test_each_image_goes_through_its_own_step(image: Tensor) -> None:
    draws = [channel.sample_step({n: 1}, np.random.default_rng(i))
             for i, n in enumerate([*channel.STEPS, "jpeg", "resize"])]  # fmt: skip
    together = channel.pass_through(draws, image.expand(len(draws), -1, -1, -1))
    for draw, found in zip(draws, together, strict=True):
        assert torch.allclose(draw(image)[0], found, atol=1e-5), draw


def test_draws_follow_the_weights_and_the_seed() -> None:
    weights = {"identity": 3.0, "jpeg": 1.0, "blur": 0.0}
    draws = [channel.sample_step(weights, np.random.default_rng(i)) for i in range(400)]
    assert draws == [channel.sample_step(weights, np.random.default_rng(i)) for i in range(400)]
    names = [draw.name for draw in draws]
    assert "blur" not in names
    assert 0.65 < names.count("identity") / 400 < 0.85


@pytest.mark.parametrize("weights", [{"jpg": 1.0}, {"jpeg": 0.0}, {"jpeg": -1.0, "blur": 2.0}])
def test_unfit_weights_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(RidError, match="identity"):
        channel.sample_step(weights, np.random.default_rng(0))


def test_rounding_is_what_a_file_holds_and_lets_gradient_through(image: Tensor) -> None:
    source = (image + 0.0013).clamp(0, 1).requires_grad_(True)
    rounded = channel.round_to_levels(source)
    levels = rounded.detach() * 255
    assert torch.allclose(levels, levels.round(), atol=1e-4)
    assert (rounded - source).abs().max() <= 0.5 / 255 + 1e-6
    rounded.sum().backward()
    assert source.grad is not None
    assert bool((source.grad == 1).all())


def test_dither_keeps_what_rounding_would_drop() -> None:
    flat = torch.full((1, 3, 64, 64), 100.2 / 255)
    assert torch.allclose(channel.round_to_levels(flat), torch.tensor(100 / 255))
    dither = torch.rand(flat.shape, generator=torch.Generator().manual_seed(0)) - 0.5
    mean = channel.round_to_levels(flat, dither).mean() * 255
    assert abs(mean - 100.2) < 0.02


def test_resize_removes_fine_detail_and_keeps_coarse(image: Tensor) -> None:
    checker = torch.zeros_like(image)
    checker[..., ::2, ::2] = checker[..., 1::2, 1::2] = 1
    assert channel.resize_and_back(checker, 0.5)[..., 8:-8, 8:-8].std() < 0.05
    assert _psnr(channel.resize_and_back(image, 0.5), image) > 25


def test_blur_is_a_gaussian() -> None:
    spot = torch.zeros(1, 3, 33, 33)
    spot[..., 16, 16] = 1
    blurred = channel.blur(spot, 1.5)[0, 0]
    assert blurred.sum().item() == pytest.approx(1, abs=1e-5)
    offset = torch.arange(33) - 16.0
    assert (blurred.sum(0) * offset**2).sum().item() == pytest.approx(1.5**2, rel=0.03)
