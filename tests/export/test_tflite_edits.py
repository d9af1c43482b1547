"""Edits of a TFLite model: what they change, that the outputs stay, and what they leave alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rid_core.errors import RidError
from rid_core.runtimes.litert import open_model
from rid_export.backends.litert import edits
from rid_export.backends.litert.graph import TFLiteGraph, name_layers, read_model, write_model
from rid_export.quantization import images_of

pytestmark = pytest.mark.slow  # converts the tiny network


@pytest.fixture(scope="module")
def raw(small_tflite: Any, small_checkpoint: Path) -> bytes:
    """As the converter wrote it."""
    return small_checkpoint.with_name("small.tflite").read_bytes()


@pytest.fixture
def graph(raw: bytes) -> TFLiteGraph:
    return TFLiteGraph(read_model(raw))


@pytest.fixture(scope="module")
def weights(small_tflite: Any) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in small_tflite[0].defender.state_dict().items()}


@pytest.fixture(scope="module")
def image(small_images: Any) -> np.ndarray:
    return next(images_of(small_images[0]))


def outputs(graph: TFLiteGraph, image: np.ndarray) -> dict[str, np.ndarray]:
    return open_model(write_model(graph.model)).predict(image)


def kinds(graph: TFLiteGraph) -> Counter[str]:
    return Counter(graph.kind(operator) for operator in graph.operators)


def codes_of_places(graph: TFLiteGraph) -> list[Any]:
    """Additions of a constant map."""
    found = []
    for operator in graph.operators:
        values = [graph.constant(int(t)) for t in operator.inputs]
        if graph.kind(operator) == "ADD" and any(v is not None and v.ndim == 4 for v in values):
            found.append(operator)
    return found


def keeps_the_outputs(
    graph: TFLiteGraph, image: np.ndarray, edit: Callable[[TFLiteGraph], object]
) -> None:
    before = outputs(graph, image)
    edit(graph)
    after = outputs(graph, image)
    assert before.keys() == after.keys()
    for name, value in before.items():
        np.testing.assert_allclose(after[name], value, atol=1e-4, err_msg=name)


# -- sums of places -------------------------------------------------------------------------------


def test_sums_of_places_are_split(graph: TFLiteGraph, image: np.ndarray) -> None:
    folded = codes_of_places(graph)
    fused = [int(op.builtinOptions.fusedActivationFunction) for op in folded]
    size = len(write_model(graph.model))
    keeps_the_outputs(graph, image, lambda g: edits.split_sums(g))
    split = codes_of_places(graph)
    assert len(split) == 2 * len(folded) > 0
    # What was fused behind the sum is now behind its second half.
    assert [int(op.builtinOptions.fusedActivationFunction) for op in split[1::2]] == fused
    assert not any(op.builtinOptions.fusedActivationFunction for op in split[::2])
    assert len(write_model(graph.model)) < size
    assert edits.split_sums(graph) == 0


def spoil_a_cell(value: np.ndarray) -> np.ndarray:
    value = value.copy()
    value[0, 1, 1, 0] += 0.01
    return value


@pytest.mark.parametrize("fault", ["no sum", "used twice"])
def test_other_constants_are_left_alone(fault: str, graph: TFLiteGraph) -> None:
    every = codes_of_places(graph)
    for operator in every:
        x, constant = (int(t) for t in operator.inputs)
        value = graph.constant(constant)
        assert value is not None
        if fault == "no sum":
            graph.tensors[constant].buffer = graph.add_buffer(spoil_a_cell(value))
        else:
            more = graph.new_operator("SUB", [x, constant], [graph.add_tensor("more", x)])
            graph.operators.append(more)
    before = write_model(graph.model)
    assert edits.split_sums(graph) == 0
    assert write_model(graph.model) == before


# -- names ----------------------------------------------------------------------------------------


def test_layers_are_called_by_their_modules(graph: TFLiteGraph, weights: Any) -> None:
    name_layers(graph, weights)
    names = [graph.name(index) for index in range(len(graph.tensors))]
    assert len(set(names)) == len(names)
    assert {"image", "delta", "protected"} <= set(names)
    for operator in graph.operators:
        if not graph.weighted(operator):
            continue
        layer = graph.name(int(operator.outputs[0]))
        stored = graph.constant(int(operator.inputs[1]))
        assert stored is not None
        wanted = weights[f"{layer}.weight"]
        assert np.array_equal(np.sort(stored, axis=None), np.sort(wanted, axis=None)), layer


def test_weights_of_no_module_are_called_by_the_layer_before(
    graph: TFLiteGraph, weights: Any
) -> None:
    known = {name: value for name, value in weights.items() if not name.startswith("enter.")}
    name_layers(graph, known)
    names = {graph.name(index) for index in range(len(graph.tensors))}
    assert "stem/conv_2d" in names
    assert "enter" not in names


# -- biases ---------------------------------------------------------------------------------------


def test_biases_are_the_networks_own(graph: TFLiteGraph, image: np.ndarray, weights: Any) -> None:
    """The stem's bias is not zero, and the converter hides it among the codes of places."""
    edits.split_sums(graph)
    name_layers(graph, weights)

    def biases() -> dict[str, tuple[int, np.ndarray]]:
        found = {}
        for operator in graph.operators:
            if graph.weighted(operator):
                bias = int(operator.inputs[2])
                value = graph.constant(bias)
                assert value is not None
                found[graph.name(int(operator.outputs[0]))] = (bias, value)
        return found

    hidden = {n for n, (_, v) in biases().items() if not np.array_equal(v, weights[f"{n}.bias"])}
    assert hidden == {"stem"}, "the converter no longer does what own_biases undoes"
    keeps_the_outputs(graph, image, lambda g: edits.own_biases(g, weights))
    after = biases()
    for name, (bias, value) in after.items():
        assert np.array_equal(value, weights[f"{name}.bias"])
        assert graph.name(bias) == f"{name}.bias"
    tensors = [bias for bias, _ in after.values()]
    assert len({graph.tensors[bias].buffer for bias in tensors}) == len(set(tensors)) == len(after)


