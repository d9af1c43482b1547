"""What 8 bits do to a network: grids, ranges, equalization, and the int8 form played in torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from rid_core.defenders import create_defender
from rid_core.quantization.equalization import equalized
from rid_core.quantization.grids import calibrate, window
from rid_core.quantization.ranges import RangeCollector, best_range
from rid_core.quantization.rounding import Grid, Rounding, round_weights


@pytest.fixture
def photos() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    return list(coarse.repeat(12, 1).repeat(12, 2))


@pytest.fixture
def defender() -> Any:
    torch.manual_seed(1)
    made = create_defender("rid-n", width=8, detail_width=4, inner_blocks=1)
    torch.nn.init.normal_(made.to_image.conv.weight, std=0.3)
    return made.eval().requires_grad_(False)


# -- grids and ranges -----------------------------------------------------------------------------


def test_a_grid_rounds_to_256_values_and_keeps_zero() -> None:
    grid = Grid(-1.0, 3.0)
    x = torch.linspace(-2, 4, 5001)
    rounded = grid.round(x)
    assert len(rounded.unique()) == 256
    assert float(grid.round(torch.zeros(1))) == 0
    inside = (x > -0.99) & (x < 2.99)
    assert float((rounded - x)[inside].abs().max()) <= grid.scale / 2 + 1e-6


def test_gradients_pass_a_rounding_but_not_a_clipping() -> None:
    x = torch.tensor([-5.0, 0.3, 5.0], requires_grad=True)
    Grid(-1.0, 1.0).round(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 0]


def test_weights_are_rounded_row_by_row() -> None:
    weight = torch.tensor([[1.0, 0.5, 0.001], [100.0, 0.2, 0.0], [0.0, 0.0, 0.0]])
    rounded = round_weights(weight)
    steps = torch.tensor([1 / 127, 100 / 127, 1.0])[:, None]
    assert torch.allclose(rounded / steps, (rounded / steps).round(), atol=1e-4)
    assert float((rounded - weight).abs().amax(1)[0]) <= 0.5 / 127 + 1e-6
    assert rounded[2].tolist() == [0, 0, 0]


def test_the_range_of_least_error_cuts_off_outliers() -> None:
    values = np.random.default_rng(0).normal(size=400_000)
    values[0] = 15
    low, high = best_range(values, float(values.min()), float(values.max()))
    assert 3 < high < 12
    assert low == pytest.approx(values.min(), rel=0.3)


def test_the_range_follows_what_errors_weigh() -> None:
    values = np.append(np.random.default_rng(0).normal(size=20_000), np.full(20, 12.0))
    few, many = np.full(20, 1.0), np.full(20_000, 1.0)
    for_many = best_range(values, -5.0, 12.0, np.append(many, 0 * few))
    for_few = best_range(values, -5.0, 12.0, np.append(1e-6 * many, few))
    assert for_few[1] > 11
    assert for_many[1] < 6


def test_ranges_hold_zero_and_16_bits_take_all() -> None:
    collector = RangeCollector()
    collector.add("x", np.linspace(1, 9, 12).reshape(1, 3, 2, 2), 1)
    assert collector.ranges(16) == {"x": (0.0, 9.0)}
    low, high = collector.ranges(8)["x"]
    assert low == 0
    assert 5 < high <= 9
    assert collector.means("x").shape == (3,)


def test_windows_differ_and_fit_the_stride() -> None:
    image = np.arange(100 * 90 * 3, dtype=np.uint32).astype(np.uint8).reshape(100, 90, 3)
    first, second = window(image, 16, 0, 64), window(image, 16, 1, 64)
    assert first.shape == second.shape == (1, 3, 64, 64)
    assert not torch.equal(first, second)
    assert torch.equal(window(image, 16, 3, 64), window(image, 16, 3, 64))
    assert window(image, 16, 0).shape == (1, 3, 96, 80)


# -- the int8 form --------------------------------------------------------------------------------


def test_calibration_finds_every_tensor_that_is_rounded(defender: Any, photos: Any) -> None:
    found = calibrate(defender, photos)
    layers = {n for n, m in defender.named_modules() if isinstance(m, torch.nn.Conv2d)}
    assert set(found.sources) == layers
    assert layers <= set(found.grids)
    assert found.sources["enter"] == "enter.input"  # the stem with the codes of its places
    assert found.sources["inner.0.project"] == "inner.0.expand"
    assert found.sources["to_image.conv"] == "to_image.conv.input"  # a sum
    assert found.grids["inner.0.expand"].low == 0  # its ReLU does not count as another layer
    size = (photos[0].shape[0] // 16 * 16) ** 2
    products = sum(n for name, n in found.products.items() if "places" not in name)
    config = defender.config
    cells = ((config.detail_width, 4), (2 * config.width, 16))
    codes = sum(8 * channels * 2 * int(size**0.5) // scale for channels, scale in cells)
    assert products + codes == defender.config.multiply_adds(int(size**0.5), int(size**0.5))
    assert calibrate(defender, photos).grids == found.grids


def test_calibration_finds_what_a_transformer_gives_and_reads(photos: Any) -> None:
    """Behind its layers stand GELU, attention and a flattening, not only ReLU and sums."""
    defender = create_defender("rid-dit", image_size=64, width=16, depth=1, heads=2)
    torch.nn.init.normal_(defender.head.weight)
    found = calibrate(defender, [photo[:64, :64] for photo in photos])
    layers = {"embed", "blocks.0.qkv", "blocks.0.proj", "blocks.0.fc1", "blocks.0.fc2", "head"}
    assert set(found.sources) == layers
    assert found.grids.keys() == layers | {f"{name}.input" for name in layers}
    assert all(source == f"{name}.input" for name, source in found.sources.items())


def test_calibration_is_the_same_before_and_after_lowering(defender: Any, photos: Any) -> None:
    before = calibrate(defender, photos)
    defender.lower("nchw")
    defender.fold()
    after = calibrate(defender, photos)
    for name, grid in after.grids.items():
        assert grid.high == pytest.approx(before.grids[name].high, rel=0.1, abs=1e-3)


def test_rounding_changes_the_output_and_nothing_else(defender: Any, photos: Any) -> None:
    found = calibrate(defender, photos)
    image = window(photos[0], defender.stride)
    exact = defender(image)
    before = {name: value.clone() for name, value in defender.state_dict().items()}
    with Rounding(defender, found.grids, found.means):
        rounded = defender(image)
    assert torch.equal(defender(image), exact)
    assert all(torch.equal(before[n], v) for n, v in defender.state_dict().items())
    noise = float((rounded - exact).square().mean() / exact.square().mean())
    assert 1e-6 < noise < 0.1
    with Rounding(defender, {}, weights=False):
        assert torch.equal(defender(image), exact)


def test_gradients_reach_all_weights_through_the_int8_form(defender: Any, photos: Any) -> None:
    found = calibrate(defender, photos)
    defender.requires_grad_(True)
    with Rounding(defender, found.grids):
        defender(window(photos[0], defender.stride)).square().mean().backward()
    for name, parameter in defender.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().max()) > 0, name


# -- equalization ---------------------------------------------------------------------------------


def _spoil(defender: Any) -> None:
    """Make channels unlike each other, without changing what is computed."""
    scale = torch.logspace(-1.5, 1.5, 16)
    with torch.no_grad():
        block = defender.inner[0]
        block.depthwise.weight.div_(scale.view(-1, 1, 1, 1))
        block.depthwise.bias.div_(scale)
        block.expand.weight.mul_(scale.view(1, -1, 1, 1))


def _noise(defender: Any, photos: Any) -> float:
    found = calibrate(defender, photos)
    image = window(photos[1], defender.stride)
    exact = defender(image)
    with Rounding(defender, found.grids):
        error = defender(image) - exact
    return float(error.square().mean() / exact.square().mean())


def test_equalization_keeps_the_function_and_takes_noise_away(defender: Any, photos: Any) -> None:
    _spoil(defender)
    image = window(photos[0], defender.stride)
    better = equalized(defender, photos)
    assert better is not defender
    torch.testing.assert_close(better(image), defender(image), rtol=0, atol=1e-4)
    assert _noise(better, photos) < 0.5 * _noise(defender, photos)


def test_equalization_touches_every_layer(defender: Any, photos: Any) -> None:
    before, after = defender.state_dict(), equalized(defender, photos).state_dict()
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert not {name for name in same if name.endswith("weight")}
    assert torch.equal(after["to_image.conv.bias"], before["to_image.conv.bias"])


def test_equalization_leaves_the_transformer_alone(photos: Any) -> None:
    sizes = {"image_size": 32, "patch": 16, "width": 16, "depth": 1, "heads": 2}
    transformer = create_defender("rid-dit", **sizes)
    assert equalized(transformer, photos) is transformer
