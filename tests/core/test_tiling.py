"""Geometry: sizes, tiles, weights, filter. The apps repeat these numbers in other languages."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data

from rid_core.image import tiling

SIDES = st.integers(64, 3000)


@pytest.mark.parametrize(
    ("size", "working"),
    [
        ((512, 512), (512, 512)),
        ((3024, 4032), (512, 683)),
        ((4032, 3024), (683, 512)),
        ((1080, 1920), (512, 910)),
        ((64, 64), (512, 512)),
        ((64, 4000), (512, 32000)),
        ((1000, 1001), (512, 513)),  # 512.512 rounds up
        ((1024, 1025), (512, 513)),  # 512.5: halves round up
        ((1024, 1024), (512, 512)),
    ],
)
def test_working_size(size, working):
    assert tiling.working_size(*size) == working


@given(SIDES, SIDES)
def test_working_size_keeps_the_shape(height, width):
    h, w = tiling.working_size(height, width)
    assert min(h, w) == 512
    scale = 512 / min(height, width)
    assert abs(h - height * scale) <= 0.5
    assert abs(w - width * scale) <= 0.5


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (512, [0]),
        (513, [0, 1]),
        (683, [0, 171]),
        (910, [0, 398]),
        (960, [0, 448]),  # overlaps by exactly the feather
        (961, [0, 224, 449]),
        (1365, [0, 426, 853]),
    ],
)
def test_starts(length, expected):
    assert tiling.starts(length) == expected


def test_a_side_shorter_than_a_tile_is_refused():
    with pytest.raises(ValueError, match="511 pixels holds no tile of 512"):
        tiling.starts(511)


@given(st.integers(512, 6000), st.sampled_from([512, 256, 384, 224, 96]))
def test_tiles_cover_a_side_and_overlap_by_the_feather(length, tile):
    first = tiling.starts(length, tile)
    assert first[0] == 0
    assert first[-1] == length - tile
    steps = np.diff(first)
    assert (steps > 0).all()
    assert (steps <= tile - tile // 8).all()
    if len(first) > 1:  # and no tile is superfluous
        assert (len(first) - 1) * (tile - tile // 8) + tile // 8 < length


@given(st.integers(512, 6000))
def test_weights_sum_to_exactly_one(length):
    total = np.zeros(length, np.float32)
    for start, weight in zip(tiling.starts(length), tiling.weights(length), strict=True):
        assert weight.dtype == np.float32
        assert weight.min() >= 0
        total[start : start + 512] += weight
    np.testing.assert_array_equal(total, 1)


@given(st.integers(384, 4000), st.sampled_from([384, 224, 96]))
def test_weights_of_other_tiles_sum_to_one(length, tile):
    total = np.zeros(length, np.float32)
    for start, weight in zip(
        tiling.starts(length, tile), tiling.weights(length, tile), strict=True
    ):
        total[start : start + tile] += weight
    np.testing.assert_allclose(total, 1, atol=3e-7)


@given(st.integers(513, 6000))
def test_ramps_never_meet(length):
    first = tiling.starts(length)
    shared = np.zeros(length, int)
    for start, weight in zip(first, tiling.weights(length), strict=True):
        shared[start : start + 512] += (weight > 0) & (weight < 1)
    # A pixel on a ramp belongs to two tiles and no third; there are 64 of them per seam.
    assert set(shared) <= {0, 2}
    assert (shared == 2).sum() == 64 * (len(first) - 1)


def test_weights_of_a_phone_photo():
    """The numbers that other languages are held against."""
    left, right = tiling.weights(683)
    ramp = (0 + 512 + 171 - 64) // 2
    assert ramp == 309
    assert left[308] == 1
    assert left[309] == np.float32(1 - 0.5 / 64)
    assert left[372] == np.float32(1 - 63.5 / 64)
    assert left[373] == 0
    assert right[309 - 171] == np.float32(0.5 / 64)
    assert right[373 - 171] == 1


@given(st.integers(512, 1400), st.integers(512, 1400), st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_a_blend_of_bounded_perturbations_is_bounded(height, width, seed):
    generator = np.random.default_rng(seed)
    blend = np.zeros((height, width, 1), np.float32)
    total = np.zeros((height, width, 1), np.float32)
    for tile in tiling.tiles(height, width):
        # Saturated values are the hard case: a sum of weights above 1 would show.
        unit = generator.choice(np.float32([-1, 1]), size=(512, 512, 1))
        blend[tile.rows, tile.columns] += tile.weight * unit
        total[tile.rows, tile.columns] += tile.weight
    np.testing.assert_array_equal(total, 1)
    assert np.abs(blend).max() <= 1


@given(st.integers(1, 700), st.integers(1, 700))
@settings(max_examples=200)
def test_taps_are_a_convex_mix_of_neighbours(n, m):
    index, weight = tiling.taps(n, m)
    assert index.shape == weight.shape
    assert len(index) == m
    assert index.min() >= 0
    assert index.max() < n
    assert weight.min() >= 0
    np.testing.assert_allclose(weight.sum(axis=1), 1, atol=1e-6)
    # Centres of gravity lie where they should: a filter that is shifted by half a pixel fails.
    centre = (weight * (index + 0.5)).sum(axis=1)
    wanted = (np.arange(m) + 0.5) * n / m
    inner = (wanted >= max(n / m, 1)) & (wanted <= n - max(n / m, 1))
    np.testing.assert_allclose(centre[inner], wanted[inner], atol=0.1)


def test_taps_by_hand():
    # From 4 to 2: centres 1 and 3, support 2, so weights 1 - |d| / 2 at d = -0.5, 0.5, 1.5.
    index, weight = tiling.taps(4, 2)
    assert index.tolist() == [[0, 1, 2], [1, 2, 3]]
    np.testing.assert_allclose(weight, [[3 / 7, 3 / 7, 1 / 7], [1 / 7, 3 / 7, 3 / 7]], rtol=1e-6)
    # From 2 to 4: plain interpolation that repeats the edge.
    index, weight = tiling.taps(2, 4)
    dense = np.zeros((4, 2))
    np.add.at(dense, (np.arange(4)[:, None], index), weight)
    np.testing.assert_allclose(dense, [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])


def test_a_photo_of_the_working_size_is_copied():
    image = data.astronaut()
    np.testing.assert_array_equal(tiling.resample(image, 512, 512), image)


@pytest.mark.parametrize("size", [(512, 683), (64, 100), (1000, 700), (700, 300), (300, 900)])
def test_resample_is_the_filter_of_training_scripts(size):
    """Pillow's bilinear resize, whose result it rounds after each axis, and torch's exactly."""
    import torch

    height, width = size
    image = np.asarray(Image.fromarray(data.astronaut()).resize((480, 640), Image.Resampling.BOX))
    ours = tiling.resample(image, height, width)
    pillow = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    assert np.abs(ours - np.asarray(pillow)).max() <= 1.01
    tensor = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()
    theirs = torch.nn.functional.interpolate(tensor, size, mode="bilinear", antialias=True)
    # torch computes its weights in float32, we in float64.
    np.testing.assert_allclose(ours, theirs[0].permute(1, 2, 0).numpy(), atol=0.02)


def test_sharpen_by_hand():
    unit = np.zeros((5, 5, 1), np.float32)
    unit[2, 2] = 0.3
    row = np.array([0, -1, 5, -1, 0]) / 3
    np.testing.assert_allclose(tiling.sharpen(unit)[:, :, 0], 0.3 * np.outer(row, row), atol=1e-7)
    np.testing.assert_allclose(tiling.sharpen(np.full((4, 6, 3), 0.5, np.float32)), 0.5, atol=1e-7)
    edge = np.zeros((1, 4, 1), np.float32)
    edge[0, 0] = 0.3  # beside it, beyond the edge, the same value again
    np.testing.assert_allclose(tiling.sharpen(edge)[0, :, 0], [0.4, -0.1, 0, 0], atol=1e-7)


def test_sharpen_stays_within_the_range():
    unit = np.random.default_rng(0).uniform(-1, 1, (64, 64, 3)).astype(np.float32)
    sharp = tiling.sharpen(unit)
    assert sharp.dtype == np.float32
    assert np.abs(sharp).max() == 1


@pytest.mark.parametrize("period", [3, 4, 5, 8, 16, 64])
def test_sharpen_makes_up_for_enlarging_and_scaling_down(period):
    x = np.arange(192)
    wave = 0.3 * np.sin(2 * np.pi * x / period)
    unit = np.repeat(wave[None, :, None], 96, 0).astype(np.float32)

    def there_and_back(small):
        return tiling.resample(tiling.resample(small, 96 * 6, 192 * 6), 96, 192)[:, 8:-8]

    left = there_and_back(tiling.sharpen(unit))
    strength = float((left * unit[:, 8:-8]).sum() / (unit[:, 8:-8] ** 2).sum())
    assert 0.98 < strength < 1.13
    without = there_and_back(unit)
    assert (without**2).sum() < (left**2).sum()


@pytest.mark.parametrize("size", [(1000, 1300), (130, 200), (1000, 90), (90, 1000)])
def test_strips_join_up(size):
    image = data.astronaut()[:300, :400]
    parts = list(tiling.resample_strips(image, *size))
    assert [rows.start for rows, _ in parts] == [0, *(rows.stop for rows, _ in parts[:-1])]
    assert max(len(strip) for _, strip in parts) <= 64
    joined = np.concatenate([strip for _, strip in parts])
    # One axis after the other, whole, in the order that the strips use.
    across, down = tiling.taps(400, size[1]), tiling.taps(300, size[0])
    dense_x = np.zeros((size[1], 400))
    np.add.at(dense_x, (np.arange(size[1])[:, None], across[0]), across[1])
    dense_y = np.zeros((size[0], 300))
    np.add.at(dense_y, (np.arange(size[0])[:, None], down[0]), down[1])
    dense = np.einsum("yh,hwc,xw->yxc", dense_y, image, dense_x, optimize=True)
    np.testing.assert_allclose(joined, dense, atol=1e-3)
