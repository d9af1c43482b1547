"""The metadata document, and reading it from bytes built by hand: no toolchain is involved."""

from __future__ import annotations

import dataclasses
import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rid_core import artifact
from rid_core.artifact import ArtifactMetadata, Check, Parity, TensorInfo
from rid_core.errors import RidError

KEY = b"RID_METADATA"


def metadata(kind: str = "onnx", **changes: object) -> ArtifactMetadata:
    shape = (1, 32, 32, 3) if kind == "tflite" else (1, 3, 32, 32)
    base = ArtifactMetadata(
        format=kind,
        preset="rid-s",
        levels=8,
        resolution=32,
        stride=16,
        layout="nhwc" if kind == "tflite" else "nchw",
        precision="fp32",
        inputs=(TensorInfo("image", "float32", shape, 0, 1),),
        outputs=(
            TensorInfo("protected", "float32", shape, 0, 1),
            TensorInfo("delta", "float32", shape, -1, 1),
        ),
        weights="ab" * 32,
        licence="Apache-2.0",
        created="2026-01-01T00:00:00+00:00",
        tools={"torch": "2.13.0"},
    )
    return dataclasses.replace(base, **changes)


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def message(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def onnx_bytes(text: bytes | None, graph: bytes = b"weights" * 400) -> bytes:
    body = b"\x08\x0a" + message(7, message(5, graph)) + message(8, b"\x10\x12")
    body += message(14, message(1, b"other") + message(2, b"x"))
    if text is not None:
        body += message(14, message(1, KEY) + message(2, text))
    return body


def coreml_package(folder: Path, text: bytes | None, weights: bytes = b"weights" * 400) -> Path:
    package = folder / "m.mlpackage"
    data = package / "Data" / "com.apple.CoreML"
    (data / "weights").mkdir(parents=True)
    (data / "weights" / "weight.bin").write_bytes(weights)
    user = message(100, message(1, b"other") + message(2, b"x"))
    if text is not None:
        user += message(100, message(1, KEY) + message(2, text))
    description = message(1, b"input") + message(100, message(3, b"author") + user)
    (data / "model.mlmodel").write_bytes(b"\x08\x08" + message(2, description) + message(502, b"p"))
    manifest = {
        "itemInfoEntries": {"id": {"path": "com.apple.CoreML/model.mlmodel"}},
        "rootModelIdentifier": "id",
    }
    (package / "Manifest.json").write_text(json.dumps(manifest))
    return package


def tflite_bytes(text: bytes | None, weights: bytes = b"weights" * 400) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1024)

    def buffer(data: bytes) -> int:
        vector = builder.CreateByteVector(data)
        builder.StartObject(3)
        builder.PrependUOffsetTRelativeSlot(0, vector, 0)
        return builder.EndObject()

    def vector_of(tables: list[int]) -> int:
        builder.StartVector(4, len(tables), 4)
        for table in reversed(tables):
            builder.PrependUOffsetTRelative(table)
        return builder.EndVector()

    def entry(name: str, index: int) -> int:
        text_at = builder.CreateString(name)
        builder.StartObject(2)
        builder.PrependUOffsetTRelativeSlot(0, text_at, 0)
        builder.PrependUint32Slot(1, index, 0)
        return builder.EndObject()

    buffers = [buffer(b""), buffer(weights)]
    entries = [entry("min_runtime_version", 0)]
    if text is not None:
        buffers.append(buffer(text))
        entries.append(entry(KEY.decode(), 2))
    buffers_at, entries_at = vector_of(buffers), vector_of(entries)
    builder.StartObject(8)
    builder.PrependUint32Slot(0, 3, 0)
    builder.PrependUOffsetTRelativeSlot(4, buffers_at, 0)
    builder.PrependUOffsetTRelativeSlot(6, entries_at, 0)
    builder.Finish(builder.EndObject(), file_identifier=b"TFL3")
    return bytes(builder.Output())


def write(folder: Path, kind: str, text: bytes | None, **options: bytes) -> Path:
    if kind == "coreml":
        return coreml_package(folder, text, **options)
    path = folder / f"m.{kind}"
    make = {"onnx": onnx_bytes, "tflite": tflite_bytes}[kind]
    path.write_bytes(make(text, *options.values()))
    return path


KINDS = ("onnx", "tflite", "coreml")


