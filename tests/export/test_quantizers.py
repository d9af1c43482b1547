"""Every format in each precision: what is in the file, and that ranges and biases arrive there."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rid_core.quantization.grids import calibrate
from rid_export import quantization
from rid_export.calibration import CalibrationData
from rid_export.quantization import Quantizer, images_of, judge, least_figures, quantize
from rid_export.spec import ExportSpec

pytestmark = pytest.mark.slow
FORMATS = ("onnx", "tflite", "coreml")
WEIGHT_PRECISIONS = (
    *(("onnx", "fp16"), ("onnx", "w8"), ("tflite", "fp16"), ("tflite", "w8")),
    *(pytest.param("coreml", name, marks=pytest.mark.full) for name in ("w8", "pal8")),
)


class Small:
    """The tiny defender in one format.

    Attributes:
        kind: the format.
        graph: what was converted.
        exact: the float model.
        grids: of its activations.
    """

    def __init__(self, kind: str, made: Any, images: Any, scratch: Path) -> None:
        self.kind = kind
        self.graph, self.exact, self.grids = made
        self.graph.calibration = CalibrationData(*images)
        self.images = list(images_of(images[0]))
        self._scratch = scratch
        predict = self.quantizer("fp16" if kind != "coreml" else "w8").predictor
        exact = self.quantizer("w8").exact
        self.truth = [predict(exact)(image) for image in self.images]

    def quantizer(self, precision: str, grids: Any = "own") -> Quantizer[Any]:
        from rid_export.backends.coreml.graph import name_layers
        from rid_export.backends.coreml.quantize import CoreMLQuantizer
        from rid_export.backends.litert.quantize import TFLiteQuantizer
        from rid_export.backends.onnx.quantize import OnnxQuantizer

        if isinstance(grids, str):
            grids = self.grids if precision in ("int8", "w8a16") else None
        weights = self.graph.weights()
        if self.kind == "coreml":
            names = name_layers(self.exact.get_spec(), dict(self.graph.defender.named_modules()))
            return CoreMLQuantizer(
                self.exact, precision, grids, weights, names=names, scratch=self._scratch
            )
        make = OnnxQuantizer if self.kind == "onnx" else TFLiteQuantizer
        return make(self.exact, precision, grids, weights)

    def figures(self, quantizer: Quantizer[Any], model: Any) -> dict[str, float]:
        return dict(judge(quantizer.predictor(model), self.images, self.truth, 6))

    def db(self, precision: str, *, grids: Any = "own", everything: bool = False) -> float:
        """SQNR of delta, with no layer in float or with all."""
        quantizer = self.quantizer(precision, grids)
        floats = frozenset(quantizer.layers if everything else ())
        return self.figures(quantizer, quantizer.build(floats))["delta_sqnr_db"]

    def quantize(self, precision: str) -> Any:
        spec = ExportSpec(self.kind, precision, resolution=64)
        return quantize(lambda grids: self.quantizer(precision, grids), self.graph, spec)


@pytest.fixture(scope="module")
def small(request: Any, small_images: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """``small("onnx")``; each is converted once."""
    made: dict[str, Small] = {}

    def get(kind: str) -> Small:
        if kind not in made:
            converted = request.getfixturevalue(f"small_{kind}")
            made[kind] = Small(kind, converted, small_images, tmp_path_factory.mktemp(kind))
        return made[kind]

    return get


def size(kind: str, model: Any) -> int:
    if kind == "coreml":
        return sum(f.stat().st_size for f in Path(model[0].weights_dir).rglob("*") if f.is_file())
    return len(model) if kind == "tflite" else int(model.ByteSize())


@pytest.mark.parametrize(("kind", "precision"), WEIGHT_PRECISIONS)
def test_small_weights_reach_their_bound(kind: str, precision: str, small: Any) -> None:
    made = small(kind)
    quantizer = made.quantizer(precision)
    model = quantizer.build()
    found = made.figures(quantizer, model)
    for name, bound in least_figures(precision).items():
        assert found[name] >= bound, (name, found)
    assert size(kind, model) < size(kind, quantizer.exact)


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_16_bits_lose_less_than_8_and_layers_in_float_nothing(kind: str, small: Any) -> None:
    made = small(kind)
    assert made.db("w8a16") > made.db("int8") + 2
    assert made.db("w8a16", everything=True) > 60


@pytest.mark.parametrize("kind", FORMATS)
def test_int8_layers_in_float_keep_small_weights(kind: str, small: Any) -> None:
    quantizer = small(kind).quantizer("int8")
    everything, spared = quantizer.build(), quantizer.build(frozenset(quantizer.layers))
    assert size(kind, spared) < 1.1 * size(kind, everything)
    before, after = (small(kind).figures(quantizer, model) for model in (everything, spared))
    assert before["delta_sqnr_db"] + 2 < after["delta_sqnr_db"] < 60


@pytest.mark.parametrize("kind", FORMATS)
def test_ranges_and_biases_arrive_in_the_file(kind: str, small: Any) -> None:
    """Planted faults: the grid of one tensor is ten times too narrow, or all means are wrong."""
    made = small(kind)
    grids = made.grids
    name = grids.sources["leave.conv"]
    narrow = dataclasses.replace(grids.grids[name], high=grids.grids[name].high / 10)
    spoilt = dataclasses.replace(grids, grids={**grids.grids, name: narrow})
    sound = made.db("int8")
    quantizer = made.quantizer("int8", spoilt)
    model = quantizer.build()
    assert made.figures(quantizer, model)["delta_sqnr_db"] < sound - 3
    rows = quantizer.errors(model, made.images[:1])
    worst = max(rows, key=lambda row: row.added)  # the sum that is rounded, or its reader
    assert worst.kind.upper() == "ADD" or worst.name in ("leave.conv", "to_image.conv")
    means = {name: 30 * mean for name, mean in grids.means.items()}
    assert made.db("int8", grids=dataclasses.replace(grids, means=means)) < sound - 1


@pytest.mark.parametrize("kind", FORMATS)
def test_layers_are_called_by_their_modules(kind: str, small: Any) -> None:
    made = small(kind)
    state = made.graph.weights()
    quantizer = made.quantizer("int8")
    assert set(quantizer.layers) == {n.removesuffix(".weight") for n in state if ".weight" in n}
    assert set(made.grids.sources) <= set(quantizer.layers)
    assert quantizer.steps[-1].output == "delta"
    by_name = {step.name: step for step in quantizer.steps}
    assert by_name["stem"].channels == 3
    assert by_name["encoder.0.depthwise"].channels == 1
    rows = quantizer.errors(quantizer.build(), made.images[:1])
    assert {"stem", "encoder.0.depthwise", "up.conv", "to_image.conv"} <= {r.name for r in rows}
    assert all(row.sqnr_db > 12 for row in rows)


@pytest.mark.parametrize("kind", ["onnx", "tflite", pytest.param("coreml", marks=pytest.mark.full)])
def test_as_many_layers_as_the_gate_needs(
    kind: str, small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = small(kind)
    monkeypatch.setattr(quantization, "least_figures", lambda _: {"delta_sqnr_db": 1.0})
    _, plain = made.quantize("int8")
    assert plain.float_layers == ()
    assert plain.before == plain.after
    narrow = made.quantizer("int8").narrow_layers
    assert set(plain.idle_layers) == narrow
    asked = plain.after["delta_sqnr_db"] + 0.5
    monkeypatch.setattr(quantization, "least_figures", lambda _: {"delta_sqnr_db": asked})
    _, report = made.quantize("int8")
    assert 1 <= len(report.float_layers) <= 5
    assert not narrow.intersection(report.float_layers)
    assert report.before == plain.after
    assert report.after["delta_sqnr_db"] > asked


@pytest.mark.parametrize(
    ("kind", "precision"),
    [("tflite", "w8"), pytest.param("coreml", "pal8", marks=pytest.mark.full)],
)
def test_weights_stay_in_float_until_the_gate_holds(
    kind: str, precision: str, small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = small(kind)
    _, plain = made.quantize(precision)
    assert (plain.float_layers, plain.idle_layers) == ((), ())
    asked = plain.after["delta_sqnr_db"] + 0.5
    monkeypatch.setattr(quantization, "least_figures", lambda _: {"delta_sqnr_db": asked})
    _, report = made.quantize(precision)
    assert report.float_layers
    assert report.after["delta_sqnr_db"] > asked


# -- TFLite ---------------------------------------------------------------------------------------


def tflite_graph(made: Small, *floats: str) -> Any:
    from rid_export.backends.litert.graph import Graph, read_model

    return Graph(read_model(made.quantizer("int8").build(frozenset(floats))))


def test_tflite_int8_is_quantized_up_to_delta_and_the_head_is_float(small: Any) -> None:
    graph = tflite_graph(small("tflite"))
    for operator in graph.operators:
        kind = graph.kind(operator)
        types = {str(graph.dtype(int(t))) for t in (operator.inputs[0], operator.outputs[0])}
        if kind in ("CONV_2D", "DEPTHWISE_CONV_2D", "TANH"):
            assert types == {"int8"}, graph.name(int(operator.outputs[0]))
        if kind in ("ADD", "MUL", "RELU_0_TO_1"):  # residual sums and the head
            assert types == {"float32"}
        if kind == "CONV_2D":  # a scale per channel
            weight = graph.tensors[int(operator.inputs[1])]
            assert len(weight.quantization.scale) == weight.shape[0]
            assert not np.any(weight.quantization.zeroPoint)
    for name in ("image", "delta", "protected"):
        assert graph.dtype(graph.end(name)) == np.float32
    # The codes of rows and columns are stored in half precision.
    halves = [n for n in range(len(graph.tensors)) if graph.dtype(n) == np.float16]
    codes = [name for name in small("tflite").graph.weights() if name.endswith(".of_row")]
    assert len(halves) == 2 * max(len(codes), 2)
    assert all(graph.name(n).endswith(".half") for n in halves)


def test_tflite_narrow_layers_are_float(small: Any) -> None:
    made = small("tflite")
    graph = tflite_graph(made, *made.quantizer("int8").narrow_layers)
    found = Counter()
    for operator in graph.operators:
        kind, dtype = graph.kind(operator), str(graph.dtype(int(operator.outputs[0])))
        if kind in ("DEPTHWISE_CONV_2D", "CONV_2D"):
            photo = graph.tensors[int(operator.inputs[1])].shape[-1] == 3
            found["narrow" if kind != "CONV_2D" or photo else "wide", dtype] += 1
    assert {("narrow", "float32"), ("wide", "int8")} == found.keys()


# -- ONNX -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["fp16", "w8", "w8a16", "int8"])
def test_onnx_operators_are_of_the_standard(precision: str, small: Any) -> None:
    import onnx

    model = small("onnx").quantizer(precision).build()
    onnx.checker.check_model(model, full_check=True)
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    assert {entry.domain for entry in model.opset_import} <= {"", "ai.onnx"}
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    producer = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node if precision == "int8" else ():
        sources = {producer[name].op_type for name in node.input if name in producer}
        readers = {n.op_type for n in model.graph.node if set(node.output) & set(n.input)}
        if node.op_type == "Conv":
            assert sources == {"DequantizeLinear"}, node.name
            assert readers <= {"QuantizeLinear", "Relu"}, node.name
        if node.op_type in ("Clip", "Mul"):
            assert "QuantizeLinear" not in readers


def test_onnx_int8_says_why_it_may_be_slower(small: Any, tmp_path: Path) -> None:
    import onnx

    from rid_export.registry import get_target

    for precision, told in (("int8", True), ("w8", False)):
        path = tmp_path / f"{precision}.onnx"
        onnx.save(small("onnx").quantizer(precision).build(), path)
        lines = get_target("onnx").remarks(path)
        assert [("not always faster" in line) for line in lines] == [True] * told


def test_per_channel() -> None:
    from rid_export.backends.onnx.edits import per_channel

    value = np.array([[1.0, -2.0], [0.0, 0.0], [0.001, 0.0005]])
    stored, scale = per_channel(value, 0)
    assert stored.dtype == np.int8
    assert scale.tolist() == pytest.approx([2 / 127, 1, 0.001 / 127])
    np.testing.assert_allclose(stored * scale[:, None], value, atol=1 / 127)


# -- Core ML --------------------------------------------------------------------------------------


def test_coreml_rounds_what_every_layer_reads(small: Any) -> None:
    from rid_export.backends.coreml.graph import block_of

    quantizer = small("coreml").quantizer("int8")
    model, _ = quantizer.build(frozenset(("stem", "enter")))
    kinds = Counter(operation.type for operation in block_of(model.get_spec()).operations)
    assert kinds["constexpr_affine_dequantize"] == kinds["conv"]
    # Layers that read the same tensor share its pair.
    read = {step.inputs[0] for step in quantizer.steps if step.role == "layer"}
    assert len(read) - 2 <= kinds["quantize"] == kinds["dequantize"] <= kinds["conv"] - 2


@pytest.mark.full
def test_coreml_transformer(small_dit: Path, small_images: Any, tmp_path: Path) -> None:
    from rid_core.checkpoint import load_checkpoint
    from rid_export.backends.coreml.convert import to_program
    from rid_export.graph import ExportGraph

    defender, card = load_checkpoint(small_dit)
    graph = ExportGraph(defender, card.levels, "nchw", protected_scale=255)
    grids = calibrate(graph.defender, small_images[1])
    made = Small("coreml", (graph, to_program(graph, 64, half=True), grids), small_images, tmp_path)
    assert {"embed", "blocks.0.qkv", "blocks.1.fc2", "head"} <= set(made.quantizer("int8").layers)
    assert made.db("int8") > 22
    assert made.db("w8") > 28
