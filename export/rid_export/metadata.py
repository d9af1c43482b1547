"""Put the metadata block into each format, and draft what it says."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rid_core.artifact import ArtifactMetadata, TensorInfo
from rid_export.spec import ExportSpec

if TYPE_CHECKING:
    from rid_core.checkpoint import ModelCard
    from rid_core.defenders import Defender
    from rid_export.registry import Target

KEY = "RID_METADATA"


def float_tensors(
    spec: ExportSpec, layout: str
) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
    """The contract's inputs and outputs as float32 tensors of ``layout``."""
    size = spec.resolution
    shape = (1, size, size, 3) if layout == "nhwc" else (1, 3, size, size)
    low = {"image": 0.0, "protected": 0.0, "delta": -1.0}

    def tensor(name: str) -> TensorInfo:
        return TensorInfo(name, "float32", shape, low[name], 1.0)

    return (tensor("image"),), tuple(tensor(name) for name in spec.outputs)


def draft(
    target: Target, spec: ExportSpec, defender: Defender, card: ModelCard
) -> ArtifactMetadata:
    """What is known of an artefact before it has been measured."""
    from rid_core.checkpoint import weights_digest

    inputs, outputs = target.signature(spec)
    return ArtifactMetadata(
        format=target.format,
        preset=card.preset,
        levels=card.levels,
        resolution=spec.resolution,
        stride=defender.stride,
        layout=target.layout,
        precision=spec.precision,
        inputs=inputs,
        outputs=outputs,
        weights=weights_digest(defender),
        licence=card.licence,
        created=_now(),
        tools={name: _version(name) for name in target.tools},
    )


def _now() -> str:
    """The time, or the one that a reproducible build asks for."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch:
        moment = datetime.datetime.fromtimestamp(int(epoch), datetime.UTC)
    else:
        moment = datetime.datetime.now(datetime.UTC)
    return moment.isoformat(timespec="seconds")


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def embed_onnx(path: Path, text: str) -> None:
    """Append an entry of ``ModelProto.metadata_props`` (field 14) to the file.

    Fields of a protobuf message come in any order and repeated ones add up, so nothing of what is
    there has to be parsed or moved.
    """
    key, value = KEY.encode(), text.encode()
    entry = b"\x0a" + _varint(len(key)) + key + b"\x12" + _varint(len(value)) + value
    with path.open("ab") as handle:
        handle.write(b"\x72" + _varint(len(entry)) + entry)


def embed_tflite(path: Path, text: str) -> None:
    """Add a metadata buffer, and call the tensors of the signature by their names."""
    import flatbuffers  # type: ignore[import-untyped]
    from ai_edge_litert import schema_py_generated as schema

    class AlignedBuilder(flatbuffers.Builder):  # type: ignore[misc]
        """Keeps the 16-byte alignment of weights that the schema asks for."""

        head: int

        def CreateNumpyVector(self, x: Any) -> Any:  # noqa: N802 - flatbuffers' own name
            if x.dtype.itemsize != 1:
                return super().CreateNumpyVector(x)
            self.StartVector(1, x.size, 16)
            self.head = self.head - x.size
            self.Bytes[self.head : self.head + x.size] = x.tobytes()
            return self.EndVector()

    import numpy as np

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    model.description = b"rid-export"
    tensors = model.subgraphs[0].tensors
    for signature in model.signatureDefs:
        for entry in (*signature.inputs, *signature.outputs):
            tensors[entry.tensorIndex].name = entry.name
    block = schema.BufferT()
    block.data = np.frombuffer(text.encode(), dtype=np.uint8)
    model.buffers.append(block)
    note = schema.MetadataT()
    note.name, note.buffer = KEY.encode(), len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), note]
    builder = AlignedBuilder(path.stat().st_size + len(text) + 1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())


def embed_coreml(path: Path, text: str) -> None:
    """Set a user-defined entry of the model description; also its author, licence and version."""
    from coremltools.proto import Model_pb2

    manifest = json.loads((path / "Manifest.json").read_bytes())
    root = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"]
    file = path / "Data" / root
    model = Model_pb2.Model()
    model.ParseFromString(file.read_bytes())
    document = json.loads(text)
    about = model.description.metadata
    about.author = "RID"
    about.license = document["licence"]
    about.versionString = f"{document['preset']} {document['weights'][:12]}"
    about.userDefined[KEY] = text
    file.write_bytes(model.SerializeToString(deterministic=True))
