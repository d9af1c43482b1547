"""The picture that shows what protection did."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from rid_core.errors import RidError
from rid_core.image import compare

FACE = data.astronaut()


def test_panels_of_a_small_photo_are_exact():
    original = FACE[:100, :80] // 2 + 60
    change = np.random.default_rng(0).integers(-8, 9, original.shape)
    protected = (original + change).astype(np.uint8)
    sheet = compare.sheet(original, protected)
    assert sheet.shape == (100, 240, 3)
    assert sheet.dtype == np.uint8
    np.testing.assert_array_equal(sheet[:, :80], original)
    np.testing.assert_array_equal(sheet[:, 80:160], protected)
    np.testing.assert_array_equal(sheet[:, 160:], np.clip(128 + 16 * change, 0, 255))


@pytest.mark.parametrize(
    ("size", "panel"),
    [
        ((768, 512), (768, 512)),
        ((769, 512), (768, 511)),  # 511.33
        ((1500, 2000), (576, 768)),
        ((4000, 64), (768, 12)),
    ],
)
def test_no_panel_is_longer_than_768(size, panel):
    grey = np.full((*size, 3), 100, np.uint8)
    sheet = compare.sheet(grey, grey + np.uint8(3))
    height, width = panel
    assert sheet.shape == (height, 3 * width, 3)
    assert [sheet[0, k * width, 0] for k in range(3)] == [100, 103, 128 + 3 * 16]
    assert sheet.min(axis=(0, 2)).tolist() == sheet.max(axis=(0, 2)).tolist()


def test_the_change_is_scaled_before_it_is_amplified():
    """What scaling averages away must not show."""
    grey = np.full((1536, 1536, 3), 100, np.uint8)
    chequered = grey.copy()
    chequered[::2, ::2] += 8
    chequered[1::2, 1::2] += 8
    chequered[::2, 1::2] -= 8
    chequered[1::2, ::2] -= 8
    third = compare.sheet(grey, chequered)[10:-10, 2 * 768 + 10 : -10]
    np.testing.assert_array_equal(third, 128)


@pytest.mark.parametrize(
    ("other", "text"),
    [
        (FACE[:-1], r"differ in shape: \(512, 512, 3\) and \(511, 512, 3\)"),
        (FACE / 255, "convert both to uint8"),
    ],
)
def test_what_cannot_be_compared(other, text):
    with pytest.raises(RidError, match=text):
        compare.sheet(FACE, other)