@pytest.mark.parametrize("kind", KINDS)
def test_metadata_survives_every_container(tmp_path: Path, kind: str) -> None:
    wanted = metadata(kind)
    path = write(tmp_path, kind, artifact.padded(wanted).encode())
    assert artifact.artifact_format(path) == kind
    assert artifact.read_metadata(path) == wanted

    figures = (Parity("a runtime", 1, (Check("delta_sqnr_db", 99.5, 60, "min"),)),)
    before = artifact.payload_size(path)
    sealed = artifact.seal(path, dataclasses.replace(wanted, parity=figures))
    assert artifact.payload_size(path) == before
    assert artifact.read_metadata(path) == sealed
    assert sealed.parity == figures
    artifact.check_digest(path, sealed)


@pytest.mark.parametrize("kind", KINDS)
def test_changed_network_is_refused(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, kind, artifact.padded(metadata(kind)).encode())
    sealed = artifact.seal(path, metadata(kind))
    file = path / "Data/com.apple.CoreML/weights/weight.bin" if kind == "coreml" else path
    data = file.read_bytes()
    spoilt = data.replace(b"weightsweights", b"weightsweightz", 1)
    assert spoilt != data
    file.write_bytes(spoilt)
    with pytest.raises(RidError, match="damaged, or changed after its export"):
        artifact.check_digest(path, artifact.read_metadata(path))
    file.write_bytes(data)
    artifact.check_digest(path, sealed)


def test_unsealed_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "onnx", artifact.padded(metadata()).encode())
    with pytest.raises(RidError, match="never finished"):
        artifact.check_digest(path, artifact.read_metadata(path))


@pytest.mark.parametrize("kind", KINDS)
def test_foreign_file_says_so(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, kind, None)
    with pytest.raises(RidError, match="not one of ours"):
        artifact.read_metadata(path)


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_content_under_the_right_name(tmp_path: Path, kind: str) -> None:
    other = "tflite" if kind == "onnx" else "onnx"
    path = write(tmp_path, kind, artifact.padded(metadata(other)).encode())
    with pytest.raises(RidError, match="with the metadata of"):
        artifact.read_metadata(path)


def test_suffix_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(tflite_bytes(artifact.padded(metadata("tflite")).encode()))
    assert artifact.read_metadata(path).format == "tflite"


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_no_truncation_goes_unnoticed(tmp_path: Path, kind: str) -> None:
    whole = write(tmp_path, kind, artifact.padded(metadata(kind)).encode())
    artifact.seal(whole, metadata(kind))
    data = whole.read_bytes()
    cut = tmp_path / "cut"
    for length in range(0, len(data), 97):
        cut.write_bytes(data[:length])
        with pytest.raises(RidError):
            artifact.check_digest(cut, artifact.read_metadata(cut))


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["onnx", "tflite"]),
    where=st.floats(0, 0.999),
    value=st.integers(0, 255),
    head=st.booleans(),
)
def test_damage_is_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, kind: str, where: float, value: int, head: bool
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    path = write(folder, kind, artifact.padded(metadata(kind)).encode())
    artifact.seal(path, metadata(kind))
    data = bytearray(path.read_bytes())
    data[int(where * (120 if head else len(data)))] = value
    intact = bytes(data) == path.read_bytes()
    path.write_bytes(data)
    try:
        artifact.check_digest(path, artifact.read_metadata(path))
    except RidError as error:
        assert not intact
        assert "\n" not in str(error)  # noqa: PT017


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("bytes") / "x.onnx"
    path.write_bytes(data)
    with pytest.raises(RidError):
        artifact.read_metadata(path)


