"""Put the metadata block into each format, and draft what it says."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from rid_core.artifact import ArtifactMetadata, TensorInfo
from rid_core.image.containers import encoded_field, trailer
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


def contract_tensors(
    spec: ExportSpec, layout: str
) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
    """Inputs and outputs as tensors of ``layout``, in the type that ``spec.io`` asks for.

    As uint8, ``image`` and ``protected`` hold 0..255 for 0..1; ``delta`` is always float32.
    """
    inputs, outputs = float_tensors(spec, layout)
    if spec.io == "float32":
        return inputs, outputs

    def stored(info: TensorInfo) -> TensorInfo:
        if info.name == "delta":
            return info
        return dataclasses.replace(info, dtype="uint8", scale=1 / 255)

    return tuple(map(stored, inputs)), tuple(map(stored, outputs))


def draft(
    target: Target,
    spec: ExportSpec,
    defender: Defender,
    card: ModelCard,
    *,
    calibration: str | None = None,
    unfit: str | None = None,
    float_layers: tuple[str, ...] = (),
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
        layout=spec.layout or target.layout,
        dynamic=spec.dynamic,
        calibration=calibration if spec.calibrated else None,
        unfit=unfit if spec.calibrated else None,
        float_layers=float_layers,
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


def embed_onnx(path: Path, text: str) -> None:
    """Append an entry of ``ModelProto.metadata_props`` (field 14) to the file.

    Fields of a protobuf message come in any order and repeated ones add up, so nothing of what is
    there has to be parsed or moved.
    """
    entry = encoded_field(1, KEY.encode()) + encoded_field(2, text.encode())
    with path.open("ab") as handle:
        handle.write(encoded_field(14, entry))


def embed_tflite(path: Path, text: str) -> None:
    """Add a metadata buffer, and call the tensors of the signature by their names."""
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    from rid_export.backends.litert.graph import TFLiteGraph, read_model, write_model

    model = read_model(path.read_bytes())
    graph = TFLiteGraph(model)
    model.description = b"rid-export"
    for entry in graph.ends():
        graph.tensors[entry.tensorIndex].name = entry.name
    note = schema.MetadataT()
    note.name = KEY.encode()
    note.buffer = graph.add_buffer(np.frombuffer(text.encode(), np.uint8))
    model.metadata = [*(model.metadata or []), note]
    path.write_bytes(write_model(model))


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


def embed_executorch(path: Path, text: str) -> None:
    """Append the block behind the program: its runtime reads no further than the header says."""
    with path.open("ab") as handle:
        handle.write(trailer(text.encode()))
