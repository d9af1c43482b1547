"""The gate on planted faults, without any file: each must be refused, and named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rid_core.budget import Budget
from rid_core.errors import RidError
from rid_export.parity import (
    compare,
    compare_worst,
    gate,
    make_reference,
    thresholds,
    worst_of,
    worst_row,
)

LEVELS = 8
BOUNDS = thresholds("fp32", LEVELS, rounded=False)


def predict(image: np.ndarray) -> np.ndarray:
    """A perturbation that depends on place, colour and value, as a network's does."""
    height, width, _ = image.shape
    wave = np.sin(np.arange(height) / 7)[:, None, None] + np.cos(np.arange(width) / 5)[:, None]
    mixed = image @ np.array([[1.5, -0.2, 0.4], [0.1, 1.0, -0.5], [-0.6, 0.3, 0.8]])
    return np.tanh(1.5 * wave * (mixed - 0.4)).astype(np.float32)


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    from rid_export.portraits import bundled_portraits

    return bundled_portraits(128)[0]


@pytest.fixture(scope="module")
def reference(portrait: np.ndarray) -> Any:
    return make_reference(predict, [portrait], LEVELS)


class Fake:
    """A runtime whose network is a Python function, with a fault planted."""

    name = "fake"

    def __init__(self, **fault: Callable[..., np.ndarray]) -> None:
        self.fault = fault

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        seen = self.fault.get("input", lambda x: x)(image)
        delta = self.fault.get("delta", lambda x: x)(predict(seen.astype(np.float32)))
        good = Budget(LEVELS).apply(image, delta) if delta.shape == image.shape else image
        make = self.fault.get("protected", lambda image, delta, good: good)
        return {"protected": make(image, delta, good), "delta": delta}


def planes(x: np.ndarray) -> np.ndarray:
    return x.transpose(2, 0, 1).reshape(x.shape)


EPS = LEVELS / 255
FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "channels of the output": ({"delta": lambda d: d[..., ::-1]}, "red and blue.*the output"),
    "channels of the input": ({"input": lambda x: x[..., ::-1]}, "red and blue.*the input"),
    "BGR throughout": (
        {"input": lambda x: x[..., ::-1], "delta": lambda d: d[..., ::-1]},
        "red and blue.*input and output",
    ),
    "NHWC for NCHW": ({"delta": planes}, "axes are mixed.*in the output"),
    "NHWC for NCHW, input": ({"input": planes}, "axes are mixed.*in the input"),
    "0..255": ({"input": lambda x: x * 255}, "0..255 instead of 0..1"),
    "-1..1": ({"input": lambda x: x * 2 - 1}, "-1..1 instead of 0..1"),
    "gamma": ({"input": lambda x: x**2.2}, "linear light.*gamma"),
    "inverse": ({"input": lambda x: 1 - x}, "inverted"),
    "sign": ({"delta": lambda d: -d}, "sign of delta is reversed"),
    "transposed": ({"delta": lambda d: d.transpose(1, 0, 2)}, "height and width are swapped"),
    "mirrored": ({"delta": lambda d: d[:, ::-1]}, "mirrored"),
    "zero": ({"delta": np.zeros_like}, "zero everywhere"),
    "constant": ({"delta": lambda d: np.full_like(d, 0.5)}, "the same everywhere"),
    "scale of delta": ({"delta": lambda d: d * 0.9}, r"delta is scaled by 0\.9 "),
    "eps inside delta": ({"delta": lambda d: d * EPS}, r"delta is scaled by 0\.0313"),
    "tanh missing": (
        {"delta": lambda d: np.arctanh(d.clip(-0.9999, 0.9999))},
        "tanh at the end is missing",
    ),
    "clamp for tanh": (
        {"delta": lambda d: np.arctanh(d.clip(-0.9999, 0.9999)).clip(-1, 1)},
        "tanh at the end is missing, or a clamp",
    ),
    "tanh twice": ({"delta": np.tanh}, "tanh is applied twice"),
    "one channel": (
        {"delta": lambda d: d * np.array([1, 0.2, 1], np.float32)},
        "only the green channel is wrong",
    ),
    "noise": (
        {"delta": lambda d: d + np.random.default_rng(0).normal(0, 0.2, d.shape)},
        "weights differ|saturates",
    ),
    "NaN": ({"delta": lambda d: np.where(d > 0.5, np.nan, d)}, "delta holds NaN"),
    "shape": ({"delta": lambda d: d.transpose(2, 0, 1)}, r"shape \[3, 128, 128\] instead of"),
    "eps doubled": (
        {"protected": lambda x, d, _: (x + 2 * EPS * d).clip(0, 1)},
        r"change_levels is 1\d.*adds 2 times eps",
    ),
    "eps halved": (
        {"protected": lambda x, d, _: (x + EPS / 2 * d).clip(0, 1)},
        r"protected_error_levels.*adds 0\.5 times eps",
    ),
    "not added": ({"protected": lambda x, d, _: x}, "delta is not added"),
    "not clamped": ({"protected": lambda x, d, _: x + EPS * d}, "clamp at the end is missing"),
    "times 255": ({"protected": lambda x, d, good: good * 255}, "not in 0..1"),
    "protected holds delta": ({"protected": lambda x, d, good: d}, "outputs are swapped"),
    "protected in BGR": (
        {"protected": lambda x, d, _: Budget(LEVELS).apply(x[..., ::-1], d)},
        "red and blue swapped",
    ),
    "protected in int8": (
        {"protected": lambda x, d, good: np.rint(good * 127) / 127},
        "protected is not clamp",
    ),
    "NaN in protected": (
        {"protected": lambda x, d, good: np.where(good > 0.9, np.inf, good)},
        "protected holds NaN or infinity",
    ),
}