def test_a_bias_that_cannot_be_moved_stays(
    graph: TFLiteGraph, image: np.ndarray, weights: Any
) -> None:
    """A planted fault: torch's bias of a layer that no constant is added to is another one."""
    name_layers(graph, weights)
    other = weights | {"enter.bias": weights["enter.bias"] + 1}
    keeps_the_outputs(graph, image, lambda g: edits.own_biases(g, other))


# -- shuffles and the clamp -----------------------------------------------------------------------


def test_shuffles_become_one_operator_each(graph: TFLiteGraph, image: np.ndarray) -> None:
    before = outputs(graph, image)
    assert edits.shuffle_at_once(graph) == 3
    assert kinds(graph)["DEPTH_TO_SPACE"] == 3
    assert not kinds(graph).keys() & {"RESHAPE", "TRANSPOSE"}
    for name, value in outputs(graph, image).items():
        np.testing.assert_allclose(value, before[name], atol=1e-6, err_msg=name)
    assert edits.shuffle_at_once(graph) == 0


def test_shuffles_of_int16_stay_as_they_are(graph: TFLiteGraph) -> None:
    """LiteRT has no DEPTH_TO_SPACE for them, and refused such files."""
    from ai_edge_litert import schema_py_generated as schema

    for operator in graph.operators:
        if graph.kind(operator) == "RESHAPE":
            graph.tensors[int(operator.inputs[0])].type = schema.TensorType.INT16
    assert edits.shuffle_at_once(graph) == 0


