"""The bound: whatever the image, the unit perturbation and the setting, the saved file keeps it."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from rid_core.budget import DEFAULT_LEVELS, Budget, apply, verify
from rid_core.errors import RidError

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

shapes = st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(3))
images = shapes.flatmap(lambda shape: hnp.arrays(np.uint8, shape))
levels = st.integers(1, 255)
strengths = st.floats(0, 1, exclude_min=True, allow_subnormal=False)


def units(shape: tuple[int, ...]) -> st.SearchStrategy[np.ndarray]:
    """Unit perturbations, well-behaved or not: beyond [-1, 1], infinite, tiny; never NaN."""
    wild = st.floats(width=32, allow_nan=False)
    return hnp.arrays(np.float32, shape, elements=st.one_of(st.floats(-1, 1, width=32), wild))


pairs = images.flatmap(lambda image: st.tuples(st.just(image), units(image.shape)))


def through_png(array: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    buffer.seek(0)
    return np.asarray(Image.open(buffer))


def largest_change(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


@quick
@given(pairs, levels, strengths)
def test_saved_file_keeps_the_bound_in_whole_levels(pair, bound, strength):
    image, unit = pair
    saved = through_png(Budget(bound, strength).apply_uint8(image, unit))
    assert saved.dtype == np.uint8
    assert saved.shape == image.shape
    assert largest_change(image, saved) <= bound
    assert verify(image, saved, bound).within


@quick
@given(pairs, levels, strengths)
def test_saved_file_keeps_the_bound_when_computed_in_float(pair, bound, strength):
    image, unit = pair
    budget = Budget(bound, strength)
    protected = budget.apply(image.astype(np.float32) / 255, unit)
    assert protected.dtype == np.float32
    assert protected.min() >= 0
    assert protected.max() <= 1
    saved = through_png(np.rint(protected * 255).astype(np.uint8))
    assert largest_change(image, saved) <= bound
    # Both ways lead to the same file, but for halves that float cannot tell from their neighbours.
    assert largest_change(saved, budget.apply_uint8(image, unit)) <= 1


@quick
@given(pairs, levels, strengths)
def test_torch_and_numpy_agree_to_the_bit(pair, bound, strength):
    image, unit = pair
    real = image.astype(np.float32) / 255
    by_numpy = apply(real, unit, bound, strength)
    by_torch = apply(torch.from_numpy(real), torch.from_numpy(unit), bound, strength)
    assert by_torch.dtype == torch.float32
    np.testing.assert_array_equal(by_torch.numpy(), by_numpy)


@quick
@given(levels)
def test_full_bound_is_reached_and_no_more(bound):
    image = np.full((4, 4, 3), 0 if bound > 127 else 128, np.uint8)
    unit = np.ones(image.shape, np.float32)
    saved = Budget(bound).apply_uint8(image, unit)
    assert verify(image, saved, bound) == verify(image, saved, 255)
    assert verify(image, saved, bound).max_levels == bound
    if bound > 1:
        assert not verify(image, saved, bound - 1).within


def test_unit_beyond_one_is_clipped():
    image = np.full((1, 1, 3), 100, np.uint8)
    unit = np.array([[[-7.0, np.inf, -np.inf]]], np.float32)
    np.testing.assert_array_equal(Budget(8).apply_uint8(image, unit), [[[92, 108, 92]]])
    real = Budget(8).apply(image / 255, unit)
    np.testing.assert_allclose(real * 255, [[[92, 108, 92]]], atol=1e-9)


def test_result_is_clipped_to_the_range_of_the_image():
    image = np.array([[[0, 3, 255]]], np.uint8)
    unit = np.array([[[-1, -1, 1]]], np.float32)
    np.testing.assert_array_equal(Budget(8).apply_uint8(image, unit), [[[0, 0, 255]]])


def test_nan_is_refused_where_it_would_become_a_level():
    unit = np.zeros((2, 2, 3), np.float32)
    unit[1, 0, 2] = np.nan
    image = np.full((2, 2, 3), 100, np.uint8)
    with pytest.raises(RidError, match="NaN"):
        Budget(8).apply_uint8(image, unit)
    # In float it stays visible.
    assert np.isnan(Budget(8).apply(image / 255, unit)).sum() == 1


def test_eight_bit_path_refuses_other_types_and_shapes():
    unit = np.zeros((2, 2, 3), np.float32)
    with pytest.raises(RidError, match="float64"):
        Budget(8).apply_uint8(np.zeros((2, 2, 3)), unit)
    with pytest.raises(RidError, match="shape"):
        Budget(8).apply_uint8(np.zeros((4, 2, 3), np.uint8), unit)


def test_levels_are_rounded_to_the_nearest():
    unit = np.array([[[0.4, 0.6, 1.4], [-0.4, -0.6, -1.4]]], np.float32) / 8
    image = np.full(unit.shape, 100, np.uint8)
    saved = Budget(8).apply_uint8(image, unit)
    np.testing.assert_array_equal(saved, [[[100, 101, 101], [100, 99, 99]]])


def test_strength_scales():
    image = np.full((1, 1, 3), 100, np.uint8)
    unit = np.ones((1, 1, 3), np.float32)
    assert Budget(8, 0.5).apply_uint8(image, unit).max() == 104
    assert Budget(8, 0.5).eps == pytest.approx(4 / 255)


@pytest.mark.parametrize(("written", "expected"), [(6, 3), (8, 4), (12, 6), (16, 8), (2, 1)])
def test_eps_of_the_paper_is_half_as_many_levels(written, expected):
    budget = Budget.from_signed_eps(written / 255)
    assert budget == Budget(levels=expected)
    assert budget.signed_eps == pytest.approx(written / 255)
    assert budget.eps == pytest.approx(expected / 255)


@pytest.mark.parametrize("eps", [7 / 255, 0.05, 0.0, -12 / 255, 2.1, math.nan, math.inf])
def test_eps_that_is_no_whole_number_of_levels_is_refused(eps):
    with pytest.raises(RidError, match="level"):
        Budget.from_signed_eps(eps)


@pytest.mark.parametrize(
    "bad", [0, -1, 256, 300, 7.5, True, False, np.True_, math.nan, math.inf, "8", None, [8]]
)
def test_bad_levels_are_refused(bad):
    with pytest.raises(RidError, match="levels must be"):
        Budget(levels=bad)


@pytest.mark.parametrize("bad", [0, 0.0, -0.5, 1.5, math.nan, math.inf, True, "1", None])
def test_bad_strength_is_refused(bad):
    with pytest.raises(RidError, match="strength must be"):
        Budget(strength=bad)


def test_numbers_of_numpy_are_numbers():
    budget = Budget(np.int64(8), np.float32(0.5))
    assert budget == Budget(8, 0.5)
    assert type(budget.levels) is int
    assert type(budget.strength) is float
    assert Budget(8.0) == Budget(8)
    assert Budget() == Budget(DEFAULT_LEVELS, 1.0)


@quick
@given(images, st.data())
def test_verdict_is_what_a_plain_count_says(image, data):
    other = data.draw(hnp.arrays(np.uint8, image.shape))
    change = other.astype(float) - image.astype(float)
    verdict = verify(image, other, 255)
    assert verdict.max_levels == np.abs(change).max()
    assert verdict.rms_levels == pytest.approx(np.sqrt((change**2).mean()))
    if change.any():
        assert verdict.psnr == pytest.approx(10 * np.log10(255**2 / (change**2).mean()))
    else:
        assert verdict.psnr == math.inf


def test_verdict_of_a_large_image_that_is_no_view_of_one_piece(monkeypatch):
    monkeypatch.setattr("rid_core.budget._PIECE", 1000)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 50, 3), np.uint8).transpose(1, 0, 2)
    other = image.copy()
    other[0, 0, 0] ^= 0x20
    other[49, 39, 2] ^= 0x40
    verdict = verify(image, other, 63)
    assert (verdict.max_levels, verdict.within) == (64, False)
    assert verdict.rms_levels == pytest.approx(math.sqrt((32**2 + 64**2) / 6000))


def test_verdict_of_nothing():
    empty = np.zeros((0, 4, 3), np.uint8)
    assert verify(empty, empty).within


def test_verify_refuses_what_it_cannot_compare():
    image = np.zeros((2, 2, 3), np.uint8)
    with pytest.raises(RidError, match="8-bit"):
        verify(image, image.astype(np.float32))
    with pytest.raises(RidError, match="shape"):
        verify(image, image[:1])
    with pytest.raises(RidError, match="levels must be"):
        verify(image, image, 0)


def test_a_real_file_keeps_the_bound(tmp_path: Path):
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (64, 80, 3), np.uint8)
    unit = rng.uniform(-1, 1, image.shape).astype(np.float32)
    Image.fromarray(image).save(tmp_path / "a.png")
    Image.fromarray(Budget(8).apply_uint8(image, unit)).save(tmp_path / "b.png")
    before, after = (np.asarray(Image.open(tmp_path / name)) for name in ("a.png", "b.png"))
    verdict = verify(before, after)
    assert verdict.max_levels == 8
    assert verdict.within
    assert 4 < verdict.rms_levels < 5  # 8 / sqrt(3)
