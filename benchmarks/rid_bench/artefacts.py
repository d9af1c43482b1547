"""Exported files as the harness sees them: checked before anything is measured."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rid_core.artifact import (
    FORMATS,
    ArtifactMetadata,
    artifact_format,
    check_digest,
    payload_size,
    read_metadata,
)
from rid_core.errors import RidError

SUFFIXES = (".tflite", ".onnx", ".mlpackage", ".safetensors")


@dataclass(frozen=True)
class Artefact:
    """An exported file whose digest fits its own metadata.

    Attributes:
        path: of the file or package.
        metadata: what it says of itself.
    """

    path: Path
    metadata: ArtifactMetadata

    def labels(self) -> dict[str, Any]:
        """What a result says of the file."""
        return {
            "name": self.metadata.preset,
            "format": FORMATS[self.metadata.format],
            "precision": self.metadata.precision,
            "weights": self.metadata.weights,
            "resolution": self.metadata.resolution,
            "levels": self.metadata.levels,
            "size_bytes": payload_size(self.path),
            "file": self.path.name,
        }

    def about(self) -> dict[str, Any]:
        """What a session has to know, as plain JSON values."""
        about: dict[str, Any] = dataclasses.asdict(self.metadata)
        wanted = ("format", "layout", "inputs", "outputs", "levels", "resolution")
        return {key: about[key] for key in wanted}


def open_artefact(path: str | Path) -> Artefact:
    """Read and check one exported file.

    Raises:
        RidError: missing, damaged, foreign, or not the network of its metadata.
    """
    path = Path(path)
    metadata = read_metadata(path)
    check_digest(path, metadata)
    if metadata.resolution < 1 or not any(info.name == "delta" for info in metadata.outputs):
        raise RidError(f"{path}: exported without delta; export it with both outputs")
    return Artefact(path, metadata)


@dataclass(frozen=True)
class Checkpoint:
    """Trained weights, to be run in torch.

    Attributes:
        path: of the file.
        preset: name of the defender.
        levels: its bound.
        weights: digest of the weights.
        resolution: at which it is measured, in pixels.
    """

    path: Path
    preset: str
    levels: int
    weights: str
    resolution: int

    def labels(self) -> dict[str, Any]:
        """What a result says of the file."""
        return {
            "name": self.preset,
            "format": "torch",
            "precision": "fp32",
            "weights": self.weights,
            "resolution": self.resolution,
            "levels": self.levels,
            "size_bytes": payload_size(self.path),
            "file": self.path.name,
        }


def open_checkpoint(path: str | Path, resolution: int = 512) -> Checkpoint:
    """Read one checkpoint.

    Raises:
        RidError: missing, damaged or foreign file, or a size that the defender does not take.
    """
    from rid_core.checkpoint import load_checkpoint, weights_digest

    defender, card = load_checkpoint(path)
    size = defender.fixed_size or resolution
    if size % defender.stride:
        raise RidError(f"{card.preset} takes multiples of {defender.stride}, not {size} pixels")
    return Checkpoint(Path(path), card.preset, card.levels, weights_digest(defender), size)


def open_all(
    paths: tuple[str | Path, ...] | list[str | Path], resolution: int = 512
) -> tuple[list[Artefact], list[Checkpoint]]:
    """Open files, folders of files, and bundled presets by name.

    Raises:
        RidError: one of them is nothing that can be measured.
    """
    from rid_core.checkpoint import find_checkpoint

    artefacts: list[Artefact] = []
    checkpoints: list[Checkpoint] = []
    for given in paths:
        path = Path(given)
        if path.is_dir() and path.suffix not in SUFFIXES:
            files = sorted(p for p in path.iterdir() if p.suffix in SUFFIXES)
            if not files:
                raise RidError(f"{path}: no exported files in it; make some with rid-export")
        else:
            files = [path if path.exists() else find_checkpoint(given)]
        for file in files:
            if artifact_format(file) == "torch":
                checkpoints.append(open_checkpoint(file, resolution))
            else:
                artefacts.append(open_artefact(file))
    return artefacts, checkpoints
