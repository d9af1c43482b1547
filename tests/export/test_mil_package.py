"""Damaged, foreign and hostile packages, and wrong inputs: each refused with one clear line."""

from __future__ import annotations

import json
import logging
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rid_core.errors import MissingExtraError, RidError
from rid_export.mil import Feature, MilError, MilProgram
from rid_export.mil import package as package_module

ct = pytest.importorskip("coremltools")
from coremltools.converters.mil import Builder as mb  # noqa: E402
from coremltools.proto import Model_pb2  # noqa: E402

logging.getLogger("coremltools").setLevel(logging.ERROR)

MODEL = "Data/com.apple.CoreML/model.mlmodel"
WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"
X = np.random.default_rng(0).uniform(-1, 1, (1, 3, 8, 8)).astype(np.float32)
KERNEL = np.random.default_rng(1).normal(size=(4, 3, 3, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with one convolution, its weights in the blob file."""

    @mb.program(input_specs=[mb.TensorSpec(X.shape)], opset_version=ct.target.iOS17)
    def prog(x: Any) -> Any:
        y = mb.conv(x=x, weight=KERNEL, pad_type="valid", name="first_conv")
        return mb.relu(x=y, name="out")

    model = ct.convert(
        prog,
        convert_to="mlprogram",
        minimum_deployment_target=ct.target.iOS17,
        compute_precision=ct.precision.FLOAT32,
        skip_model_load=True,
    )
    path = tmp_path_factory.mktemp("intact") / "net.mlpackage"
    model.save(str(path))
    return path


@pytest.fixture
def package(intact: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(intact, tmp_path / "net.mlpackage"))


def edit_model(package: Path, change: Callable[[Any], Any]) -> None:
    """Change the protobuf of a package in place."""
    spec = Model_pb2.Model()
    spec.ParseFromString((package / MODEL).read_bytes())
    change(spec)
    (package / MODEL).write_bytes(spec.SerializeToString(deterministic=True))


def block(spec: Any) -> Any:
    main = spec.mlProgram.functions["main"]
    return main.block_specializations[main.opset]


def operation(spec: Any, kind: str) -> Any:
    return next(op for op in block(spec).operations if op.type == kind)


def weight_value(spec: Any) -> Any:
    return next(
        op.attributes["val"]
        for op in block(spec).operations
        if op.type == "const" and op.attributes["val"].WhichOneof("value") == "blobFileValue"
    )


def refused(package: Path, match: str) -> None:
    """Loading fails with one line that matches."""
    with pytest.raises(MilError, match=match) as caught:
        MilProgram.load(package)
    assert "\n" not in str(caught.value)


def test_an_intact_package_runs(intact: Path) -> None:
    program = MilProgram.load(intact)
    assert program.inputs == (Feature("x", "multiarray", (1, 3, 8, 8), "float32"),)
    assert program.outputs == (Feature("out", "multiarray", (1, 4, 6, 6), "float32"),)
    assert program.op_types == ("conv", "relu")
    (result,) = program.predict({"x": X}).values()
    windows = np.lib.stride_tricks.sliding_window_view(X[0], (3, 3), (1, 2))
    expected = np.einsum("chwij,ocij->ohw", windows, KERNEL).clip(0)
    np.testing.assert_allclose(result[0], expected, atol=1e-5)


def test_errors_are_the_projects() -> None:
    assert issubclass(MilError, RidError)
    assert issubclass(MilError, ValueError)


def test_a_missing_coremltools_names_the_extra(
    intact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "coremltools.proto", None)
    with pytest.raises(MissingExtraError, match=r"pip install -e '\.\[export\]'"):
        package_module.open_package(intact)


# ---- the directory


def test_nothing_there(tmp_path: Path) -> None:
    refused(tmp_path / "absent.mlpackage", "there is no file")


def test_a_file_is_no_package(tmp_path: Path) -> None:
    (tmp_path / "net.mlmodel").write_bytes(b"x")
    refused(tmp_path / "net.mlmodel", "is no Core ML package")


def test_missing_manifest(package: Path) -> None:
    (package / "Manifest.json").unlink()
    refused(package, "Manifest.json")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"itemInfoEntries": {}}', "\x00"])
def test_damaged_manifest(package: Path, text: str) -> None:
    (package / "Manifest.json").write_text(text)
    refused(package, "does not name the model file")


@pytest.mark.parametrize("path", ["../../secret", "/etc/hostname", "a/../../../../x"])
def test_manifest_that_leads_out(package: Path, path: str) -> None:
    manifest = json.loads((package / "Manifest.json").read_text())
    manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"] = path
    (package / "Manifest.json").write_text(json.dumps(manifest))
    refused(package, "outside itself")


def test_missing_model(package: Path) -> None:
    (package / MODEL).unlink()
    refused(package, r"lacks its model file model\.mlmodel")


def test_truncated_model(package: Path) -> None:
    data = (package / MODEL).read_bytes()
    (package / MODEL).write_bytes(data[: len(data) // 2])
    refused(package, "does not parse")


def test_empty_model(package: Path) -> None:
    (package / MODEL).write_bytes(b"")
    refused(package, "holds no model, not an ML program")


def test_neural_network(package: Path) -> None:
    edit_model(package, lambda spec: spec.neuralNetwork.layers.add())
    refused(package, "holds neuralNetwork, not an ML program; convert with convert_to='mlprogram'")


# ---- the weight file


def test_missing_weights(package: Path) -> None:
    (package / WEIGHTS).unlink()
    refused(package, "cannot be read")


@pytest.mark.parametrize(("size", "match"), [
    (0, "less than its header"), (63, "less than its header"),
    (64, "outside its 64 bytes"), (127, "outside its 127 bytes"),
    (128, "but the file has 128"), (-1, "the data of the record at byte 64 end"),
])  # fmt: skip
def test_truncated_weights(package: Path, size: int, match: str) -> None:
    data = (package / WEIGHTS).read_bytes()
    end = 128 + KERNEL.nbytes  # bytes after it are padding
    (package / WEIGHTS).write_bytes(data[: end + size if size < 0 else size])
    refused(package, match)


@pytest.mark.parametrize(("offset", "layout", "value", "match"), [
    (4, "<I", 1, "its header says version 1, not 2"),
    (64, "<I", 0xDEADBEE0, "has sentinel 0xdeadbee0, not 0xdeadbeef"),
    (68, "<I", 1, r"holds element type 1, but the program expects fp32 \(2\)"),
    (72, "<Q", 4, "holds 4 bytes, but the program expects 108 elements of fp32"),
    (80, "<Q", 2**40, "end at byte 1099511628208"),
    (80, "<Q", 0, "end at byte 432"),
    (80, "<Q", 129, "end at byte"),
])  # fmt: skip
def test_damaged_weights(package: Path, offset: int, layout: str, value: int, match: str) -> None:
    data = bytearray((package / WEIGHTS).read_bytes())
    struct.pack_into(layout, data, offset, value)
    (package / WEIGHTS).write_bytes(data)
    refused(package, match)


@pytest.mark.parametrize("offset", [0, 65, 2**62])
def test_reference_outside_the_weights(package: Path, offset: int) -> None:
    def change(spec: Any) -> None:
        weight_value(spec).blobFileValue.offset = offset

    edit_model(package, change)
    refused(package, "outside its")


@pytest.mark.parametrize(("name", "match"), [
    ("@model_path/../../../../../etc/passwd", "outside itself"),
    ("/etc/passwd", "is not understood"),
    ("@model_path/weights/none.bin", "cannot be read"),
])  # fmt: skip
def test_reference_to_another_file(package: Path, name: str, match: str) -> None:
    def change(spec: Any) -> None:
        weight_value(spec).blobFileValue.fileName = name

    edit_model(package, change)
    refused(package, match)


# ---- the program


def rename(kind: str, new: str) -> Callable[[Any], None]:
    def change(spec: Any) -> None:
        operation(spec, kind).type = new

    return change


def test_unknown_operation_is_named_and_refused(package: Path) -> None:
    edit_model(package, rename("conv", "warp"))
    refused(package, r"warp 'first_conv' \(output 'first_conv'\) is no op .* refuses what it does")


def add_parameter(spec: Any) -> None:
    operation(spec, "relu").inputs["slope"].arguments.add().name = "x"


def drop_parameter(spec: Any) -> None:
    del operation(spec, "relu").inputs["x"]


def constexpr_of_an_input(spec: Any) -> None:
    op = operation(spec, "relu")
    op.type = "constexpr_affine_dequantize"
    for name in ("quantized_data", "zero_point", "scale", "axis"):
        op.inputs[name].arguments.add().name = "x"
    del op.inputs["x"]


def two_values(spec: Any) -> None:
    operation(spec, "relu").inputs["x"].arguments.add().name = "x"


def hidden_input(spec: Any) -> None:
    del spec.description.input[:]


def undefined(spec: Any) -> None:
    operation(spec, "relu").inputs["x"].arguments[0].name = "nowhere"


def unprintable(spec: Any) -> None:
    op = operation(spec, "relu")
    op.type = "\n\x15relu\u2028"


def declared_string(spec: Any) -> None:
    operation(spec, "conv").outputs[0].type.tensorType.dataType = 2


def declared_shape(spec: Any) -> None:
    operation(spec, "conv").outputs[0].type.tensorType.dimensions[1].constant.size = 5


def no_main(spec: Any) -> None:
    spec.mlProgram.functions["other"].CopyFrom(spec.mlProgram.functions["main"])
    del spec.mlProgram.functions["main"]


def other_opset(spec: Any) -> None:
    spec.mlProgram.functions["main"].opset = "CoreML99"


def unknown_dtype(spec: Any) -> None:
    operation(spec, "conv").outputs[0].type.tensorType.dataType = 13  # bfloat16


def list_type(spec: Any) -> None:
    operation(spec, "conv").outputs[0].type.listType.length.constant.size = 1


def wrong_rank(spec: Any) -> None:
    operation(spec, "conv").outputs[0].type.tensorType.rank = 3


def short_constant(spec: Any) -> None:
    strides = next(op for op in block(spec).operations if "strides" in op.outputs[0].name)
    strides.attributes["val"].immediateValue.tensor.ints.values.pop()


def feature_shape(spec: Any) -> None:
    spec.description.output[0].type.multiArrayType.shape[1] = 5


def feature_name(spec: Any) -> None:
    spec.description.output[0].name = "protected"


def feature_flexible(spec: Any) -> None:
    flexible = spec.description.input[0].type.multiArrayType.shapeRange.sizeRanges.add()
    flexible.upperBound = 9


def feature_kind(spec: Any) -> None:
    spec.description.input[0].type.stringType.SetInParent()


def feature_image(spec: Any) -> None:
    image = spec.description.output[0].type.imageType
    image.height, image.width, image.colorSpace = 6, 6, 20


def grey(spec: Any) -> None:
    image = spec.description.output[0].type.imageType
    image.height, image.width, image.colorSpace = 6, 6, 10


@pytest.mark.parametrize(("change", "match"), [
    (add_parameter, r"relu 'out' has parameters \['slope'\] that the interpreter does not model"),
    (drop_parameter, r"relu 'out' lacks \['x'\]"),
    (constexpr_of_an_input, "constexpr_affine_dequantize 'out' reads 'x', which is no constant"),
    (two_values, "relu 'out' has 2 values for x"),
    (hidden_input, r"the description lacks inputs \['x'\]"),
    (unprintable, r"^\\n\\x15relu\\u2028 'out' \(output 'out'\) is no op of this interpreter"),
    (undefined, "relu 'out' reads 'nowhere', which nothing has computed before"),
    (no_main, r"has no function 'main', only \['other'\]"),
    (other_opset, "has no program for its own opset 'CoreML99'"),
    (unknown_dtype, "element type number 13 of MIL.proto is not modelled"),
    (list_type, "output 'first_conv' of conv 'first_conv' has a listType"),
    (wrong_rank, "declares rank 3 with 4 sizes"),
    (short_constant, r"has 1 values for int32 \[2\]"),
    (feature_shape, r"'out' is \[1, 5, 6, 6\], the program says fp32 \[1, 4, 6, 6\]"),
    (feature_name, "the program has no output 'protected'"),
    (feature_flexible, "'x' has a flexible size; export with a fixed resolution"),
    (feature_kind, "'x' is a stringType"),
    (feature_image, r"'out' is \[1, 3, 6, 6\], the program says"),
    (grey, "colour space 10, not modelled"),
], ids=lambda value: getattr(value, "__name__", ""))  # fmt: skip
def test_damaged_program(package: Path, change: Callable[[Any], None], match: str) -> None:
    edit_model(package, change)
    refused(package, match)


@pytest.mark.parametrize("change", [declared_shape, declared_string])
def test_a_result_that_is_not_as_declared(package: Path, change: Callable[[Any], None]) -> None:
    edit_model(package, change)
    program = MilProgram.load(package)
    with pytest.raises(MilError, match=r"conv 'first_conv', output 'first_conv' is declared as"):
        program.predict({"x": X})


def test_an_operation_that_cannot_run_is_named(package: Path) -> None:
    def change(spec: Any) -> None:
        pad = next(op for op in block(spec).operations if "strides" in op.outputs[0].name)
        pad.attributes["val"].immediateValue.tensor.ints.values[0] = -2

    edit_model(package, change)
    with pytest.raises(MilError, match=r"conv 'first_conv' cannot run: ") as caught:
        MilProgram.load(package).predict({"x": X})
    assert "\n" not in str(caught.value)


def test_no_damage_escapes_as_another_error(package: Path) -> None:
    # Random damage to the model file: whatever happens, it is an answer or a MilError.
    edit_model(package, lambda spec: None)  # bytes in one order, whichever the converter wrote
    original = (package / MODEL).read_bytes()
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(250):
        data = bytearray(original)
        for position in rng.integers(0, len(data), rng.integers(1, 4)):
            data[position] = rng.integers(0, 256)
        (package / MODEL).write_bytes(data)
        try:
            MilProgram.load(package).predict({"x": X})
            outcomes.add("ran")
        except MilError as error:
            outcomes.add("one line" if len(str(error).splitlines()) == 1 else str(error))
    assert outcomes == {"ran", "one line"}


# ---- inputs


@pytest.mark.parametrize(("inputs", "match"), [
    ({}, r"inputs are \['x'\], not \[\]"),
    ({"image": X}, r"inputs are \['x'\], not \['image'\]"),
    ({"x": X, "y": X}, r"inputs are \['x'\], not \['x', 'y'\]"),
    ({"x": X[0]}, r"must be float32 \[1, 3, 8, 8\], not float32 \[3, 8, 8\]"),
    ({"x": X.transpose(0, 2, 3, 1)}, r"must be float32 \[1, 3, 8, 8\], not float32 \[1, 8, 8, 3\]"),
    ({"x": X.astype(np.uint8)}, r"must be float32 \[1, 3, 8, 8\], not uint8"),
    ({"x": X + np.nan}, "holds NaN or infinity"),
    ({"x": X + np.inf}, "holds NaN or infinity"),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_wrong_inputs(intact: Path, inputs: dict[str, np.ndarray], match: str) -> None:
    with pytest.raises(MilError, match=match):
        MilProgram.load(intact).predict(inputs)


@pytest.fixture(scope="module")
def image_program(tmp_path_factory: pytest.TempPathFactory) -> MilProgram:
    @mb.program(input_specs=[mb.TensorSpec((1, 3, 4, 6))], opset_version=ct.target.iOS17)
    def prog(image: Any) -> Any:
        return mb.sub(x=mb.mul(x=image, y=2.0), y=255.0, name="out")

    model = ct.convert(
        prog,
        convert_to="mlprogram",
        inputs=[ct.ImageType("image", (1, 3, 4, 6), color_layout="RGB")],
        minimum_deployment_target=ct.target.iOS17,
        compute_precision=ct.precision.FLOAT32,
        skip_model_load=True,
    )
    path = tmp_path_factory.mktemp("image") / "net.mlpackage"
    model.save(str(path))

    def image_output(spec: Any) -> None:  # the builder's programs cannot say so themselves
        image = spec.description.output[0].type.imageType
        image.height, image.width, image.colorSpace = 4, 6, 20

    edit_model(path, image_output)
    return MilProgram.load(path)


@pytest.mark.parametrize("image", [
    np.zeros((4, 6, 3), np.float32), np.zeros((6, 4, 3), np.uint8), np.zeros((3, 4, 6), np.uint8),
    np.zeros((1, 4, 6, 3), np.uint8), np.zeros((4, 6), np.uint8), np.zeros((4, 6, 4), np.uint8),
    np.zeros((4, 6, 3), np.uint16),
], ids=lambda array: f"{array.dtype}-{array.shape}")  # fmt: skip
def test_wrong_images(image_program: MilProgram, image: np.ndarray) -> None:
    with pytest.raises(MilError, match="input 'image' must be uint8"):
        image_program.predict({"image": image})


def test_image_outputs_are_clamped(image_program: MilProgram) -> None:
    image = np.linspace(0, 255, 72).astype(np.uint8).reshape(4, 6, 3)
    (result,) = image_program.predict({"image": image}).values()
    np.testing.assert_array_equal(result, np.clip(2 * image.astype(int) - 255, 0, 255))
    raw = image_program.run({"image": image})["out"]
    assert raw.min() == -255
    assert raw.shape == (1, 3, 4, 6)
