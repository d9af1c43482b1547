from __future__ import annotations

import numpy as np
import pytest
from rid_export.biases import corrected_bias, rounding_error


@pytest.mark.parametrize("shape", [(6, 4, 1, 1), (6, 1, 3, 3), (6, 4, 2, 2)])
def test_the_mean_of_the_output_is_kept(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    weight, bias = random.normal(size=shape), random.normal(size=6)
    depthwise = shape[1] == 1
    mean = random.uniform(1, 3, 6 if depthwise else shape[1])
    rounded = weight + rounding_error(weight, 0, 127)
    fresh = corrected_bias(bias, weight, mean, 127)

    def output(w: np.ndarray, b: np.ndarray) -> np.ndarray:
        taps = w.reshape(*w.shape[:2], -1).sum(2)
        return np.asarray((taps[:, 0] * mean if depthwise else taps @ mean) + b)

    np.testing.assert_allclose(output(rounded, fresh), output(weight, bias), atol=1e-5)
    assert np.abs(output(rounded, bias) - output(weight, bias)).max() > 1e-3


def test_rounding_is_symmetric_with_one_scale_a_row() -> None:
    weight = np.array([[1.0, 0.0, -1.0], [0.0, 0.0, 0.0], [127.0, 0.4, 0.6]])
    error = rounding_error(weight, 0, 127)
    assert np.abs(error[:2]).max() < 1e-12
    np.testing.assert_allclose(error[2], [0, -0.4, 0.4], atol=1e-12)
