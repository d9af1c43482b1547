"""The parts of the Core ML target that need no conversion, or only one of a very small network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rid_core.errors import RidError
from rid_core.fidelity import compare
from rid_core.quantization.rounding import Grid
from rid_export.backends.coreml.convert import _gelu, to_program
from rid_export.backends.coreml.edits import (
    half_scale,
    linear_weights,
    palette,
    palettized_weights,
    quantize_inputs,
)
from rid_export.backends.coreml.graph import block_of, layers, name_layers, name_of, operand, steps
from rid_export.backends.coreml.runner import MilRunner
from rid_export.graph import ExportGraph, LevelsGraph
from rid_export.layers import compared_steps
from rid_export.registry import get_target
from rid_export.spec import ExportSpec

SIDE = 64
LEVELS = 6
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (4, SIDE, SIDE, 3), dtype=np.uint8)


def build(kind: str) -> ExportGraph:
    from rid_core.defenders import create_defender

    torch.manual_seed(5)
    sizes: dict[str, dict[str, int]] = {
        "rid-n": {"width": 16, "detail_width": 8, "inner_blocks": 1},
        "rid-dit": {"image_size": SIDE, "width": 48, "depth": 2, "heads": 4},
    }
    defender = create_defender(kind, **sizes[kind])
    for module in defender.modules():  # what starts at zero would hide everything before it
        weight = getattr(module, "weight", None)
        if weight is not None and not weight.any():
            torch.nn.init.normal_(weight, std=0.15)
    return ExportGraph(defender, LEVELS, "nchw", protected_scale=255)


def names_of(graph: ExportGraph, model: Any) -> dict[str, str]:
    return name_layers(model.get_spec(), dict(graph.defender.named_modules()))


def kinds_of(model: Any) -> list[str]:
    return [operation.type for operation in block_of(model.get_spec()).operations]


def sqnr(graph: ExportGraph, model: Any, folder: Path) -> float:
    """Worst of the images, through the package and the interpreter."""
    model.save(str(folder / "net.mlpackage"))
    runner = MilRunner.load(folder / "net.mlpackage")
    found = []
    for image in IMAGES:
        planes = torch.from_numpy(image).permute(2, 0, 1)[None].float().contiguous() / 255
        with torch.no_grad():
            truth = graph.defender(planes)[0].permute(1, 2, 0).numpy()
        found.append(compare(truth, runner.delta(image.astype(np.float32) / 255)).sqnr_db)
    return min(found)


# -- graph ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("levels", [1, 6, 8, 12, 16])
def test_head_is_exact_in_half_precision(dtype: torch.dtype, levels: int) -> None:
    graph = LevelsGraph(ExportGraph(build("rid-n").defender, levels, "nchw"))
    image = torch.arange(256, dtype=dtype)[:, None]
    delta = torch.linspace(-1, 1, 4001).to(dtype)[None]
    protected = graph.protect(image, delta)
    assert torch.equal(protected, protected.round())
    assert float((protected - image).abs().max()) == levels
    assert float(protected.min()) >= 0
    assert float(protected.max()) <= 255
    exact = (image.double() + delta.double() * levels).clamp(0, 255)
    assert float((protected.double() - exact).abs().max()) <= 0.5 + levels * 2**-11


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_in_elementary_operations(approximate: str) -> None:
    x = torch.linspace(-6, 6, 1001)
    expected = torch.nn.functional.gelu(x, approximate=approximate)
    torch.testing.assert_close(_gelu(x, approximate=approximate), expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "half", "least"),
    [
        ("rid-dit", True, 45),
        *(
            pytest.param(*case, marks=pytest.mark.full)
            for case in (("rid-n", False, 70), ("rid-n", True, 45), ("rid-dit", False, 70))
        ),
    ],
)
def test_program_agrees_with_torch(kind: str, half: bool, least: float, tmp_path: Path) -> None:
    graph = build(kind)
    model = to_program(graph, SIDE, half=half)
    assert sqnr(graph, model, tmp_path) > least
    if kind == "rid-dit":  # coremltools alone would write the exact function: about 50 dB
        written = set()
        operations = block_of(model.get_spec()).operations
        named = {operation.outputs[0].name: operation for operation in operations}
        for operation in operations:
            if operation.type == "gelu":
                (argument,) = operation.inputs["mode"].arguments
                value = argument.value
                if argument.WhichOneof("binding") == "name":
                    value = named[argument.name].attributes["val"]
                written.add(value.immediateValue.tensor.strings.values[0])
        assert written == {"TANH_APPROXIMATION"}


# -- weights --------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [4, 8])
def test_palette_beats_an_even_grid(bits: int) -> None:
    weight = RNG.standard_t(4, (32, 16, 3, 3)).astype(np.float16)
    entries, indices = palette(weight, bits)
    assert entries.shape == (2**bits,)
    assert entries.dtype == np.float16
    assert indices.dtype == np.uint8
    assert indices.max() < 2**bits
    assert (np.diff(entries) >= 0).all()
    step = (float(weight.max()) - float(weight.min())) / (2**bits - 1)
    grid = np.rint((weight.astype(float) - float(weight.min())) / step) * step + float(weight.min())
    even = np.square(grid - weight.astype(float)).sum()
    chosen = np.square(entries[indices].astype(float) - weight.reshape(-1).astype(float)).sum()
    assert chosen < 0.7 * even
    # Every weight has its nearest entry.
    nearest = np.abs(weight.reshape(-1, 1).astype(float) - entries.astype(float)).min(axis=1)
    found = np.abs(entries[indices].astype(float) - weight.reshape(-1).astype(float))
    np.testing.assert_allclose(found, nearest)


@pytest.mark.parametrize("weight", [np.zeros(9), np.ones(5), np.array([1.0]), np.arange(3.0)])
def test_palette_of_few_values_is_exact(weight: np.ndarray) -> None:
    entries, indices = palette(weight.astype(np.float32), 4)
    np.testing.assert_allclose(entries[indices], weight, atol=1e-6)


@pytest.mark.slow
def test_compressed_weights(small_coreml: Any, tmp_path: Path) -> None:
    graph, model, _ = small_coreml
    linear = linear_weights(model)
    count = kinds_of(linear).count("constexpr_affine_dequantize")
    assert count == kinds_of(linear).count("conv")
    stored = [
        operation.attributes["quantized_data"].type.tensorType.dataType
        for operation in block_of(linear.get_spec()).operations
        if operation.type == "constexpr_affine_dequantize"
    ]
    assert set(stored) == {31}  # uint8: Core ML misreads int8 on some devices
    assert sqnr(graph, palettized_weights(model), tmp_path) > 28
    spared = next(iter(names_of(graph, model)))
    assert kinds_of(linear_weights(model, [spared])).count("constexpr_affine_dequantize") == (
        count - 1
    )


# -- activations ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (-3, 5), (-2, 0), (0, 0), (-400, 900), (-1e-9, 1e-9)]
)
def test_scale_holds_zero_and_the_range(low: float, high: float) -> None:
    half, zero_point = half_scale(Grid(low, high))
    scale, zero = float(half), int(zero_point)
    assert scale > 0
    for value in (low, 0.0, high):
        stored = np.clip(np.rint(value / scale) + zero, 0, 255)
        assert abs((stored - zero) * scale - value) <= 1.01 * scale
    assert np.clip(zero, 0, 255) == zero


@pytest.mark.slow
def test_what_cannot_be_quantized_is_refused(small_coreml: Any) -> None:
    graph, model, _ = small_coreml
    spec = model.get_spec()
    with pytest.raises(RidError, match="no range was calibrated for"):
        quantize_inputs(spec, {}, frozenset())
    single = to_program(graph, SIDE, half=False).get_spec()
    ranges = {operand(layer, "x"): Grid(-1, 1) for layer in layers(single)}
    with pytest.raises(RidError, match="is not fp16"):
        quantize_inputs(single, ranges, frozenset())
    first = layers(spec)[0]
    ranges = {operand(layer, "x"): Grid(-1, 1) for layer in layers(spec)} | {"image": Grid(0, 1)}
    first.inputs["x"].arguments[0].name = "image"
    with pytest.raises(RidError, match="image cannot be quantized: no operation gives it"):
        quantize_inputs(spec, ranges, frozenset())
    spared = frozenset((name_of(first),))
    quantize_inputs(spec, ranges, spared)
    assert operand(layers(spec)[0], "x") == "image"


@pytest.mark.slow
def test_steps_lead_to_delta_and_name_their_modules(small_coreml: Any) -> None:
    graph, model, _ = small_coreml
    found = steps(model.get_spec(), names_of(graph, model))
    assert found[0].inputs == ("image",)
    assert not {"round", "clip"} & {step.kind for step in found}
    compared = {step.name: step for step in compared_steps(found)}
    assert not {"pixel_shuffle", "cast"} & {step.kind for step in compared.values()}
    stem, enter, leave = (compared[name] for name in ("stem", "enter", "leave.conv"))
    assert stem.fused
    assert compared["to_image.conv"].fused
    assert enter.inputs == (stem.output,)
    total = next(step for step in compared.values() if leave.output in step.inputs)
    assert set(total.inputs) == {stem.output, leave.output}  # through the shuffle


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"precision": "w8a16"}, "no 16-bit integer activations; the nearest is w8"),
        ({"io": "uint8"}, "--io uint8: image and protected are image types"),
        ({"layout": "nhwc"}, "--layout nhwc: an image type has no order of axes"),
        ({"dynamic": True}, "--dynamic: an image type has one size"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RidError, match=re.escape(message)) as caught:
        get_target("coreml").check(ExportSpec("coreml", **settings))
    assert "\n" not in str(caught.value)
