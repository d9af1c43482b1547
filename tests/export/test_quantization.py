"""What quantizing has in common in all formats: layers compared, ranges, and the search for layers
that are kept in float."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rid_core.quantization.grids import Grids
from rid_core.quantization.rounding import Grid, corrected_bias, round_weights
from rid_core.quantization.sensitivity import (
    MOST_IN_FLOAT,
    Sensitivity,
    float_order,
    sensitivity,
)
from rid_export.layers import (
    LayerError,
    QuantizationReport,
    Step,
    compared_steps,
    layer_errors,
    worst_layer,
)
from rid_export.quantization import (
    Quantizer,
    falls_short,
    judge,
    least_figures,
    search_float_layers,
    tensor_ranges,
)

LEAST = {"delta_sqnr_db": 22.0}


def figures(db: float) -> dict[str, float]:
    return {"delta_sqnr_db": db}


def layer(name: str, source: str, channels: int = 8) -> Step:
    return Step(name, "Conv", "layer", (source,), f"t{name}", channels)


# -- layers ---------------------------------------------------------------------------------------


def test_errors_are_compared_layer_by_layer() -> None:
    steps = [layer("a", "image"), layer("b", "ta"), layer("gone", "tb")]
    exact = {"ta": np.ones(100), "tb": np.ones(100), "image": np.ones(3)}
    wrong = exact | {"tb": np.full(100, 1.1)}
    rows = layer_errors(steps, lambda _: exact, lambda _: wrong, [np.zeros(1)])
    assert [row.name for row in rows] == ["a", "b"]  # a tensor that is gone is left out
    assert rows[1].sqnr_db == pytest.approx(20, abs=0.01)
    assert rows[0].sqnr_db == 200
    assert worst_layer(rows) == "; worst layer: b (20.0 dB, its input 200.0 dB)"
    assert worst_layer(()) == ""


def test_a_layer_ends_behind_its_own_relu_and_moves_are_seen_through() -> None:
    steps = [
        layer("a", "x"),
        Step("a/relu", "Relu", "activation", ("ta",), "tr"),
        Step("a/move", "Reshape", "move", ("tr",), "tm"),
        layer("b", "tm"),
        Step("sum", "Add", "sum", ("tb", "tm"), "ts"),
        Step("b/relu", "Relu", "activation", ("tb",), "tq"),
    ]
    found = compared_steps(steps)
    assert [(step.name, step.output) for step in found[:2]] == [("a", "tr"), ("b", "tb")]
    assert found[0].fused
    assert not found[1].fused  # something else reads it before the ReLU
    assert found[1].inputs == ("tr",)


# -- ranges, biases, what works on floats ---------------------------------------------------------

GRIDS = Grids(
    {name: Grid(-1, 1) for name in ("a.input", "a", "b", "c.input", "c")},
    {name: np.ones(8) for name in ("a.input", "a", "b", "c.input", "c")},
    {"a": "a.input", "b": "a", "c": "c.input"},
    {"a": 1, "b": 1, "c": 1},
)
STEPS = [
    layer("a", "image", 3),
    Step("a/relu", "Relu", "activation", ("ta",), "tr"),
    layer("b", "tr"),
    Step("b/sum", "Add", "sum", ("tb", "tr"), "ts"),
    layer("c", "ts"),
    Step("c/tanh", "Tanh", "activation", ("tc",), "delta"),
    Step("c/gelu", "Gelu", "other", ("delta",), "more"),
]


class Listed(Quantizer[frozenset[str]]):
    def build(self, float_layers: frozenset[str] = frozenset()) -> frozenset[str]:
        return float_layers

    def predictor(self, model: frozenset[str]) -> Any:
        raise NotImplementedError

    def activations(self, model: frozenset[str]) -> Any:
        raise NotImplementedError


WEIGHTS = {f"{name}.weight": np.full((4, 8, 1, 1), 0.01) for name in "abc"} | {
    f"{name}.bias": np.zeros(4) for name in "ab"
}


def listed(precision: str, grids: Grids | None = GRIDS) -> Listed:
    for value in WEIGHTS.values():
        if value.ndim == 4:
            value[:, 0] = 1.0
    return Listed(frozenset(), precision, STEPS, grids, WEIGHTS)


def test_ranges_follow_what_keeps_them() -> None:
    ranges = tensor_ranges(STEPS, GRIDS)
    assert ranges.keys() == {"image", "ta", "tr", "tb", "ts", "tc", "delta"}
    assert ranges["delta"] == Grid(-1.0, 1.0)
    spoilt = dataclasses.replace(GRIDS, grids=dict(GRIDS.grids) | {"a": Grid(0, 7)})
    assert tensor_ranges(STEPS, spoilt)["tr"] == Grid(0, 7)


def test_sums_and_what_was_not_calibrated_are_in_float() -> None:
    assert listed("int8").in_float(frozenset()) == {"b/sum", "c/gelu"}
    assert listed("int8").in_float(frozenset("c")) == {"b/sum", "c", "c/tanh", "c/gelu"}
    wide = listed("w8a16")
    wide.rounds_sums = frozenset(("w8a16",))  # type: ignore[misc]
    assert wide.in_float(frozenset()) == {"c/gelu"}


def test_narrow_layers_are_in_float_in_int8_alone() -> None:
    assert listed("int8").narrow_layers == {"a"}
    assert not listed("w8a16").narrow_layers
    assert not listed("w8", None).narrow_layers
    assert listed("w8", None).layers == ["a", "b", "c"]


def test_biases_are_corrected_where_weights_are_rounded() -> None:
    assert listed("w8", None).biases(frozenset()) == {}
    assert listed("int8").biases(frozenset("a")).keys() == {"a", "b"}  # c has none
    assert listed("w8a16").biases(frozenset("a")).keys() == {"b"}  # a is float altogether
    fine = listed("int8").biases(frozenset("a"), 127.5)
    coarse = corrected_bias(WEIGHTS["a.bias"], WEIGHTS["a.weight"], np.ones(8), 127)
    assert np.array_equal(fine["a"], coarse)  # a layer kept in float has its own kind of weights
    assert not np.array_equal(fine["b"], coarse)


@pytest.mark.parametrize("shape", [(6, 4, 1, 1), (6, 1, 3, 3), (6, 4, 2, 2)])
def test_the_mean_of_the_output_is_kept(shape: tuple[int, ...]) -> None:
    import torch

    random = np.random.default_rng(0)
    weight, bias = random.normal(size=shape).astype(np.float32), random.normal(size=6)
    depthwise = shape[1] == 1
    mean = random.uniform(1, 3, 6 if depthwise else shape[1])
    rounded = round_weights(torch.from_numpy(weight)).numpy()
    fresh = corrected_bias(bias, weight, mean, 127)

    def output(w: np.ndarray, b: np.ndarray) -> np.ndarray:
        taps = w.reshape(*w.shape[:2], -1).sum(2)
        return np.asarray((taps[:, 0] * mean if depthwise else taps @ mean) + b)

    np.testing.assert_allclose(output(rounded, fresh), output(weight, bias), atol=1e-5)
    assert np.abs(output(rounded, bias) - output(weight, bias)).max() > 1e-3


# -- the search -----------------------------------------------------------------------------------


def test_enough_at_once() -> None:
    done = search_float_layers(lambda f: f, lambda f: figures(30), lambda m: ["a"], LEAST)
    assert done.float_layers == ()
    assert done.before == done.after


def test_the_shortest_beginning_of_a_plan() -> None:
    built = []

    def build(layers: frozenset[str]) -> frozenset[str]:
        built.append(len(layers))
        return layers

    plan = [f"l{n}" for n in range(16)]
    done = search_float_layers(build, lambda f: figures(18 + len(f)), lambda m: plan, LEAST)
    assert done.float_layers == ("l0", "l1", "l2", "l3", "l4")  # 22 and the margin
    assert (done.before, done.after) == (figures(18), figures(23))
    assert len(built) <= 6


def test_a_plan_that_is_not_enough_is_taken_whole() -> None:
    done = search_float_layers(lambda f: f, lambda f: figures(len(f)), lambda m: ["a", "b"], LEAST)
    assert done.float_layers == ("a", "b")
    assert falls_short(done.after, LEAST)


def test_the_report_survives_json() -> None:
    rows = (LayerError("a", "Conv", 1, 2, 0.5),)
    report = QuantizationReport(("a",), figures(20), figures(23), rows, ("stem",))
    read = QuantizationReport.from_dict(json.loads(json.dumps(dataclasses.asdict(report))))
    assert read == report
    assert read.in_float == ("stem", "a")


def test_the_worst_image_counts() -> None:
    random = np.random.default_rng(0)
    truth = [random.normal(size=(8, 8, 3)) for _ in range(3)]
    noise = iter((0.01, 0.1, 0.001))
    answers = iter([value * (1 + next(noise)) for value in truth])
    found = judge(lambda image: next(answers), truth, truth, 8)
    assert found["delta_sqnr_db"] == pytest.approx(20, abs=0.01)
    assert found["delta_cosine"] == pytest.approx(1)
    assert found["delta_sign_agreement"] == 1
    assert least_figures("int8") == {
        "delta_sqnr_db": 22,
        "delta_cosine": 0.997,
        "delta_sign_agreement": 0.97,
    }
    assert least_figures("w8a16")["delta_sqnr_db"] == least_figures("w8")["delta_sqnr_db"] == 28


# -- which layers are worth float: noise per multiply-add ----------------------------------------


def chain(noise: dict[str, float], products: dict[str, int] | None = None) -> Sensitivity:
    """``a`` reads the image, ``b`` what ``a`` gives, ``c`` a sum."""
    sources = {"a": "a.input", "b": "a", "c": "c.input"}
    return Sensitivity(noise, sources, products or {"a": 10, "b": 10, "c": 10})


def test_a_layer_takes_its_own_rounding_along() -> None:
    quiet = {"a.input": 0.0, "a": 0.0, "b": 0.0, "c.input": 0.0, "c": 0.0}
    assert float_order(chain(quiet)) == []
    assert float_order(chain(quiet | {"c.input": 1e-3})) == ["c"]


def test_what_is_read_by_an_integer_layer_stays_rounded() -> None:
    quiet = {"a.input": 0.0, "a": 1e-3, "b": 0.0, "c.input": 0.0, "c": 0.0}
    assert sorted(float_order(chain(quiet))) == ["a", "b"]  # neither alone is worth anything


def test_small_layers_come_first() -> None:
    noise = {"a.input": 2e-3, "a": 0.0, "b": 0.0, "c.input": 1e-3, "c": 0.0}
    assert float_order(chain(noise, {"a": 90, "b": 40, "c": 1}))[0] == "c"


def test_layers_that_are_in_float_anyway_are_not_planned_and_count() -> None:
    noise = dict.fromkeys(("a.input", "a", "b", "c.input", "c"), 1e-3)
    assert float_order(chain(noise, {"a": 10, "b": 60, "c": 30}), frozenset("c")) == ["a"]
    sizes = {"a": 50, "b": 20, "c": 30}
    assert "a" not in float_order(chain(noise, sizes), frozenset("c"))  # 80 % would be in float
    quiet = dict.fromkeys(noise, 0.0) | {"a": 1e-3}
    # A layer that was not measured, such as one that has another name in torch, does no harm.
    assert float_order(chain(quiet), frozenset(("b", "else"))) == [
        "a"
    ]  # its reader is in float already


def test_most_of_the_network_stays_in_integers() -> None:
    noise = dict.fromkeys(("a.input", "a", "b", "c.input", "c"), 1e-3)
    found = float_order(chain(noise, {"a": 40, "b": 40, "c": 20}))
    assert sum({"a": 40, "b": 40, "c": 20}[name] for name in found) <= 100 * MOST_IN_FLOAT


def test_measured_on_a_network(small_checkpoint: Path, small_images: Any) -> None:
    from rid_core.checkpoint import load_checkpoint
    from rid_core.quantization.grids import calibrate

    portraits, calibration = small_images
    defender, _ = load_checkpoint(small_checkpoint)
    grids = calibrate(defender, calibration)
    found = sensitivity(defender, grids, list(portraits))
    assert found.noise.keys() == grids.grids.keys()
    assert found.noise["stem.input"] < 1e-6  # 8-bit images are on the grid already
    assert 1e-7 < max(found.noise.values()) < 0.1
    order = float_order(found)
    assert len(set(order)) == len(order)
    assert set(order) <= set(found.products)