def test_metadata_twice(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    text = artifact.padded(metadata()).encode()
    path.write_bytes(onnx_bytes(text) + message(14, message(1, KEY) + message(2, text)))
    with pytest.raises(RidError, match="twice"):
        artifact.read_metadata(path)


def test_oversized_block(tmp_path: Path) -> None:
    path = write(tmp_path, "onnx", b" " * (2 << 20))
    with pytest.raises(RidError, match="bytes long"):
        artifact.read_metadata(path)


def test_manifest_cannot_point_out_of_the_package(tmp_path: Path) -> None:
    package = coreml_package(tmp_path, artifact.padded(metadata("coreml")).encode())
    (tmp_path / "outside").write_bytes(b"\x08\x08")
    manifest = {
        "itemInfoEntries": {"id": {"path": "../../outside"}},
        "rootModelIdentifier": "id",
    }
    (package / "Manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RidError, match="missing"):
        artifact.read_metadata(package)


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("empty.tflite", b"", "empty"),
        ("photo.jpg", b"\xff\xd8\xff\xe0" * 30, "no exported defender"),
        ("rid.safetensors", (2).to_bytes(8, "little") + b"{}", "a checkpoint, not an exported"),
    ],
)
def test_other_files(tmp_path: Path, name: str, data: bytes, text: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(RidError, match=text):
        artifact.read_metadata(tmp_path / name)


def test_missing_file_and_plain_folder(tmp_path: Path) -> None:
    with pytest.raises(RidError, match="cannot be read"):
        artifact.read_metadata(tmp_path / "none.onnx")
    with pytest.raises(RidError, match=r"no Manifest\.json"):
        artifact.read_metadata(tmp_path)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"schema": 2, "version": "9.9"}, r"schema 2, this version reads 1.*9\.9"),
        ({"levels": "8"}, "incomplete"),
        ({"levels": 0}, "levels must be between"),
        ({"preset": None}, "incomplete"),
        ({"layout": "hwcn"}, "unknown format or layout"),
        ({"resolution": 33}, "contradicts itself"),
        ({"outputs": [{"name": "delta"}]}, "incomplete"),
        ({"a_later_field": 1}, None),
    ],
)
def test_from_json(change: dict[str, object], text: str | None) -> None:
    raw = json.loads(metadata().to_json()) | change
    if text is None:
        ArtifactMetadata.from_json(json.dumps(raw), "f")
        return
    with pytest.raises(RidError, match=text):
        ArtifactMetadata.from_json(json.dumps(raw), "f")


@pytest.mark.parametrize("text", ["", "[]", "{}", "nonsense", '{"schema": 1}'])
def test_from_json_of_something_else(text: str) -> None:
    with pytest.raises(RidError, match=r"^f: its RID metadata"):
        ArtifactMetadata.from_json(text, "f")


def test_json_has_no_infinity() -> None:
    bad = metadata(parity=(Parity("r", 1, (Check("x", float("inf"), 1, "min"),)),))
    with pytest.raises(ValueError, match="JSON"):
        bad.to_json()


def test_check_and_nan() -> None:
    assert Check("x", 60, 60, "min").passed
    assert not Check("x", 60.1, 60, "max").passed
    assert not Check("x", float("nan"), 60, "min").passed
    assert not Check("x", float("nan"), 60, "max").passed


def test_quantized_tensor_round_trip() -> None:
    info = TensorInfo("image", "uint8", (1, 2, 2, 3), 0, 1, scale=1 / 255)
    levels = np.arange(12, dtype=np.float32).reshape(1, 2, 2, 3) * 23
    stored = info.encode(levels / 255)
    assert stored.dtype == np.uint8
    np.testing.assert_array_equal(stored, levels)
    np.testing.assert_allclose(info.decode(stored) * 255, levels, rtol=1e-6)
    signed = TensorInfo("delta", "int8", (1,), -1, 1, scale=1 / 127)
    np.testing.assert_array_equal(signed.encode(np.array([-2.0, -1, 0, 2])), [-128, -127, 0, 127])


def test_tensor_by_name() -> None:
    assert metadata().tensor("delta").low == -1
    with pytest.raises(RidError, match="it has image, protected, delta"):
        metadata().tensor("mask")


def test_reading_imports_no_toolchain(tmp_path: Path) -> None:
    path = write(tmp_path, "tflite", artifact.padded(metadata("tflite")).encode())
    code = (
        "import sys; from rid_core.artifact import read_metadata; "
        f"print(read_metadata({str(path)!r}).preset); "
        "print([m for m in ('torch', 'onnx', 'flatbuffers', 'google', 'coremltools') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["rid-s", "[]"]


def test_large_weights_are_not_read(tmp_path: Path) -> None:
    """The graph is skipped by its length: a sparse gigabyte costs nothing."""
    path = tmp_path / "large.onnx"
    size = 1 << 30
    with path.open("wb") as handle:
        handle.write(b"\x08\x0a" + varint(7 << 3 | 2) + varint(size))
        handle.seek(size, 1)
        text = artifact.padded(metadata()).encode()
        handle.write(message(14, message(1, KEY) + message(2, text)))
    assert struct.calcsize("P") == 8
    assert artifact.read_metadata(path) == metadata()
