"""The parts of the Core ML target that need no conversion, or only one of a very small network."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rid_export.backends.coreml.activations import Scale, block_of, layers, quantize_inputs
from rid_export.backends.coreml.weights import linear_weights, palette, palettized_weights

from rid_core.errors import RidError
from rid_core.fidelity import compare
from rid_export.backends.coreml.quantize import quantize_coreml
from rid_export.backends.coreml.runner import MilRunner, layer_names, nodes
from rid_export.calibration import CalibrationData
from rid_export.graph import ExportGraph, LevelsGraph, _gelu, to_program
from rid_export.registry import get_target
from rid_export.spec import ExportSpec

SIDE = 64
LEVELS = 6
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (4, SIDE, SIDE, 3), dtype=np.uint8)
MATERIAL = CalibrationData(IMAGES, IMAGES)


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


@pytest.fixture(scope="module")
def made() -> Callable[[str], tuple[ExportGraph, Any]]:
    """The contract around a small network, and its fp16 program; converted once."""
    done: dict[str, tuple[ExportGraph, Any]] = {}

    def get(kind: str) -> tuple[ExportGraph, Any]:
        if kind not in done:
            graph = build(kind)
            done[kind] = graph, to_program(graph, SIDE, half=True)
        return done[kind]

    return get


def names_of(graph: ExportGraph, model: Any) -> dict[str, str]:
    return layer_names(model.get_spec(), [name for name, _ in graph.defender.named_modules()])


def saved(model: Any, folder: Path) -> Path:
    path = folder / "net.mlpackage"
    shutil.rmtree(path, ignore_errors=True)
    model.save(str(path))
    return path


@torch.no_grad()
def truth(graph: ExportGraph, image: np.ndarray) -> np.ndarray:
    planes = torch.from_numpy(image).permute(2, 0, 1)[None].float().contiguous() / 255
    return graph.defender(planes)[0].permute(1, 2, 0).numpy()


def sqnr(graph: ExportGraph, model: Any, folder: Path) -> float:
    """Worst of the images, through the package and the interpreter."""
    runner = MilRunner.load(saved(model, folder))
    return min(
        compare(truth(graph, image), runner.delta(image.astype(np.float32) / 255)).sqnr_db
        for image in IMAGES
    )


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
@pytest.mark.parametrize(("half", "least"), [(False, 70), (True, 45)])
@pytest.mark.parametrize("kind", ["rid-n", "rid-dit"])
def test_program_agrees_with_torch(kind: str, half: bool, least: float, tmp_path: Path) -> None:
    graph = build(kind)
    model = to_program(graph, SIDE, half=half)
    assert sqnr(graph, model, tmp_path) > least
    if kind == "rid-dit":  # coremltools alone would write the exact function: about 50 dB
        written = {
            argument.value.immediateValue.tensor.strings.values[0]
            for operation in block_of(model.get_spec()).operations
            if operation.type == "gelu"
            for argument in operation.inputs["mode"].arguments
            if argument.WhichOneof("binding") == "value"
        }
        named = {
            operation.outputs[0].name: operation
            for operation in block_of(model.get_spec()).operations
        }
        for operation in block_of(model.get_spec()).operations:
            if operation.type == "gelu":
                mode = named[operation.inputs["mode"].arguments[0].name]
                text = mode.attributes["val"].immediateValue.tensor.strings.values[0]
                written.add(text)
        assert written == {"TANH_APPROXIMATION"}


# -- weights --------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [2, 4, 6, 8])
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
def test_compressed_weights(made: Any, tmp_path: Path) -> None:
    graph, model = made("rid-n")
    linear = linear_weights(model)
    assert sqnr(graph, linear, tmp_path) > 28
    kinds = [operation.type for operation in block_of(linear.get_spec()).operations]
    count = kinds.count("constexpr_affine_dequantize")
    assert count == kinds.count("conv")
    stored = [
        operation.attributes["quantized_data"].type.tensorType.dataType
        for operation in block_of(linear.get_spec()).operations
        if operation.type == "constexpr_affine_dequantize"
    ]
    assert set(stored) == {31}  # uint8: Core ML misreads int8 on some devices
    assert sqnr(graph, palettized_weights(model), tmp_path) > 28
    spared = next(iter(names_of(graph, model)))
    partly = linear_weights(model, [spared])
    kinds = [operation.type for operation in block_of(partly.get_spec()).operations]
    assert kinds.count("constexpr_affine_dequantize") == count - 1


# -- activations ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (-3, 5), (-2, 0), (0.5, 1), (0, 0), (-400, 900), (-1e-9, 1e-9)]
)
def test_scale_holds_zero_and_the_range(low: float, high: float) -> None:
    scale = Scale.of(low, high)
    assert scale.scale == float(np.float16(scale.scale)) > 0
    assert 0 <= scale.zero_point <= 255
    for value in (low, 0.0, high):
        stored = np.clip(np.rint(value / scale.scale) + scale.zero_point, 0, 255)
        restored = (stored - scale.zero_point) * scale.scale
        assert abs(restored - value) <= 1.01 * scale.scale
    assert (np.clip(np.rint(0.0) + scale.zero_point, 0, 255) - scale.zero_point) == 0


@pytest.mark.slow
def test_quantized_program(made: Any, tmp_path: Path) -> None:
    graph, model = made("rid-n")
    names = names_of(graph, model)
    assert set(names.values()) >= {"stem", "encoder.0.depthwise", "up.conv", "to_image.conv"}
    quantized, notes = quantize_coreml(model, "int8", names, MATERIAL, LEVELS)
    assert sqnr(graph, quantized, tmp_path) > 22
    assert notes.float_layers == ()
    kinds = [operation.type for operation in block_of(quantized.get_spec()).operations]
    assert kinds.count("quantize") == kinds.count("dequantize") == kinds.count("conv")
    by_name = {row.name: row for row in notes.layers}
    assert by_name["stem"].inputs_db == 200
    assert by_name["to_image.conv/tanh"].kind == "tanh"
    assert all(row.sqnr_db > 15 for row in notes.layers)


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("precision", ["w8", "pal8"])
def test_weights_stay_in_float_until_the_gate_holds(
    made: Any, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rid_export import quantization

    graph, model = made("rid-n")
    names = names_of(graph, model)
    _, plain = quantize_coreml(model, precision, names, MATERIAL, LEVELS)
    assert plain.float_layers == ()
    asked = plain.after["delta_sqnr_db"] + 0.5
    monkeypatch.setattr(quantization, "least_figures", lambda _: {"delta_sqnr_db": asked})
    quantized, notes = quantize_coreml(model, precision, names, MATERIAL, LEVELS)
    assert notes.float_layers
    assert notes.after["delta_sqnr_db"] > asked
    kinds = [operation.type for operation in block_of(quantized.get_spec()).operations]
    compressed = {"w8": "constexpr_affine_dequantize", "pal8": "constexpr_lut_to_dense"}
    assert kinds.count(compressed[precision]) == kinds.count("conv") - len(notes.float_layers)


@pytest.mark.slow
def test_layers_stay_in_float_until_the_gate_holds(
    made: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from rid_export import quantization

    graph, model = made("rid-n")
    names = names_of(graph, model)
    _, plain = quantize_coreml(model, "int8", names, MATERIAL, LEVELS)
    asked = plain.after["delta_sqnr_db"] + 0.5
    monkeypatch.setattr(quantization, "least_figures", lambda _: {"delta_sqnr_db": asked})
    quantized, notes = quantize_coreml(model, "int8", names, MATERIAL, LEVELS)
    assert 1 <= len(notes.float_layers) <= 4
    assert set(notes.float_layers) <= set(names.values())
    assert notes.before["delta_sqnr_db"] == pytest.approx(plain.after["delta_sqnr_db"])
    assert notes.after["delta_sqnr_db"] > asked
    kinds = [operation.type for operation in block_of(quantized.get_spec()).operations]
    assert kinds.count("quantize") == kinds.count("conv") - len(notes.float_layers)


@pytest.mark.slow
def test_quantized_transformer(made: Any, tmp_path: Path) -> None:
    graph, model = made("rid-dit")
    names = names_of(graph, model)
    assert {"embed", "blocks.0.qkv", "blocks.1.fc2", "head"} == set(names.values()) & {
        "embed", "blocks.0.qkv", "blocks.1.fc2", "head",
    }  # fmt: skip
    quantized, _ = quantize_coreml(model, "int8", names, MATERIAL, LEVELS)
    assert sqnr(graph, quantized, tmp_path) > 22
    assert sqnr(graph, linear_weights(model), tmp_path) > 28


@pytest.mark.slow
def test_what_cannot_be_quantized_is_refused(made: Any) -> None:
    graph, model = made("rid-n")
    spec = model.get_spec()
    tensors = {layer.tensor for layer in layers(spec)}
    with pytest.raises(RidError, match="no range was calibrated for"):
        quantize_inputs(spec, {}, frozenset())
    single = to_program(graph, SIDE, half=False).get_spec()
    scales = {layer.tensor: Scale(0.01, 0) for layer in layers(single)}
    with pytest.raises(RidError, match="is not fp16"):
        quantize_inputs(single, scales, frozenset())
    first = next(layers(spec))
    taken = next(op for op in block_of(spec).operations if op.outputs[0].name == first.output)
    taken.inputs["x"].arguments[0].name = "image"
    with pytest.raises(RidError, match="image cannot be quantized: no operation gives it"):
        quantize_inputs(spec, {name: Scale(0.01, 0) for name in (*tensors, "image")}, frozenset())


@pytest.mark.slow
def test_steps_lead_to_delta_and_name_their_modules(made: Any) -> None:
    graph, model = made("rid-n")
    steps = nodes(model.get_spec(), names_of(graph, model))
    assert steps[0].inputs == ("image",)
    assert not {"round", "clip", "pixel_shuffle", "cast"} & {step.kind for step in steps}
    stem = next(step for step in steps if step.name == "stem")
    assert stem.inputs == (steps[0].tensor,)
    assert steps[-1].name == "to_image.conv/tanh"
    enter = next(step for step in steps if step.name == "enter")
    relu = next(step for step in steps if step.name == "stem/relu")
    assert enter.inputs == (relu.tensor,)
    leave = next(step for step in steps if step.name == "leave.conv")
    total = next(step for step in steps if leave.tensor in step.inputs)  # through the shuffle
    assert set(total.inputs) == {relu.tensor, leave.tensor}


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