def test_sound(reference: Any) -> None:
    outcome = gate(Fake(), reference, BOUNDS)
    assert outcome.portraits == 1
    measured = {bound.name for bound in BOUNDS} - {"retained_shift"}  # needs an encoder
    assert {check.name for check in outcome.checks} == measured
    assert all(check.passed for check in outcome.checks)


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_refused_and_named(reference: Any, name: str) -> None:
    fault, text = FAULTS[name]
    with pytest.raises(RidError, match=text) as caught:
        gate(Fake(**fault), reference, BOUNDS)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("fake: ")


def test_missing_output(reference: Any) -> None:
    class Half(Fake):
        def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
            return {"delta": super().run(image)["delta"]}

    with pytest.raises(RidError, match="output protected is missing; there are delta"):
        gate(Half(), reference, BOUNDS)
    gate(Half(), reference, BOUNDS, outputs=("delta",))


def test_worst_portrait_counts(portrait: np.ndarray) -> None:
    flipped = np.ascontiguousarray(portrait[::-1])
    both = make_reference(predict, [portrait, flipped], LEVELS)

    class SecondWrong(Fake):
        def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
            self.fault = {} if image is portrait else {"delta": lambda d: d * 0.99}
            return super().run(image)

    with pytest.raises(RidError, match="delta_sqnr_db is 40"):
        gate(SecondWrong(), both, BOUNDS)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (lambda d: d if d.shape[0] == d.shape[1] else d * 0.9, "128 x 128 pixels it agrees: is a"),
        (lambda d: d * 0.9, "delta is scaled by 0.9"),
        (lambda d: d[::-1, ::-1], "rotated by 180 degrees"),
    ],
)
def test_portraits_of_several_sizes(
    fault: Callable[[np.ndarray], np.ndarray], text: str, portrait: np.ndarray
) -> None:
    """The size is named; a quarter turn, which an oblong cannot make, is not even tried."""
    wide = np.ascontiguousarray(portrait[:64])
    reference = make_reference(predict, [portrait, wide], LEVELS)
    assert reference.sizes == ((128, 128), (64, 128))
    assert gate(Fake(), reference, BOUNDS).portraits == 2
    with pytest.raises(RidError, match=r" at (64|128) x 128 pixels: .*" + text):
        gate(Fake(delta=fault), reference, BOUNDS)


def test_what_a_runtime_raises_is_one_line_that_names_the_size(portrait: np.ndarray) -> None:
    def crash(delta: np.ndarray) -> np.ndarray:
        raise RuntimeError("a broadcast\nof 4 by 16")

    reference = make_reference(predict, [np.ascontiguousarray(portrait[:, :32])], LEVELS)
    with pytest.raises(RidError, match=r"fake cannot run it at 128 x 32 pixels.*broadcast of 4"):
        gate(Fake(delta=crash), reference, BOUNDS)


def test_rounded_images_may_be_half_a_level_off(reference: Any) -> None:
    rounds = Fake(protected=lambda x, d, good: np.rint(good * 255) / 255)
    gate(rounds, reference, thresholds("fp32", LEVELS, rounded=True))
    with pytest.raises(RidError, match="protected_error_levels"):
        gate(rounds, reference, BOUNDS)


def test_untrained_and_broken_checkpoints(portrait: np.ndarray) -> None:
    with pytest.raises(RidError, match="untrained"):
        make_reference(np.zeros_like, [portrait], LEVELS)
    with pytest.raises(RidError, match="not finite"):
        make_reference(lambda x: x * np.float32("nan"), [portrait], LEVELS)


def test_statistics() -> None:
    reference = np.array([1.0, -1.0, 0.01, -0.01])
    found = compare(reference, reference + np.array([0.1, 0, 0, 0.02]), visible=0.125)
    assert found.sqnr_db == pytest.approx(10 * np.log10(2.0002 / 0.0104))
    assert found.max_error == pytest.approx(0.1)
    assert found.rms_error == pytest.approx((0.0104 / 4) ** 0.5)
    assert found.sign_agreement == 1
    assert compare(reference, reference + np.array([0.1, 0, 0, 0.02])).sign_agreement == 0.75
    assert compare(reference, reference).sqnr_db == 200
    assert compare(reference, -reference).cosine == pytest.approx(-1)
    assert compare(reference, 0 * reference).cosine == 0
    assert compare(0 * reference, reference).sqnr_db == -200


def test_each_figure_is_the_worst_over_the_images() -> None:
    rows = [
        {"delta_sqnr_db": 30.0, "ssim": 0.9, "delta_max_error": 0.1, "retained_shift": 0.8},
        {"delta_sqnr_db": 20.0, "ssim": 0.95, "delta_max_error": 0.3},
        {"delta_sqnr_db": 40.0, "ssim": 0.99, "delta_max_error": 0.2},
    ]
    assert [worst_row(rows, name) for name in rows[0]] == [1, 0, 1, 0]
    assert worst_of(rows) == {
        "delta_sqnr_db": 20.0, "ssim": 0.9, "delta_max_error": 0.3, "retained_shift": 0.8,
    }  # fmt: skip
    truth = np.linspace(-1, 1, 48).reshape(4, 4, 3)
    noisy = truth + np.where(np.arange(4) % 2, 0.1, -0.1)[:, None, None]
    assert compare_worst([truth, truth], iter([noisy, truth])) == compare(truth, noisy)
