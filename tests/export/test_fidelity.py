from __future__ import annotations

import numpy as np
import pytest
from rid_export.fidelity import judge, least_figures


def test_the_worst_image_counts() -> None:
    random = np.random.default_rng(0)
    truth = [random.normal(size=(8, 8, 3)) for _ in range(3)]
    noise = {0: 0.01, 1: 0.1, 2: 0.001}
    numbers = iter(range(3))

    def predict(image: np.ndarray) -> np.ndarray:
        number = next(numbers)
        return np.asarray(truth[number] * (1 + noise[number]))

    found = judge(predict, truth, truth, 8)
    assert found["delta_sqnr_db"] == pytest.approx(20, abs=0.01)
    assert found["delta_cosine"] == pytest.approx(1)
    assert found["delta_sign_agreement"] == 1


def test_bounds_are_those_of_the_gate() -> None:
    assert least_figures("int8") == {
        "delta_sqnr_db": 22,
        "delta_cosine": 0.997,
        "delta_sign_agreement": 0.97,
    }
    assert least_figures("fp16")["delta_sqnr_db"] == 40
    assert least_figures("w8a16")["delta_sqnr_db"] == least_figures("w8")["delta_sqnr_db"] == 28
