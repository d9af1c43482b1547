"""ONNX graphs: names, the cut before the head, order of nodes, and what is inside when they run."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from rid_core.errors import RidError
from rid_export.backends.onnx.graph import (
    activations,
    bytes_at_the_ends,
    head,
    name_layers,
    nodes,
    open_model,
    sort_nodes,
    weighted,
    with_head,
    without_head,
)
from rid_export.quantization import images_of

pytestmark = pytest.mark.slow  # converts the tiny network


@pytest.fixture
def model(small_onnx: Any) -> Any:
    """Of the tiny network; may be edited."""
    return copy.deepcopy(small_onnx[1])


@pytest.fixture(scope="module")
def image(small_images: Any) -> np.ndarray:
    return next(images_of(small_images[0]))


def find(model: Any, name: str) -> Any:
    return next(node for node in model.graph.node if node.name == name)


def test_nodes_are_called_by_their_modules(small_onnx: Any) -> None:
    graph, model, _ = small_onnx
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    layers = [node.name for node in model.graph.node if weighted(model, node)]
    state = graph.defender.state_dict()
    assert set(layers) == {n.removesuffix(".weight") for n in state if n.endswith(".weight")}
    assert "inner.0.expand/relu" in names


def test_names_are_unique_where_weights_have_none(model: Any) -> None:
    """Of weights that no module owns a layer is called after the one before it."""
    find(model, "enter").input[1] = "folded"
    weight = next(t for t in model.graph.initializer if t.name == "defender.enter.weight")
    weight.name = "folded"
    name_layers(model)
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    assert any(name.startswith("stem/conv") for name in names)
    assert "enter" not in names


def test_the_head_is_cut_off_and_put_back(model: Any, image: np.ndarray) -> None:
    import onnx

    assert [node.op_type for node in head(model)] == ["Mul", "Add", "Clip"]
    trunk = without_head(model)
    onnx.checker.check_model(trunk, full_check=True)
    assert [output.name for output in trunk.graph.output] == ["delta"]
    assert len(trunk.graph.node) == len(model.graph.node) - 3
    assert len(trunk.graph.initializer) < len(model.graph.initializer)  # eps went with the head
    whole = with_head(trunk, model)
    onnx.checker.check_model(whole, full_check=True)
    names = ["protected", "delta"]
    before, after = (open_model(each).predict(image, names) for each in (model, whole))
    assert all(np.array_equal(before[name], after[name]) for name in names)


def test_a_trunk_of_another_network_shows(model: Any, image: np.ndarray) -> None:
    """A planted fault: the head goes on with what the trunk gives, whatever that is."""
    trunk = without_head(model)
    for node in trunk.graph.node:
        if node.op_type == "Tanh":
            node.op_type = "Sin"
    whole = with_head(trunk, model)
    before, after = (open_model(each).predict(image, ["protected"]) for each in (model, whole))
    assert not np.allclose(before["protected"], after["protected"], atol=1e-3)


def test_bytes_at_the_ends(model: Any, image: np.ndarray) -> None:
    import onnx

    names = ["protected", "delta"]
    before = open_model(model).predict(image, names)
    bytes_at_the_ends(model)
    onnx.checker.check_model(model, full_check=True)
    after = open_model(model).predict(image, names)
    assert after["protected"].dtype == np.uint8
    assert after["delta"].dtype == np.float32
    np.testing.assert_allclose(after["delta"], before["delta"], atol=1e-4)
    assert np.abs(after["protected"] - before["protected"] * 255).max() <= 0.51


def test_bytes_at_the_ends_without_protected(model: Any) -> None:
    import onnx

    trunk = without_head(model)
    bytes_at_the_ends(trunk)
    onnx.checker.check_model(trunk, full_check=True)
    assert [node.op_type for node in trunk.graph.node].count("QuantizeLinear") == 0


def test_nodes_are_put_in_order(model: Any, image: np.ndarray) -> None:
    import onnx

    wanted = open_model(model).delta(image)
    backwards = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(backwards)
    with pytest.raises(onnx.checker.ValidationError):
        onnx.checker.check_model(model)
    sort_nodes(model)
    onnx.checker.check_model(model, full_check=True)
    assert np.array_equal(open_model(model).delta(image), wanted)


def test_the_head_has_constants_of_its_own(model: Any, image: np.ndarray) -> None:
    """A planted fault: the trunk's constant of the same name is in half precision, and another."""
    import onnx
    from onnx import numpy_helper

    constants = {tensor.name for tensor in model.graph.initializer}
    (scale,) = (node for node in head(model) if node.op_type == "Mul")
    (eps,) = constants.intersection(scale.input)
    trunk = without_head(model)
    trunk.graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float16), eps))
    whole = with_head(trunk, model)
    onnx.checker.check_model(whole, full_check=True)
    names = ["protected", "delta"]
    before, after = (open_model(each).predict(image, names) for each in (model, whole))
    assert all(np.array_equal(before[name], after[name]) for name in names)


