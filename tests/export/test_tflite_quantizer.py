"""TFLite in each precision: what is in the file, and that the int8 kernels do what it says."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from rid_core.defenders.mobile import PositionalEncoding
from rid_export.backends.litert.flatbuffer import Graph, read_model
from rid_export.backends.litert.quantize import TFLiteQuantizer, tflite_layer_errors
from rid_export.backends.litert.runner import TFLiteRunner, nodes
from rid_export.fidelity import judge, least_figures
from rid_export.quantization import Yardstick, images_of, quantize

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def truth(small_tflite: Any, small_images: Any) -> Any:
    images = list(images_of(small_images[0]))
    runner = TFLiteRunner(small_tflite[1], keep=False)
    return images, [runner.delta(image) for image in images]


def grids_for(precision: str, small_tflite: Any) -> Any:
    return small_tflite[2] if precision in ("int8", "w8a16") else None


@pytest.mark.parametrize("precision", ["fp16", "w8"])
def test_each_precision_reaches_its_bound(precision: str, small_tflite: Any, truth: Any) -> None:
    data = TFLiteQuantizer(small_tflite[1], precision, grids_for(precision, small_tflite)).build()
    figures = judge(TFLiteRunner(data, keep=False).delta, *truth, 6)
    for name, bound in least_figures(precision).items():
        assert figures[name] >= bound, (name, figures)
    assert len(data) < len(small_tflite[1])


def test_16_bits_lose_less_than_8(small_tflite: Any, truth: Any) -> None:
    found = {}
    for precision in ("w8a16", "int8"):
        made = TFLiteQuantizer(small_tflite[1], precision, grids_for(precision, small_tflite))
        figures = judge(TFLiteRunner(made.build(), keep=False).delta, *truth, 6)
        found[precision] = figures["delta_sqnr_db"]
    assert found["w8a16"] > found["int8"] + 2


def test_int8_is_quantized_up_to_delta_and_the_head_is_float(small_tflite: Any) -> None:
    graph = Graph(read_model(TFLiteQuantizer(small_tflite[1], "int8", small_tflite[2]).build()))
    for operator in graph.operators:
        kind = graph.kind(operator)
        types = {str(graph.dtype(int(t))) for t in (operator.inputs[0], operator.outputs[0])}
        if kind in ("CONV_2D", "DEPTHWISE_CONV_2D", "TANH"):
            assert types == {"int8"}, graph.name(int(operator.outputs[0]))
        if kind in ("ADD", "MUL", "RELU_0_TO_1"):  # residual sums and the head
            assert types == {"float32"}
    for name in ("image", "delta", "protected"):
        assert graph.dtype(graph.end(name)) == np.float32


def test_weights_have_a_scale_per_channel(small_tflite: Any) -> None:
    graph = Graph(read_model(TFLiteQuantizer(small_tflite[1], "int8", small_tflite[2]).build()))
    for operator in graph.operators:
        if graph.kind(operator) == "CONV_2D":
            weight = graph.tensors[int(operator.inputs[1])]
            assert len(weight.quantization.scale) == weight.shape[0]
            assert not np.any(weight.quantization.zeroPoint)


def test_layers_in_float_keep_small_weights(small_tflite: Any, truth: Any) -> None:
    quantizer = TFLiteQuantizer(small_tflite[1], "int8", small_tflite[2])
    everything = quantizer.build()
    spared = quantizer.build(frozenset(quantizer.layers))
    assert len(spared) < 1.1 * len(everything)
    before = judge(TFLiteRunner(everything, keep=False).delta, *truth, 6)["delta_sqnr_db"]
    after = judge(TFLiteRunner(spared, keep=False).delta, *truth, 6)["delta_sqnr_db"]
    assert after > before + 3


def test_with_16_bits_layers_in_float_are_float_altogether(small_tflite: Any, truth: Any) -> None:
    quantizer = TFLiteQuantizer(small_tflite[1], "w8a16", small_tflite[2])
    spared = quantizer.build(frozenset(quantizer.layers))
    assert judge(TFLiteRunner(spared, keep=False).delta, *truth, 6)["delta_sqnr_db"] > 60


def test_ranges_come_from_the_grids(small_tflite: Any, truth: Any) -> None:
    """A planted fault: the grid of one tensor is ten times too narrow."""
    import dataclasses

    grids = small_tflite[2]
    name = grids.sources["leave.conv"]
    narrow = dataclasses.replace(grids.grids[name], high=grids.grids[name].high / 10)
    spoilt = dataclasses.replace(grids, grids={**grids.grids, name: narrow})
    found = []
    for each in (grids, spoilt):
        data = TFLiteQuantizer(small_tflite[1], "int8", each).build()
        found.append(judge(TFLiteRunner(data, keep=False).delta, *truth, 6)["delta_sqnr_db"])
        rows = tflite_layer_errors(small_tflite[1], data, truth[0][:1])
    assert found[0] > found[1] + 3
    assert max(rows, key=lambda row: row.added).name in ("leave.conv", "to_image.conv")


def test_layers_are_named_by_modules(small_tflite: Any) -> None:
    names = [node.name for node in nodes(Graph(read_model(small_tflite[1])))]
    assert {"stem", "enter", "inner.0.expand", "leave.conv", "to_image.conv"} <= set(names)
    assert set(small_tflite[2].sources) <= set(names) | {"places.of_row", "places.of_column"}


def test_notes_tell_before_and_after(small_tflite: Any, small_images: Any) -> None:
    graph, data, grids = small_tflite
    from functools import partial

    from rid_export.sensitivity import sensitivity

    measure = partial(sensitivity, graph.defender, grids, list(small_images[0]))
    quantizer = TFLiteQuantizer(data, "int8", grids)
    _, notes = quantize(quantizer, Yardstick(small_images[0], 6, measure))
    assert notes.after["delta_sqnr_db"] >= notes.before["delta_sqnr_db"]
    assert notes.after["delta_sqnr_db"] >= 22
    assert bool(notes.float_layers) == (notes.after != notes.before)
    assert Counter(row.kind for row in notes.layers)["CONV_2D"] > 5


def test_what_8_bits_do_not_make_faster_is_in_float_even_if_the_gate_does_not_ask(
    small_tflite: Any, small_images: Any
) -> None:
    from unittest.mock import patch

    _, data, grids = small_tflite
    quantizer = TFLiteQuantizer(data, "int8", grids)
    with patch("rid_export.quantization.least_figures", return_value={"delta_sqnr_db": 1.0}):
        made, notes = quantize(quantizer, Yardstick(small_images[0], 6))
    assert (notes.float_layers, notes.before) == ((), notes.after)
    assert "stem" in notes.idle_layers
    assert "inner.0.expand" not in notes.idle_layers
    assert set(notes.in_float) == quantizer.idle
    graph = Graph(read_model(made))
    depthwise, dense = set(), set()
    for operator in graph.operators:
        kind, dtype = graph.kind(operator), str(graph.dtype(int(operator.outputs[0])))
        if kind == "DEPTHWISE_CONV_2D":
            depthwise.add(dtype)
        elif kind == "CONV_2D":
            photo = graph.tensors[int(operator.inputs[1])].shape[-1] == 3
            (depthwise if photo else dense).add(dtype)
    assert (depthwise, dense) == ({"float32"}, {"int8"})
    for precision in ("fp16", "w8", "w8a16"):
        assert not TFLiteQuantizer(data, precision, grids_for(precision, small_tflite)).idle


def test_codes_of_places_are_stored_in_half_precision(small_tflite: Any) -> None:
    graph = Graph(read_model(TFLiteQuantizer(small_tflite[1], "int8", small_tflite[2]).build()))
    halves = [n for n in range(len(graph.tensors)) if graph.dtype(n) == np.float16]
    places = [m for m in small_tflite[0].defender.modules() if isinstance(m, PositionalEncoding)]
    assert len(halves) == 2 * len(places) > 0
    assert all(graph.name(n).endswith(".half") for n in halves)
