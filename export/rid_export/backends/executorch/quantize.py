"""Quantize for XNNPACK: int8 weights per channel and int8 activations, by PyTorch's PT2E flow.

Convolutions read and give 8 bits in the ranges that all formats share; sums, scaling by eps, adding
and clamping stay float32. Every layer that is kept in float is so altogether.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from rid_core.quantization.grids import Grids
from rid_core.quantization.rounding import Grid
from rid_export.graph import ExportGraph
from rid_export.layers import Activations, Role, Step
from rid_export.quantization import Predict, Quantizer

_PREFIX = "defender."
_SHIFT = 128
"""From the integers 0 to 255 of a grid to int8."""
_ROLES: dict[str, Role] = {
    "conv2d": "layer", "linear": "layer", "add": "sum", "relu": "activation", "relu_": "activation",
    "tanh": "activation", "pixel_shuffle": "move", "pixel_unshuffle": "move", "reshape": "move",
    "permute": "move", "view": "move",
}  # fmt: skip


def traced(graph: ExportGraph, example: Tensor) -> fx.GraphModule:
    """The contract as a graph of ATen operators that can be run in torch."""
    with torch.no_grad():
        module = torch.export.export(graph, (example,), strict=False).module()
    assert isinstance(module, fx.GraphModule)
    return module


def steps(model: fx.GraphModule) -> list[Step]:
    """The operators on the way to ``delta``, in order; what follows it is left out."""
    delta = _delta(model)
    behind: set[fx.Node] = set()
    found = []
    for node in model.graph.nodes:
        if node.op != "call_function":
            continue
        if node is not delta and (
            delta in node.all_input_nodes or behind & {*node.all_input_nodes}
        ):
            behind.add(node)
            continue
        kind = str(node.target).split(".")[1]
        role = _ROLES.get(kind, "other")
        inputs = [each for each in node.all_input_nodes if each.op != "get_attr"]
        constants = [each for each in node.all_input_nodes if each.op == "get_attr"]
        name, channels = node.name, 0
        if role == "layer" and constants:
            weight = str(constants[0].target)
            name = weight.removeprefix(_PREFIX).rpartition(".")[0]
            channels = int(model.get_parameter(weight).shape[1])
        elif role == "sum" and len(inputs) < 2:
            role = "bias" if constants else "other"
        read = tuple(each.name for each in inputs)
        found.append(Step(name, kind, role, read, node.name, channels))
    return found


def _delta(model: fx.GraphModule) -> fx.Node:
    """The node that gives the unit perturbation: the last that is given, whatever else is."""
    (output,) = (node for node in model.graph.nodes if node.op == "output")
    last: fx.Node = list(output.all_input_nodes)[-1]
    return last


class ExecuTorchQuantizer(Quantizer[fx.GraphModule]):
    """See :class:`rid_export.quantization.Quantizer`; models are graphs of ATen operators."""

    def __init__(
        self,
        graph: ExportGraph,
        example: Tensor,
        precision: str,
        grids: Grids | None,
        weights: Mapping[str, np.ndarray],
    ) -> None:
        """Trace the contract."""
        model = traced(graph, example)
        super().__init__(model, precision, steps(model), grids, weights)
        self._example = example

    def build(self, float_layers: frozenset[str] = frozenset()) -> fx.GraphModule:
        """The quantized model, with some layers left in float."""
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

        model = copy.deepcopy(self.exact)
        with torch.no_grad():
            for layer, bias in self.biases(float_layers).items():
                if layer not in float_layers:
                    model.get_parameter(f"{_PREFIX}{layer}.bias").copy_(torch.from_numpy(bias))
            kept = self.in_float(float_layers)
            layers = {step.output for step in self.steps if step.role == "layer"}
            chosen = {s.output for s in self.steps if s.output in layers and s.name not in kept}
            prepared = prepare_pt2e(model, _annotator(chosen, self.ranges))
            prepared(self._example)  # weights are looked at when it runs
            converted = convert_pt2e(prepared)
        assert isinstance(converted, fx.GraphModule)
        return converted

    def predictor(self, model: fx.GraphModule) -> Predict:
        """What gives a model's ``delta``."""

        def predict(image: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                delta: np.ndarray = model(_batch(image))["delta"][0].numpy()
            return delta

        return predict

    def activations(self, model: fx.GraphModule) -> Activations:
        """What gives a model's float tensors by name."""

        def run(image: np.ndarray) -> Mapping[str, np.ndarray]:
            inside = _Inside(model)
            with torch.inference_mode():
                inside.run(_batch(image))
            return inside.found

        return run


class _Inside(fx.Interpreter):
    """Runs a graph and keeps its float tensors."""

    def __init__(self, model: fx.GraphModule) -> None:
        super().__init__(model)
        self.found: dict[str, np.ndarray] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run one node."""
        value = super().run_node(n)
        if n.op == "call_function" and isinstance(value, Tensor) and value.is_floating_point():
            self.found[n.name] = value.numpy()
        return value


def _batch(image: np.ndarray) -> Tensor:
    """float32 [H, W, 3] -> [1, 3, H, W]."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)[None]))


def _annotator(chosen: set[str], ranges: Mapping[str, Grid]) -> Any:
    """What tells PT2E to round the inputs, weights and outputs of the nodes of these names."""
    from torchao.quantization.pt2e import PerChannelMinMaxObserver
    from torchao.quantization.pt2e.quantizer import (
        FixedQParamsQuantizationSpec,
        QuantizationAnnotation,
        QuantizationSpec,
    )
    from torchao.quantization.pt2e.quantizer import Quantizer as Annotator

    weights = QuantizationSpec(
        dtype=torch.int8,
        observer_or_fake_quant_ctr=PerChannelMinMaxObserver,
        quant_min=-127,
        quant_max=127,
        qscheme=torch.per_channel_symmetric,
        ch_axis=0,
    )

    def fixed(name: str) -> Any:
        grid = ranges[name]
        return FixedQParamsQuantizationSpec(
            dtype=torch.int8,
            scale=grid.scale,
            zero_point=grid.zero_point - _SHIFT,
            quant_min=-128,
            quant_max=127,
            qscheme=torch.per_tensor_affine,
        )

    class Fixed(Annotator):  # type: ignore[misc]
        """The ranges are known: nothing is observed but weights."""

        def annotate(self, model: fx.GraphModule) -> fx.GraphModule:
            """Mark the nodes."""
            for node in model.graph.nodes:
                if node.name not in chosen:
                    continue
                source, weight = node.args[:2]
                (last, *others) = node.users
                fuses = not others and str(last.target).split(".")[1:2] in (["relu"], ["relu_"])
                end = last if fuses and last.name in ranges else node
                node.meta["quantization_annotation"] = QuantizationAnnotation(
                    input_qspec_map={source: fixed(source.name), weight: weights},
                    output_qspec=fixed(end.name) if end is node else None,
                    _annotated=True,
                )
                if end is not node:
                    end.meta["quantization_annotation"] = QuantizationAnnotation(
                        output_qspec=fixed(end.name), _annotated=True
                    )
            return model

        def validate(self, model: fx.GraphModule) -> None:
            """Every node was chosen from this very graph."""

    return Fixed()
