"""Typed wrappers for the apps, generated from a file's metadata and from nothing else.

Beside ``rid-s.tflite`` lies ``RidSTflite.kt``, beside ``rid-s.mlpackage`` ``RidSCoreML.swift``: the
names, shapes, ranges and digests that an app must get right as constants, and the arithmetic before
and after the network as pure functions that need neither Android nor Apple's frameworks.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

from rid_core.artifact import FORMATS, ArtifactMetadata, TensorInfo, read_metadata
from rid_core.files import write_text

_TYPE_SUFFIX = {
    "tflite": "Tflite",
    "onnx": "Onnx",
    "coreml": "CoreML",
    "executorch": "ExecuTorch",
}


@dataclass(frozen=True)
class _Language:
    suffix: str
    template: str
    tensor: Callable[[TensorInfo], str]


def wrapper_path(path: Path) -> Path:
    """Where the wrapper of an exported file belongs.

    >>> wrapper_path(Path("dist/rid-s.int8.tflite")).name
    'RidSInt8Tflite.kt'
    >>> wrapper_path(Path("dist/rid-s.mlpackage")).name
    'RidSCoreML.swift'
    """
    kind = {".tflite": "tflite", ".onnx": "onnx", ".pte": "executorch"}.get(path.suffix, "coreml")
    return path.with_name(type_name(path, kind) + _LANGUAGES[kind].suffix)


def type_name(path: Path, kind: str) -> str:
    """Name of the generated type: the file's name as Kotlin and Swift like it."""
    words = re.findall(r"[A-Za-z0-9]+", path.stem)
    name = "".join(word[0].upper() + word[1:] for word in words) + _TYPE_SUFFIX[kind]
    return name if name[0].isalpha() else f"Rid{name}"


def wrapper_source(metadata: ArtifactMetadata, path: Path) -> str:
    """Source text of the wrapper for the file at ``path``."""
    language = _LANGUAGES[metadata.format]
    image = metadata.tensor("image")
    delta = metadata.tensor("delta")
    size = metadata.resolution
    if metadata.layout == "nhwc":
        index = "(row * RESOLUTION + column) * 3 + channel"
    else:
        index = "(channel * RESOLUTION + row) * RESOLUTION + column"
    if language.suffix == ".swift":
        index = index.replace("RESOLUTION", "resolution")
    values: dict[str, object] = {
        "version": metadata.version,
        "type": type_name(path, metadata.format),
        "file": path.name,
        "xcode": re.sub(r"\W", "_", path.stem),
        "format": FORMATS[metadata.format],
        "eps": repr(metadata.budget.eps),
        "resolution": size,
        "input": language.tensor(image),
        "outputs": "\n".join(f"        {language.tensor(info)}," for info in metadata.outputs),
        "index": index,
        "array": "FloatArray" if image.scale is None else "ByteArray",
        "encode": "level / 255f" if image.scale is None else _encode_integer(image),
        "decode": "" if delta.scale is None else _DECODE.substitute(name="delta"),
    }
    for name in ("preset", "precision", "licence", "weights", "network", "levels", "layout"):
        values[name] = getattr(metadata, name)
    values["colour"] = metadata.colour
    return Template(_template(language.template)).substitute(values)


def write_wrapper(path: Path) -> Path:
    """Write the wrapper beside the exported file and return where.

    Raises:
        RidError: the file is not one of ours, or the wrapper cannot be written.
    """
    metadata = read_metadata(path)
    target = path.with_name(type_name(path, metadata.format) + _LANGUAGES[metadata.format].suffix)
    write_text(target, wrapper_source(metadata, path))
    return target


def _template(name: str) -> str:
    return (resources.files("rid_export") / "templates" / name).read_text()


def _kotlin_tensor(info: TensorInfo) -> str:
    shape = ", ".join(map(str, info.shape))
    scale = "null" if info.scale is None else f"{info.scale!r}f"
    return (
        f'Tensor("{info.name}", "{info.dtype}", listOf({shape}), '
        f"{info.low!r}f, {info.high!r}f, {scale}, {info.zero_point})"
    )


def _swift_tensor(info: TensorInfo) -> str:
    shape = ", ".join(map(str, info.shape))
    scale = "nil" if info.scale is None else repr(info.scale)
    return (
        f'Tensor(name: "{info.name}", dtype: "{info.dtype}", shape: [{shape}], '
        f"low: {info.low!r}, high: {info.high!r}, scale: {scale}, zeroPoint: {info.zero_point})"
    )


def _encode_integer(image: TensorInfo) -> str:
    """Usually the level itself; anything else follows scale and zero point."""
    low, high = (0, 255) if image.dtype == "uint8" else (-128, 127)
    if image.scale is not None and abs(image.scale * 255 - 1) < 1e-6:
        value = "level" if image.zero_point == 0 else f"(level + {image.zero_point})"
        return f"{value}.toByte()"
    return (
        f"round(level / 255f / {image.scale!r}f + {image.zero_point})"
        f".toInt().coerceIn({low}, {high}).toByte()"
    )


_DECODE = Template("""
    /** The output `$name` as the network stores it, to floats. */
    fun decodeDelta(stored: ByteArray): FloatArray {
        val tensor = OUTPUTS.first { it.name == "$name" }
        val scale = checkNotNull(tensor.scale)
        val mask = if (tensor.dtype == "uint8") 0xFF else -1
        val zero = tensor.zeroPoint
        return FloatArray(stored.size) { ((stored[it].toInt() and mask) - zero) * scale }
    }
""")

_KOTLIN = _Language(".kt", "wrapper.kt.txt", _kotlin_tensor)
_SWIFT = _Language(".swift", "wrapper.swift.txt", _swift_tensor)
_LANGUAGES = {"tflite": _KOTLIN, "onnx": _KOTLIN, "coreml": _SWIFT, "executorch": _KOTLIN}
