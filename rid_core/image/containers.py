"""Find one block of bytes in an ONNX, TFLite or Core ML file with nothing but the file's bytes.

Three tiny readers: protobuf's wire format (ONNX and Core ML), flatbuffers (TFLite) and the manifest
of a Core ML package. They touch only the pages they need (files are mapped, not read), never follow
an offset out of the file, and know nothing of what the block means.

Sources: the protobuf encoding guide, onnx.proto (ModelProto), Core ML's Model.proto and
FeatureTypes.proto, TensorFlow Lite's schema.fbs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

KEY = b"RID_METADATA"

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Field numbers.
_ONNX_GRAPH, _ONNX_METADATA = 7, 14
_COREML_DESCRIPTION, _COREML_METADATA, _COREML_USER_DEFINED = 2, 100, 100
_TFLITE_BUFFERS, _TFLITE_METADATA = 4, 6
_PTE_MAGIC = b"ET12"


class DamagedError(Exception):
    """The file breaks its own format; the text says how, in a few words."""


@dataclass(frozen=True)
class Block:
    """Where the block lies.

    Attributes:
        file: the file itself, or the one inside a package.
        offset: of the first byte.
        length: in bytes.
    """

    file: Path
    offset: int
    length: int


@contextlib.contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap]:
    """The file's bytes, read on demand; an empty file is damaged."""
    with path.open("rb") as handle:
        try:
            data = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            raise DamagedError("empty file") from None
        with data:
            yield data


def identify(path: Path) -> str | None:
    """``tflite``, ``onnx``, ``coreml``, ``executorch``, ``torch`` (safetensors), or None."""
    if path.is_dir():
        if not (path / "Manifest.json").is_file():
            raise DamagedError("a folder, but no Core ML package (it has no Manifest.json)")
        return "coreml"
    with mapped(path) as data:
        head = data[:9]
        if head[4:8] == b"TFL3":
            return "tflite"
        if head[4:8] == _PTE_MAGIC:
            return "executorch"
        if head[4:6] == b"ET" and head[6:8].isdigit():
            raise DamagedError(
                f"an ExecuTorch program of version {head[6:8].decode()}; this release reads "
                f"version {_PTE_MAGIC[2:].decode()}, so export it again"
            )
        if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= len(data):
            return "torch"
        # ONNX has no magic number. Its first field is the version (1, a varint), and its graph
        # (7) is a message.
        if head[:1] == b"\x08":
            try:
                if any(number == _ONNX_GRAPH for number, *_ in fields(data, 0, len(data))):
                    return "onnx"
            except DamagedError:
                raise DamagedError(
                    "a truncated or damaged file (ONNX by its first bytes)"
                ) from None
    return None


def find_block(path: Path, kind: str) -> Block | None:
    """The block stored under :data:`KEY`, or None if there is none.

    Raises:
        DamagedError: the file breaks its format, or holds two such blocks.
        OSError: it cannot be read.
    """
    file = root_model(path) if kind == "coreml" else path
    with mapped(file) as data:
        finder = {
            "onnx": _onnx_blocks,
            "tflite": _tflite_blocks,
            "coreml": _coreml_blocks,
            "executorch": _executorch_blocks,
        }[kind]
        try:
            found = list(finder(data))
        except (struct.error, IndexError):
            raise DamagedError("truncated, or an offset points outside") from None
    if len(found) > 1:
        raise DamagedError("it carries RID metadata twice")
    return Block(file, *found[0]) if found else None


def part_files(path: Path, kind: str) -> list[Path]:
    """The files that make the artefact; in a package, hidden files (a Finder's) do not count."""
    if kind != "coreml":
        return [path]
    parts = (p for p in (path / "Data").rglob("*") if p.is_file())
    return sorted(
        p for p in parts if not any(name.startswith(".") for name in p.relative_to(path).parts)
    )


def blank_digest(path: Path, files: list[Path], block: Block) -> str:
    """SHA-256 over names (inside a package) and bytes of ``files``, ``block`` left out."""
    digest = hashlib.sha256()
    for file in files:
        if file != path:
            digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        with mapped(file) as data, memoryview(data) as view:
            if file == block.file:
                digest.update(view[: block.offset])
                digest.update(view[block.offset + block.length :])
            else:
                digest.update(view)
    return digest.hexdigest()


# -- protobuf ------------------------------------------------------------------------------------