def test_another_transpose_is_left_alone(graph: TFLiteGraph) -> None:
    (order,) = {int(o.inputs[1]) for o in graph.operators if graph.kind(o) == "TRANSPOSE"}
    graph.tensors[order].buffer = graph.add_buffer(np.array([0, 1, 3, 2], np.int32))
    assert edits.shuffle_at_once(graph) == 0
    assert kinds(graph)["TRANSPOSE"] == 3


def test_the_clamp_is_the_same_in_two(graph: TFLiteGraph, image: np.ndarray) -> None:
    before = outputs(graph, image)
    assert edits.clamp_in_two(graph) == 1
    assert not kinds(graph)["RELU_0_TO_1"]
    after = outputs(graph, image)
    assert np.array_equal(before["protected"], after["protected"])
    for extreme in (np.zeros_like(image), np.ones_like(image)):
        protected = outputs(graph, extreme)["protected"]
        assert protected.min() >= 0
        assert protected.max() <= 1


def test_a_clamp_whose_sum_is_read_elsewhere_is_left_alone(graph: TFLiteGraph) -> None:
    """A planted fault: with a ReLU in the sum, its other reader would get another value."""
    clamp = next(o for o in graph.operators if graph.kind(o) == "RELU_0_TO_1")
    total = int(clamp.inputs[0])
    graph.operators.append(graph.new_operator("TANH", [total], [graph.add_tensor("more", total)]))
    before = write_model(graph.model)
    assert edits.clamp_in_two(graph) == 0
    assert write_model(graph.model) == before


def test_a_shuffle_whose_inside_is_read_elsewhere_is_left_alone(graph: TFLiteGraph) -> None:
    """A planted fault: that reader would lose its input."""
    for operator in list(graph.operators):
        if graph.kind(operator) == "TRANSPOSE":
            moved = int(operator.outputs[0])
            more = graph.add_tensor(f"more of {graph.name(moved)}", moved)
            graph.operators.append(graph.new_operator("TANH", [moved], [more]))
    assert edits.shuffle_at_once(graph) == 0
    assert kinds(graph)["TRANSPOSE"] == 3


# -- any rank -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def transformer(small_dit: Path) -> tuple[bytes, dict[str, np.ndarray]]:
    """A tiny transformer as the converter wrote it, and its weights."""
    import litert_torch

    from rid_core.checkpoint import load_checkpoint
    from rid_export.graph import ExportGraph

    defender, card = load_checkpoint(small_dit)
    graph = ExportGraph(defender, card.levels, "nhwc")
    path = small_dit.with_name("dit.tflite")
    litert_torch.convert(graph, sample_kwargs={"image": graph.example(64)}).export(str(path))
    state = {name: value.numpy() for name, value in graph.defender.state_dict().items()}
    return path.read_bytes(), state


def test_a_transformer_keeps_its_outputs(
    transformer: tuple[bytes, dict[str, np.ndarray]], image: np.ndarray
) -> None:
    data, state = transformer
    graph = TFLiteGraph(read_model(data))
    ranks = {len(graph.shape(tensor)) for tensor in range(len(graph.tensors))}
    assert ranks >= {1, 2, 3, 4, 5}, "the converter no longer makes what this test is about"

    def all_edits(graph: TFLiteGraph) -> None:
        edits.split_sums(graph)
        name_layers(graph, state)
        edits.own_biases(graph, state)
        edits.shuffle_at_once(graph)
        assert edits.clamp_in_two(graph) == 1

    keeps_the_outputs(graph, image, all_edits)
    layers = {graph.name(int(o.outputs[0])) for o in graph.operators if graph.weighted(o)}
    known = {name.removesuffix(".weight") for name in state if name.endswith(".weight")}
    # The converter multiplies the first layer's weights by the 2 of ``image * 2 - 1``.
    assert layers == known - {"embed"} | {"input/conv_2d"}


