"""Operators are read from the bytes; what is damaged is refused in one line."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from rid_core.errors import RidError
from rid_core.operators import operator_counts


def message(number: int, *parts: bytes) -> bytes:
    """A protobuf field with a message of under 128 bytes."""
    body = b"".join(parts)
    key = number << 3 | 2
    head = bytes([key]) if key < 128 else bytes([key & 127 | 128, key >> 7])
    assert len(body) < 128
    return head + bytes([len(body)]) + body


def onnx(*op_types: bytes) -> bytes:
    nodes = (message(1, message(1, b"x"), message(2, b"y"), message(4, op)) for op in op_types)
    return b"\x08\x09" + message(7, *nodes)


def test_onnx(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(onnx(b"Relu", b"Conv", b"Conv", b"Tanh"))
    counts = operator_counts(path)
    assert counts == {"Conv": 2, "Relu": 1, "Tanh": 1}
    assert list(counts) == ["Conv", "Relu", "Tanh"]  # most frequent first


def test_coreml(tmp_path: Path) -> None:
    package = tmp_path / "m.mlpackage"
    (package / "Data").mkdir(parents=True)
    entry = {"path": "m.mlmodel"}
    manifest = {"rootModelIdentifier": "r", "itemInfoEntries": {"r": entry}}
    (package / "Manifest.json").write_text(json.dumps(manifest))
    operations = (message(3, message(1, op)) for op in (b"const", b"conv", b"relu", b"conv"))
    block = message(3, message(1, b"CoreML7"), message(2, *operations))
    program = message(2, message(1, b"main"), message(2, block))
    (package / "Data" / "m.mlmodel").write_bytes(message(502, program))
    assert operator_counts(package) == {"conv": 2, "relu": 1}


class Flatbuffer:
    """Just enough to write tables front to back, every reference to what comes later."""

    def __init__(self) -> None:
        self.data = bytearray(8)
        self.data[4:8] = b"TFL3"

    def table(self, *fields: tuple[str, int] | None) -> int:
        """A table with 4-byte fields; values may be patched by :meth:`link`."""
        vtable = len(self.data)
        self.data += struct.pack("<HH", 4 + 2 * len(fields), 4 + 4 * len(fields))
        for index, field in enumerate(fields):
            self.data += struct.pack("<H", 0 if field is None else 4 + 4 * index)
        self.data += bytes(-len(self.data) % 4)
        start = len(self.data)
        self.data += struct.pack("<i", start - vtable)
        for field in fields:
            kind, value = field or ("i", 0)
            self.data += struct.pack(f"<{kind}", value).ljust(4, b"\0")
        return start

    def vector(self, count: int) -> int:
        start = len(self.data)
        self.data += struct.pack("<I", count) + bytes(4 * count)
        return start

    def link(self, at: int, target: int) -> None:
        struct.pack_into("<I", self.data, at, target - at)


def tflite(codes: list[tuple[int, int]], operators: list[int]) -> bytes:
    """A model with operator codes (old field, new field) and operators by index of code."""
    flat = Flatbuffer()
    model = flat.table(("I", 3), ("I", 0), ("I", 0))
    flat.link(0, model)
    of_codes = flat.vector(len(codes))
    flat.link(model + 8, of_codes)
    for index, (old, new) in enumerate(codes):
        code = flat.table(("b", old), None, ("i", 1), ("i", new))
        flat.link(of_codes + 4 + 4 * index, code)
    graphs = flat.vector(1)
    flat.link(model + 12, graphs)
    graph = flat.table(None, None, None, ("I", 0))
    flat.link(graphs + 4, graph)
    of_operators = flat.vector(len(operators))
    flat.link(graph + 16, of_operators)
    for index, code_index in enumerate(operators):
        # A field that holds its default, 0, is left out.
        operator = flat.table(("I", code_index) if code_index else None)
        flat.link(of_operators + 4 + 4 * index, operator)
    return bytes(flat.data)


def test_tflite(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    # Old files have the number in one byte only; numbers above 127 are in the new field only.
    path.write_bytes(tflite([(3, 0), (28, 28), (127, 152), (127, 250)], [0, 1, 0, 2, 3, 0]))
    assert operator_counts(path) == {
        "CONV_2D": 3,
        "RELU_0_TO_1": 1,
        "TANH": 1,
        "operator 250": 1,
    }


def test_names_are_those_of_the_schema() -> None:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    from rid_core.operators import _TFLITE_NAMES

    for name, number in vars(schema.BuiltinOperator).items():
        if not name.startswith("_") and number < len(_TFLITE_NAMES):
            assert _TFLITE_NAMES[number] == name
    assert len(_TFLITE_NAMES) > 200


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.95])
def test_truncated(share: float, tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    data = tflite([(3, 3), (28, 28)], [0, 1, 0])
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(RidError, match="damaged TFLite file") as caught:
        operator_counts(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("position", range(8, 160, 4))
def test_wild_offsets_are_refused_or_read(position: int, tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    data = bytearray(tflite([(3, 3), (28, 28)], [0, 1, 0]))
    struct.pack_into("<I", data, min(position, len(data) - 4), 0xFFFFFFF0)
    path.write_bytes(data)
    message = ""
    try:
        operator_counts(path)
    except RidError as error:
        message = str(error)
    assert "\n" not in message


def test_others(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(b"hello, I am no model")
    with pytest.raises(RidError, match="no exported defender"):
        operator_counts(path)
    header = json.dumps({"__metadata__": {}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(RidError, match="a checkpoint has no operators"):
        operator_counts(path)
    with pytest.raises(RidError, match="cannot be read"):
        operator_counts(tmp_path / "none")
