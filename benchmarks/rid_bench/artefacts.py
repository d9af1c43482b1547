"""Exported files as the harness sees them: checked before anything is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rid_bench.portable.records import Labels
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

    def labels(self) -> Labels:
        """What a result says of the file."""
        about = self.metadata
        return Labels(
            about.preset,
            FORMATS[about.format],
            about.precision,
            about.weights,
            about.resolution,
            about.levels,
            payload_size(self.path),
            self.path.name,
        )


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

    def labels(self) -> Labels:
        """What a result says of the file."""
        size = payload_size(self.path)
        return Labels(
            self.preset,
            "torch",
            "fp32",
            self.weights,
            self.resolution,
            self.levels,
            size,
            self.path.name,
        )


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
    paths: Sequence[str | Path], resolution: int = 512
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
