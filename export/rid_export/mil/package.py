"""Open a Core ML package: manifest, model description, program and weight files."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from rid_core.errors import MissingExtraError
from rid_export.mil.blob import BlobFile
from rid_export.mil.dtypes import MilError

_MODEL_DIRECTORY = "@model_path/"


@dataclass
class Package:
    """An opened package.

    Attributes:
        path: the ``.mlpackage`` directory.
        data: its ``Data`` directory; nothing outside is ever read.
        model_directory: directory of the model file, which weight paths are relative to.
        spec: the parsed ``Model`` message, whose type is mlProgram.
    """

    path: Path
    data: Path
    model_directory: Path
    spec: Any
    _blobs: dict[str, BlobFile] = field(default_factory=dict)

    def blob_file(self, name: str) -> BlobFile:
        """The weight file behind a program's reference such as ``@model_path/weights/…``."""
        if name not in self._blobs:
            if not name.startswith(_MODEL_DIRECTORY):
                raise MilError(f"{self.path}: weight file reference {name!r} is not understood")
            target = self.model_directory / name.removeprefix(_MODEL_DIRECTORY)
            self._blobs[name] = BlobFile(_inside(self.data, target, self.path))
        return self._blobs[name]


def _inside(data: Path, target: Path, package: Path) -> Path:
    """``target`` resolved, or MilError when it leads out of the package."""
    try:
        resolved = target.resolve()
        if resolved.is_relative_to(data.resolve()):
            return resolved
    except (ValueError, OSError):  # a null byte, a loop of links
        pass
    raise MilError(f"{package} refers to {str(target)!r}, outside itself; do not use this package")


def _new_model() -> Any:
    """An empty ``Model`` message of coremltools' generated classes."""
    # Off a Mac the import logs one warning for each native library that it lacks. None is used.
    logger = logging.getLogger("coremltools")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        from coremltools.proto import Model_pb2
    except ImportError as error:
        raise MissingExtraError("coremltools", "export") from error
    finally:
        logger.setLevel(level)
    return Model_pb2.Model()


def _model_file(path: Path) -> Path:
    """The model file that the manifest names as root."""
    manifest_file = path / "Manifest.json"
    if not path.exists():
        raise MilError(f"there is no file {path}")
    if not path.is_dir() or not manifest_file.is_file():
        raise MilError(
            f"{path} is no Core ML package: a package is a directory with a Manifest.json "
            "(an .mlmodel or .mlmodelc is not one; export an .mlpackage)"
        )
    try:
        manifest = json.loads(manifest_file.read_text(encoding="utf-8"))
        relative = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"]
        target = path / "Data" / relative
    except (ValueError, KeyError, TypeError) as error:
        raise MilError(
            f"{manifest_file} is damaged: it does not name the model file; copy the package again"
        ) from error
    model_file = _inside(path / "Data", target, path)
    if not model_file.is_file():
        raise MilError(f"{path} lacks its model file {model_file.name}; copy the package again")
    return model_file


def open_package(path: Path) -> Package:
    """Open ``path``; MilError when it is not a whole package that holds an ML program."""
    model_file = _model_file(path)
    model = _new_model()
    decode_error = import_module("google.protobuf.message").DecodeError
    try:
        model.ParseFromString(model_file.read_bytes())
    except decode_error as error:
        raise MilError(f"{model_file} is damaged: it does not parse; copy the package again") from (
            error
        )
    kind = model.WhichOneof("Type")
    if kind != "mlProgram":
        raise MilError(
            f"{path} holds {kind or 'no model'}, not an ML program; "
            "convert with convert_to='mlprogram'"
        )
    return Package(path, path / "Data", model_file.parent, model)