def _varint(data: bytes | mmap.mmap, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise DamagedError("truncated")


def encoded_field(number: int, content: bytes | bytearray) -> bytes:
    """A field of text, bytes or a message, as :func:`fields` reads it."""
    written = bytearray()
    for value in (number << 3 | _BYTES, len(content)):
        while value > 0x7F:
            written.append(value & 0x7F | 0x80)
            value >>= 7
        written.append(value)
    return bytes(written + content)


def fields(data: bytes | mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(field number, first byte, end) of every field of the message in ``data[at:end]``."""
    while at < end:
        key, at = _varint(data, at, end)
        number, wire = key >> 3, key & 7
        start = at
        if wire == _VARINT:
            _, at = _varint(data, at, end)
        elif wire == _BYTES:
            length, start = _varint(data, at, end)
            at = start + length
        elif wire in (_FIXED64, _FIXED32):
            at += 8 if wire == _FIXED64 else 4
        else:
            raise DamagedError("not protobuf")
        if at > end or number == 0:
            raise DamagedError("truncated")
        yield number, start, at


def _entry(data: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int]]:
    """(offset, length) of a key-value message's value (2) if its key (1) is ours."""
    parts = {number: (start, stop) for number, start, stop in fields(data, at, end)}
    if 1 in parts and 2 in parts and data[slice(*parts[1])] == KEY:
        start, stop = parts[2]
        yield start, stop - start


def _onnx_blocks(data: mmap.mmap) -> Iterator[tuple[int, int]]:
    for number, start, stop in fields(data, 0, len(data)):
        if number == _ONNX_METADATA:
            yield from _entry(data, start, stop)


def _coreml_blocks(data: mmap.mmap) -> Iterator[tuple[int, int]]:
    for number, start, stop in fields(data, 0, len(data)):
        if number == _COREML_DESCRIPTION:
            for inner, at, end in fields(data, start, stop):
                if inner == _COREML_METADATA:
                    for leaf, first, last in fields(data, at, end):
                        if leaf == _COREML_USER_DEFINED:
                            yield from _entry(data, first, last)


def root_model(package: Path) -> Path:
    """The model file that a package's manifest names."""
    try:
        manifest = json.loads((package / "Manifest.json").read_bytes())
        entry = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]
        file: Path = package / "Data" / entry["path"]
    except (ValueError, KeyError, TypeError):
        raise DamagedError("its Manifest.json names no model") from None
    if not file.resolve().is_relative_to(package.resolve()) or not file.is_file():
        raise DamagedError("the model that its Manifest.json names is missing")
    return file


# -- flatbuffers ---------------------------------------------------------------------------------


def u32(data: mmap.mmap, at: int) -> int:
    """The unsigned 32-bit number at a position, little-endian."""
    value: int = struct.unpack_from("<I", data, at)[0]
    return value


def field(data: mmap.mmap, table: int, index: int) -> int | None:
    """Position of a table's field, or None if it is absent."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    if vtable < 0:
        raise DamagedError("an offset points outside")
    slot = 4 + 2 * index
    if slot >= struct.unpack_from("<H", data, vtable)[0]:
        return None
    offset: int = struct.unpack_from("<H", data, vtable + slot)[0]
    return table + offset if offset else None


def vector(data: mmap.mmap, table: int, index: int) -> tuple[int, int]:
    """(first element, count) of a vector field; (0, 0) if it is absent."""
    at = field(data, table, index)
    if at is None:
        return 0, 0
    start = at + u32(data, at)
    return start + 4, u32(data, start)


def tables(data: mmap.mmap, table: int, index: int) -> list[int]:
    """Positions of the tables in a table's field."""
    start, count = vector(data, table, index)
    if start + 4 * count > len(data):
        raise DamagedError("truncated")
    return [at + u32(data, at) for at in range(start, start + 4 * count, 4)]


def _tflite_blocks(data: mmap.mmap) -> Iterator[tuple[int, int]]:
    model = u32(data, 0)
    buffers = tables(data, model, _TFLITE_BUFFERS)
    for entry in tables(data, model, _TFLITE_METADATA):
        start, length = vector(data, entry, 0)
        if data[start : start + length] != KEY:
            continue
        at = field(data, entry, 1)
        first, size = vector(data, buffers[u32(data, at) if at else 0], 0)
        if first + size > len(data):
            raise DamagedError("truncated")
        yield first, size


# -- what lies behind a program -----------------------------------------------------------


def trailer(text: bytes) -> bytes:
    """The block as it is appended to an ExecuTorch program, whose own header says where it ends."""
    return text + len(text).to_bytes(8, "little") + KEY


def _executorch_blocks(data: mmap.mmap) -> Iterator[tuple[int, int]]:
    end = len(data) - len(KEY) - 8
    if end < 0 or data[end + 8 :] != KEY:
        return
    length = int.from_bytes(data[end : end + 8], "little")
    if length > end:
        raise DamagedError("an offset points outside")
    yield end - length, length
