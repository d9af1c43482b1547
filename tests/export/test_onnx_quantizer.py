"""ONNX in each precision: standard operators only, int8 up to delta, a float head."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from rid_export.fidelity import judge, least_figures

from rid_export.backends.onnx.graph import open_model
from rid_export.backends.onnx.quantize import OnnxQuantizer, per_channel
from rid_export.quantization import Yardstick, images_of, quantize

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def truth(small_onnx: Any, small_images: Any) -> Any:
    images = list(images_of(small_images[0]))
    runner = open_model(small_onnx[1])
    return images, [runner.delta(image) for image in images]


def grids_for(precision: str, small_onnx: Any) -> Any:
    return small_onnx[2] if precision in ("int8", "w8a16") else None


def built(precision: str, small_onnx: Any, *layers: str) -> Any:
    quantizer = OnnxQuantizer(small_onnx[1], precision, grids_for(precision, small_onnx))
    return quantizer.build(frozenset(layers))


@pytest.mark.parametrize("precision", ["fp16", "w8"])
def test_each_precision_reaches_its_bound(precision: str, small_onnx: Any, truth: Any) -> None:
    model = built(precision, small_onnx)
    figures = judge(open_model(model).delta, *truth, 6)
    for name, bound in least_figures(precision).items():
        assert figures[name] >= bound, (name, figures)
    assert model.ByteSize() < small_onnx[1].ByteSize()


def test_16_bits_lose_less_than_8(small_onnx: Any, truth: Any) -> None:
    found = {}
    for precision in ("w8a16", "int8"):
        figures = judge(open_model(built(precision, small_onnx)).delta, *truth, 6)
        found[precision] = figures["delta_sqnr_db"]
    assert found["w8a16"] > found["int8"] + 2


@pytest.mark.parametrize("precision", ["fp16", "w8", "w8a16", "int8"])
def test_all_operators_are_of_the_standard(precision: str, small_onnx: Any) -> None:
    import onnx

    model = built(precision, small_onnx)
    onnx.checker.check_model(model, full_check=True)
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    assert {entry.domain for entry in model.opset_import} <= {"", "ai.onnx"}
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT


def test_int8_layers_read_and_give_integers_and_sums_are_float(small_onnx: Any) -> None:
    model = built("int8", small_onnx)
    producer = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        sources = [producer[name].op_type for name in node.input if name in producer]
        if node.op_type == "Conv":
            assert set(sources) == {"DequantizeLinear"}, node.name
        readers = [n.op_type for n in model.graph.node if set(node.output) & set(n.input)]
        if node.op_type == "Conv":
            assert set(readers) <= {"QuantizeLinear", "Relu"}, node.name
        if node.op_type in ("Clip", "Mul"):
            assert "QuantizeLinear" not in readers


def test_layers_in_float_keep_small_weights(small_onnx: Any, truth: Any) -> None:
    quantizer = OnnxQuantizer(small_onnx[1], "int8", small_onnx[2])
    everything, spared = quantizer.build(), quantizer.build(frozenset(quantizer.layers))
    assert spared.ByteSize() < 1.1 * everything.ByteSize()
    before, after = (
        judge(open_model(model).delta, *truth, 6)["delta_sqnr_db"] for model in (everything, spared)
    )
    assert after > before + 3


def test_with_16_bits_layers_in_float_are_float_altogether(small_onnx: Any, truth: Any) -> None:
    quantizer = OnnxQuantizer(small_onnx[1], "w8a16", small_onnx[2])
    spared = quantizer.build(frozenset(quantizer.layers))
    assert judge(open_model(spared).delta, *truth, 6)["delta_sqnr_db"] > 60


def test_notes_tell_before_and_after(small_onnx: Any, small_images: Any) -> None:
    from rid_export.sensitivity import sensitivity

    graph, model, grids = small_onnx
    measure = partial(sensitivity, graph.defender, grids, list(small_images[0]))
    quantizer = OnnxQuantizer(model, "int8", grids)
    _, notes = quantize(quantizer, Yardstick(small_images[0], 6, measure))
    assert notes.after["delta_sqnr_db"] >= max(notes.before["delta_sqnr_db"], 22)
    assert {"stem", "to_image.conv"} <= {row.name for row in notes.layers}


def test_per_channel() -> None:
    value = np.array([[1.0, -2.0], [0.0, 0.0], [0.001, 0.0005]])
    stored, scale = per_channel(value, 0)
    assert stored.dtype == np.int8
    assert scale.tolist() == pytest.approx([2 / 127, 1, 0.001 / 127])
    np.testing.assert_allclose(stored * scale[:, None], value, atol=1 / 127)