@pytest.mark.parametrize("fault", ["nothing gives it", "a circle"])
def test_a_node_without_an_input_is_named(fault: str, model: Any) -> None:
    node = find(model, "enter")
    node.input[0] = "gone" if fault == "nothing gives it" else node.output[0]
    with pytest.raises(RidError, match="the quantizer left enter without an input"):
        sort_nodes(model)


def test_what_is_inside_is_what_torch_computes(small_onnx: Any, image: np.ndarray) -> None:
    import torch

    graph, model, _ = small_onnx
    seen: dict[str, np.ndarray] = {}
    hook = graph.defender.enter.register_forward_hook(
        lambda module, given, result: seen.update(enter=result.numpy())
    )
    try:
        graph(torch.from_numpy(image.transpose(2, 0, 1)[None]))
    finally:
        hook.remove()
    inside = activations(model)(image)
    np.testing.assert_allclose(inside[find(model, "enter").output[0]], seen["enter"], atol=1e-4)
    assert inside.keys() >= {"delta", "protected"}
    assert np.array_equal(inside["delta"][0], open_model(model).delta(image))


def test_integers_are_shown_as_what_they_stand_for(image: np.ndarray) -> None:
    import onnx
    from onnx import helper, numpy_helper

    grid = ["scale", "zero"]
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, 64, 64])
        for name in ("image", "delta")
    ]
    constants = (np.float32(1 / 50), "scale"), (np.uint8(100), "zero")
    graph = helper.make_graph(
        [
            helper.make_node("Neg", ["image"], ["dark"]),
            helper.make_node("QuantizeLinear", ["dark", *grid], ["stored"]),
            helper.make_node("DequantizeLinear", ["stored", *grid], ["delta"]),
        ],
        "rounded",
        ends[:1],
        ends[1:],
        [numpy_helper.from_array(np.asarray(value), name) for value, name in constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    inside = activations(model)(image)
    assert "stored" not in inside
    planes = image.transpose(2, 0, 1)[None]
    error = np.abs(inside["dark"] + planes)
    assert 0.005 < error.max() < 0.0101  # what is read, rounded to steps of 1/50
    assert np.array_equal(inside["dark"], inside["delta"])


def test_layers_on_the_way_to_delta(small_onnx: Any) -> None:
    model = small_onnx[1]
    found = nodes(model)
    names = [node.name for node in found]
    assert names[0] == "stem"
    assert not {"Mul", "Clip", "DepthToSpace", "Relu", "Tanh"} & {node.kind for node in found}
    last = next(node for node in found if node.name == "to_image.conv")
    assert last.bent  # its tanh is its own
    # What a shuffle moved is read under the name of what it moved.
    tensors = {node.tensor for node in found} | {"image"}
    assert all(set(node.inputs) <= tensors for node in found)


def test_a_damaged_model_does_not_load(model: Any) -> None:
    find(model, "enter").op_type = "NoSuchOperator"
    with pytest.raises(Exception, match="NoSuchOperator"):
        open_model(model)
