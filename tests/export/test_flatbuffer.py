"""TFLite files as objects: what is read is what was stored, and what is written still runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rid_core.errors import RidError
from rid_core.runtimes.litert import open_model
from rid_export.backends.litert.graph import Graph, read_model, write_model
from rid_export.quantization import images_of

pytestmark = pytest.mark.slow  # converts the tiny network


@pytest.fixture
def graph(small_tflite: Any) -> Graph:
    """Of the tiny network, read anew."""
    return Graph(read_model(small_tflite[1]))


def first(graph: Graph, kind: str) -> Any:
    return next(operator for operator in graph.operators if graph.kind(operator) == kind)


def outputs(data: bytes, small_images: Any) -> dict[str, np.ndarray]:
    return open_model(data).predict(next(images_of(small_images[0])))


def same_outputs(data: bytes, other: bytes, small_images: Any) -> bool:
    one, two = outputs(data, small_images), outputs(other, small_images)
    return one.keys() == two.keys() and all(np.array_equal(one[name], two[name]) for name in one)


def test_a_file_survives_reading_and_writing(small_tflite: Any, small_images: Any) -> None:
    data = small_tflite[1]
    again = write_model(read_model(data))
    assert again == write_model(read_model(again))
    assert again[4:8] == b"TFL3"
    assert same_outputs(data, again, small_images)


def test_a_changed_weight_arrives_in_the_outputs(
    graph: Graph, small_tflite: Any, small_images: Any
) -> None:
    """A planted fault: were weights copied from elsewhere, editing would do nothing."""
    weight = int(first(graph, "CONV_2D").inputs[1])
    value = graph.constant(weight)
    assert value is not None
    graph.tensors[weight].buffer = graph.add_buffer(-value)
    assert not same_outputs(small_tflite[1], write_model(graph.model), small_images)


def test_weights_behind_the_flatbuffer_are_read(
    graph: Graph, small_tflite: Any, small_images: Any
) -> None:
    """Files above 2 GB keep their buffers behind the flatbuffer, by offset and size."""
    weight = int(first(graph, "CONV_2D").inputs[1])
    value = graph.constant(weight)
    assert value is not None
    buffer = graph.model.buffers[graph.tensors[weight].buffer]
    buffer.data, buffer.offset, buffer.size = None, 1 << 20, value.nbytes
    buffer.offset = len(write_model(graph.model))  # an offset of another value is no longer
    data = write_model(graph.model) + value.tobytes()
    again = Graph(read_model(data))
    read = again.constant(weight)
    assert read is not None
    assert np.array_equal(read, value)
    assert same_outputs(small_tflite[1], write_model(again.model), small_images)


def test_weights_are_aligned_and_equal_ones_are_stored_once(graph: Graph) -> None:
    from ai_edge_litert import schema_py_generated as schema

    large = np.random.default_rng(0).integers(0, 256, 100_003, np.uint8)
    before = len(write_model(graph.model))
    for name in ("one", "other"):
        graph.add_tensor(name, 0, buffer=graph.add_buffer(large.copy()))
    data = write_model(graph.model)
    assert large.nbytes <= len(data) - before < 1.1 * large.nbytes
    origin = np.frombuffer(data, np.uint8).__array_interface__["data"][0]
    stored = schema.Model.GetRootAs(data, 0)
    views = [stored.Buffers(index).DataAsNumpy() for index in range(stored.BuffersLength())]
    starts = [
        v.__array_interface__["data"][0] for v in views if isinstance(v, np.ndarray) and v.size
    ]
    assert len(starts) > 20
    assert not any((start - origin) % 16 for start in starts)


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\xff" * 64], ids=["empty", "short", "foreign"])
def test_what_is_no_model_is_not_read(data: bytes) -> None:
    with pytest.raises(Exception, match=r".+"):
        read_model(data)


def test_operators_and_tensors_are_described(graph: Graph) -> None:
    operator = graph.operators[0]
    assert graph.kind(operator) == "CONV_2D"
    image, weight = int(operator.inputs[0]), int(operator.inputs[1])
    assert (graph.name(image), graph.dtype(image)) == ("image", np.float32)
    value = graph.constant(weight)
    assert value is not None
    assert list(value.shape) == list(graph.tensors[weight].shape)
    assert graph.constant(image) is None  # computed, or given
    assert graph.constant(-1) is None  # an input that is left out
    eps = first(graph, "MUL").inputs[1]
    assert graph.constant(int(eps)) == pytest.approx(6 / 255)


def test_old_files_keep_the_operator_in_the_older_field(graph: Graph) -> None:
    operator = graph.operators[0]
    code = graph.model.operatorCodes[operator.opcodeIndex]
    assert code.builtinCode == code.deprecatedBuiltinCode != 0
    for newer, older in ((0, code.builtinCode), (code.builtinCode, 0)):
        code.builtinCode, code.deprecatedBuiltinCode = newer, older
        assert graph.kind(operator) == "CONV_2D"


def test_a_tensor_is_added_like_another(graph: Graph) -> None:
    image = graph.end("image")
    shape = np.array([1, 2], np.int32)
    added = graph.add_tensor("more", image, shape=shape)
    assert added == len(graph.tensors) - 1
    assert (graph.name(added), graph.dtype(added)) == ("more", np.float32)
    assert list(graph.tensors[added].shape) == [1, 2]
    assert list(graph.tensors[image].shape) == [1, 64, 64, 3]
    with pytest.raises(AttributeError, match="colour"):
        graph.add_tensor("more", image, colour=1)


def test_operator_codes_are_reused(graph: Graph) -> None:
    codes = graph.model.operatorCodes
    known = len(codes)
    assert codes[graph.opcode("CONV_2D")].version >= 1
    assert len(codes) == known
    newer = graph.opcode("CONV_2D", version=99)
    assert (newer, codes[newer].version) == (known, 99)
    # A code that the older field, a byte, cannot hold: readers then look into the newer one.
    large = graph.new_operator("SIGN", [0], [0])
    assert codes[large.opcodeIndex].deprecatedBuiltinCode == 127
    assert graph.kind(large) == "SIGN"


def test_ends_are_found_by_name(graph: Graph) -> None:
    assert [graph.name(graph.end(name)) for name in ("image", "delta")] == ["image", "delta"]
    with pytest.raises(RidError, match="no input or output called mask"):
        graph.end("mask")


def test_the_trunk_is_what_an_output_depends_on(graph: Graph) -> None:
    kinds = [graph.kind(operator) for operator in graph.operators]
    trunk = graph.trunk("delta")
    assert trunk == sorted(trunk)
    assert kinds.index("MUL") not in trunk  # scaling by eps comes behind it
    assert len(graph.trunk("protected")) == len(kinds)
    idle = graph.new_operator("TANH", [graph.end("image")], [graph.add_tensor("idle", 0)])
    graph.operators.insert(0, idle)
    assert graph.trunk("delta") == [index + 1 for index in trunk]


def test_what_nothing_names_is_left_out(graph: Graph, small_tflite: Any, small_images: Any) -> None:
    before = len(write_model(graph.model))
    weight = int(first(graph, "CONV_2D").inputs[1])
    value = graph.constant(weight)
    assert value is not None
    graph.add_buffer(np.random.default_rng(0).standard_normal(50_000))
    graph.tensors[weight].buffer = graph.add_buffer(value)  # its old buffer is without an owner
    data = write_model(graph.model)
    assert len(data) < before + 200
    assert same_outputs(small_tflite[1], data, small_images)
