"""Wrappers hold what the metadata says, and their arithmetic is that of rid_core."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rid_core.artifact import ArtifactMetadata, TensorInfo
from rid_export.codegen import type_name, wrapper_path, wrapper_source


def tensors(layout: str, size: int, **changes: Any) -> dict[str, tuple[TensorInfo, ...]]:
    shape = (1, size, size, 3) if layout == "nhwc" else (1, 3, size, size)
    image = TensorInfo("image", "float32", shape, 0.0, 1.0)
    protected = dataclasses.replace(image, name="protected")
    delta = TensorInfo("delta", "float32", shape, -1.0, 1.0)
    return {"inputs": (image,), "outputs": (protected, delta)} | changes


def metadata(kind: str, **changes: Any) -> ArtifactMetadata:
    layout = "nhwc" if kind == "tflite" else "nchw"
    fields: dict[str, Any] = {
        "format": kind,
        "preset": "rid-s",
        "levels": 8,
        "resolution": 512,
        "stride": 16,
        "layout": layout,
        "precision": "fp32",
        "weights": "ab" * 32,
        "network": "cd" * 32,
        "licence": "Apache-2.0",
        "created": "2030-01-01T00:00:00+00:00",
        **tensors(layout, 512),
    }
    return ArtifactMetadata(**fields | changes)


def kotlin(name: str = "rid-s.tflite", **changes: Any) -> str:
    kind = "onnx" if name.endswith(".onnx") else "tflite"
    return wrapper_source(metadata(kind, **changes), Path(name))


def swift(**changes: Any) -> str:
    return wrapper_source(metadata("coreml", **changes), Path("rid-s.int8.mlpackage"))


def constant(source: str, name: str) -> str:
    (value,) = re.findall(rf"(?:const val|static let) {name}(?:: \w+)? = (.+)", source)
    return str(value)


@pytest.mark.parametrize(
    ("file", "wrapper"),
    [
        ("dist/rid-s.tflite", "dist/RidSTflite.kt"),
        ("dist/rid-s.int8.tflite", "dist/RidSInt8Tflite.kt"),
        ("rid-b.fp16.onnx", "RidBFp16Onnx.kt"),
        ("rid-s.mlpackage", "RidSCoreML.swift"),
        ("rid-n.pal8.mlpackage", "RidNPal8CoreML.swift"),
    ],
)
def test_names(file: str, wrapper: str) -> None:
    assert wrapper_path(Path(file)) == Path(wrapper)


def test_a_type_begins_with_a_letter() -> None:
    assert type_name(Path("8bit portrait's.tflite"), "tflite") == "Rid8bitPortraitSTflite"


def test_kotlin_constants() -> None:
    source = kotlin()
    assert "object RidSTflite {" in source
    assert constant(source, "FILE") == '"rid-s.tflite"'
    assert constant(source, "PRESET") == '"rid-s"'
    assert constant(source, "LEVELS") == "8"
    assert float(constant(source, "EPS").removesuffix("f")) == 8 / 255
    assert constant(source, "RESOLUTION") == "512"
    assert constant(source, "LAYOUT") == '"nhwc"'
    assert constant(source, "WEIGHTS_SHA256") == f'"{"ab" * 32}"'
    assert constant(source, "NETWORK_SHA256") == f'"{"cd" * 32}"'
    assert 'Tensor("image", "float32", listOf(1, 512, 512, 3), 0.0f, 1.0f, null, 0)' in source
    assert 'Tensor("delta", "float32", listOf(1, 512, 512, 3), -1.0f, 1.0f, null, 0)' in source


def test_swift_constants() -> None:
    source = swift()
    assert "public enum RidSInt8CoreML {" in source
    assert constant(source, "file") == '"rid-s.int8.mlpackage"'
    assert constant(source, "xcodeClass") == '"rid_s_int8"'
    assert constant(source, "levels") == "8"
    assert float(constant(source, "eps")) == 8 / 255
    assert constant(source, "resolution") == "512"
    assert constant(source, "layout") == '"nchw"'
    assert constant(source, "weightsSHA256") == f'"{"ab" * 32}"'
    assert 'name: "delta", dtype: "float32", shape: [1, 3, 512, 512], low: -1.0' in source


@pytest.mark.parametrize("field", ["levels", "resolution", "weights", "precision", "licence"])
def test_metadata_reaches_both(field: str) -> None:
    """Not constants of ours: what changes in the metadata changes in the source."""
    new: dict[str, Any] = {"levels": 11, "resolution": 768}
    value = new.get(field, "something-else")
    for make in (kotlin, swift):
        assert make(**{field: value}) != make()
        assert str(value) in make(**{field: value})


@pytest.mark.parametrize("source", [kotlin(), kotlin("rid-s.onnx"), swift()])
def test_structure(source: str) -> None:
    assert "$" not in source
    assert source.count("{") == source.count("}")
    assert source.count("(") == source.count(")")
    assert source.splitlines()[0].endswith("Do not edit: export again instead.")
    assert max(map(len, source.splitlines())) <= 150
    imports = [line for line in source.splitlines() if line.startswith("import ")]
    assert imports in ([], ["import kotlin.math.round"])
    assert "android" not in source.replace("without Android", "").replace("Android's", "").lower()


def evaluate(source: str, row: int, column: int, channel: int, size: int) -> int:
    (text,) = re.findall(r"(?:Int =|-> Int \{)\n\s*(.+)", source)
    names = {"row": row, "column": column, "channel": channel}
    names |= {"RESOLUTION": size, "resolution": size}
    return int(eval(text, {"__builtins__": {}}, names))


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
def test_index_is_the_layout(layout: str) -> None:
    size = 4
    order = np.arange(3 * size * size)
    shaped = order.reshape(size, size, 3) if layout == "nhwc" else order.reshape(3, size, size)
    changes = {"layout": layout, "resolution": size, **tensors(layout, size)}
    for make in (kotlin, swift):
        source = make(**changes)
        for row, column, channel in np.ndindex(size, size, 3):
            at = (row, column, channel) if layout == "nhwc" else (channel, row, column)
            assert evaluate(source, row, column, channel, size) == shaped[at]


def test_bytes_in_and_out() -> None:
    """uint8 input: the level itself; integers that come out are decoded by scale and zero point."""
    size = 512
    made = tensors("nhwc", size)
    image = dataclasses.replace(made["inputs"][0], dtype="uint8", scale=1 / 255)
    delta = dataclasses.replace(made["outputs"][1], dtype="int8", scale=1 / 127)
    source = kotlin(inputs=(image,), outputs=(made["outputs"][0], delta))
    assert "fun toInput(argb: IntArray): ByteArray {" in source
    assert "= level.toByte()" in source
    assert "fun decodeDelta(stored: ByteArray): FloatArray {" in source
    assert f"{1 / 127!r}f, 0)" in source
    plain = kotlin()
    assert "fun toInput(argb: IntArray): FloatArray {" in plain
    assert "decodeDelta" not in plain
    odd = dataclasses.replace(image, dtype="int8", zero_point=-128)
    assert "= (level + -128).toByte()" in kotlin(inputs=(odd,))
    other = dataclasses.replace(image, scale=0.01, zero_point=3)
    assert "round(level / 255f / 0.01f + 3).toInt().coerceIn(0, 255)" in kotlin(inputs=(other,))


def test_protect_rounds_as_python_does() -> None:
    """The one line that must not be written otherwise, in either language."""
    assert "round(unit.coerceIn(-1f, 1f) * scale).toInt()" in kotlin()
    assert "(min(max(unit, -1), 1) * scale).rounded(.toNearestOrEven)" in swift()
    assert "val scale = (LEVELS * strength).toFloat()" in kotlin()
    assert "let scale = Float(Double(levels) * strength)" in swift()
