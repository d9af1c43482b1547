"""Ways to run a defender: torch and all that run exported files, behind one class.

>>> runtime = load_runtime("rid-s")                      # doctest: +SKIP
>>> unit = runtime.perturb(image)                        # doctest: +SKIP

The packages behind a runtime are imported when a file of its kind is opened, never before.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from rid_core.artifact import artifact_format
from rid_core.runtimes.base import ModelRuntime, Runtime


@dataclass(frozen=True)
class Library:
    """What runs files of one format.

    Attributes:
        format: as :func:`rid_core.artifact.artifact_format` names it.
        runtime: name of the class in the module of the library's name.
        package: that is imported.
        distribution: that pip installs.
    """

    format: str
    runtime: str
    package: str
    distribution: str


LIBRARIES = {
    "litert": Library("tflite", "LiteRTRuntime", "ai_edge_litert.interpreter", "ai-edge-litert"),
    "tensorflow": Library("tflite", "TensorFlowRuntime", "tensorflow", "tensorflow"),
    "onnxruntime": Library("onnx", "OnnxRuntime", "onnxruntime", "onnxruntime"),
    "coreml": Library("coreml", "CoreMLRuntime", "coremltools", "coremltools"),
    "executorch": Library("executorch", "ExecuTorchRuntime", "executorch", "executorch"),
    "torch": Library("torch", "TorchRuntime", "torch", "torch"),
}
"""By name; the first of a format is the one that apps use."""


def load_runtime(
    path_or_preset: str | Path, *, threads: int | None = None, library: str | None = None
) -> ModelRuntime:
    """Open a checkpoint or an exported file, by its path or as :func:`find_model` takes it.

    What a file is, is told by its content; its suffix does not matter.

    Args:
        path_or_preset: ``"rid-s"``, or a ``.safetensors``, ``.onnx``, ``.tflite`` or ``.mlpackage``
            file.
        threads: CPU threads; the runtime's own choice if None.
        library: key of :data:`LIBRARIES`; the one that apps use if None.

    Raises:
        RidError: missing, damaged or foreign file, or one this machine cannot run.
        MissingExtraError: the runtime is not installed.
    """
    from rid_core.checkpoint import find_model  # the benchmark's bundles go without it

    path = find_model(path_or_preset)
    kind = artifact_format(path)
    name = library or next(name for name, each in LIBRARIES.items() if each.format == kind)
    return open_in(name, path, threads=threads)


def open_in(library: str, path: Path, **options: object) -> ModelRuntime:
    """Open a file in the library of that name, with the options of its own class."""
    module = importlib.import_module(f"rid_core.runtimes.{library}")
    return cast(ModelRuntime, getattr(module, LIBRARIES[library].runtime)(path, **options))


__all__ = ["LIBRARIES", "Library", "ModelRuntime", "Runtime", "load_runtime", "open_in"]