@pytest.mark.parametrize("rank", [0, 1, 2, 3, 5, 6])
def test_edits_leave_other_ranks_alone(rank: int, graph: TFLiteGraph, weights: Any) -> None:
    """Every tensor gets another rank; what was a shuffle or a sum of codes is none any more."""
    for index, tensor in enumerate(graph.tensors):
        size = int(np.prod(graph.shape(index)))
        axes = rank or (0 if graph.constant(index) is None else 1)
        tensor.shape = np.array([*([1] * (axes - 1)), size][: axes or 0], np.int32)
    assert edits.split_sums(graph) == 0
    name_layers(graph, weights)
    before = {n: graph.constant(n) for n in range(len(graph.tensors))}
    edits.own_biases(graph, weights)
    for index, value in before.items():
        after = graph.constant(index)
        if value is not None and after is not None and not graph.name(index).endswith(".bias"):
            assert np.array_equal(after, value), graph.name(index)
    assert edits.shuffle_at_once(graph) == 0
    assert edits.clamp_in_two(graph) == 1
    edits.half_constants(graph)
    edits.bytes_at_the_ends(graph)


# -- half precision -------------------------------------------------------------------------------


def test_codes_of_places_are_halved(graph: TFLiteGraph, image: np.ndarray) -> None:
    edits.split_sums(graph)
    maps = len(codes_of_places(graph))
    before, size = outputs(graph, image), len(write_model(graph.model))
    assert edits.half_constants(graph) == maps > 0
    assert kinds(graph)["DEQUANTIZE"] == maps
    assert len(write_model(graph.model)) < size + 300 * maps  # a tiny network has tiny codes
    assert {graph.dtype(int(op.inputs[0])) for op in graph.operators[:maps]} == {np.dtype("f2")}
    after = outputs(graph, image)
    assert 0 < np.abs(after["delta"] - before["delta"]).max() < 0.01
    assert edits.half_constants(graph) == 0


# -- ends -----------------------------------------------------------------------------------------


def test_bytes_at_the_ends(graph: TFLiteGraph, image: np.ndarray) -> None:
    before = outputs(graph, image)
    edits.bytes_at_the_ends(graph)
    types = {name: graph.dtype(graph.end(name)).name for name in ("image", "protected", "delta")}
    assert types == {"image": "uint8", "protected": "uint8", "delta": "float32"}
    after = outputs(graph, image)
    np.testing.assert_allclose(after["delta"], before["delta"], atol=1e-4)
    assert np.abs(after["protected"] - before["protected"] * 255).max() <= 0.51


def test_bytes_at_the_ends_without_protected(graph: TFLiteGraph) -> None:
    """Exported with ``delta`` alone."""
    (signature,) = graph.model.signatureDefs
    signature.outputs = [e for e in signature.outputs if e.name not in ("protected", b"protected")]
    edits.bytes_at_the_ends(graph)
    assert graph.dtype(graph.end("image")) == np.uint8
    assert kinds(graph)["QUANTIZE"] == 0


def with_integer_end(graph: TFLiteGraph) -> int:
    """Let the signature name an integer tensor, as ai-edge-quantizer leaves it; that tensor."""
    from ai_edge_litert import schema_py_generated as schema

    delta = graph.end("delta")
    stored = graph.add_tensor("delta", delta, type=schema.TensorType.INT8, buffer=0)
    for entry in graph.ends():
        if int(entry.tensorIndex) == delta:
            entry.tensorIndex = stored
    return stored


def test_outputs_are_repaired(graph: TFLiteGraph) -> None:
    delta = graph.end("delta")
    stored = with_integer_end(graph)
    graph.operators.append(graph.new_operator("DEQUANTIZE", [stored], [delta]))
    edits.repair_outputs(graph)
    assert graph.end("delta") == delta
    assert [graph.name(delta), graph.name(stored)] == ["delta", "delta.stored"]


def test_an_output_that_the_quantizer_lost(graph: TFLiteGraph) -> None:
    with_integer_end(graph)
    with pytest.raises(RidError, match="the quantizer lost the output delta"):
        edits.repair_outputs(graph)
