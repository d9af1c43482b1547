"""Faults planted into an exported ONNX file by editing its graph in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def set_constant(model: Any, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    from onnx import numpy_helper

    for tensor in model.graph.initializer:
        if name == tensor.name:
            value = change(numpy_helper.to_array(tensor)).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(value, name))
            return
    raise AssertionError(name)


def node(model: Any, op_type: str, index: int = 0) -> Any:
    return [n for n in model.graph.node if n.op_type == op_type][index]


def double_eps(model: Any) -> None:
    names = {tensor.name for tensor in model.graph.initializer}
    (eps,) = [name for name in node(model, "Mul").input if name in names]
    set_constant(model, eps, lambda value: value * 2)


def other_weights(model: Any) -> None:
    set_constant(model, node(model, "Conv", 6).input[1], np.negative)


def nan_weights(model: Any) -> None:
    set_constant(model, node(model, "Conv", 3).input[1], lambda value: value * np.nan)


def drop_a_relu(model: Any) -> None:
    relu = node(model, "Relu")
    relu.op_type = "Identity"


def drop_tanh(model: Any) -> None:
    node(model, "Tanh").op_type = "Identity"


def column_first_shuffle(model: Any) -> None:
    for attribute in node(model, "DepthToSpace", -1).attribute:
        if attribute.name == "mode":
            attribute.s = b"DCR"


def bgr_stem(model: Any) -> None:
    set_constant(model, node(model, "Conv").input[1], lambda value: value[:, ::-1])


def input_in_levels(model: Any) -> None:
    set_constant(model, node(model, "Conv").input[1], lambda value: value * 255)
