"""Ways to run a defender: torch, ONNX Runtime, LiteRT and Core ML behind one protocol.

>>> runtime = load_runtime("rid-s")                      # doctest: +SKIP
>>> unit = runtime.perturb(image)                        # doctest: +SKIP

The packages behind a runtime are imported when a file of its kind is opened, never before.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import cast

from rid_core.artifact import artifact_format
from rid_core.checkpoint import find_model
from rid_core.runtimes.base import Runtime

_RUNTIMES = {
    "torch": ("rid_core.runtimes.torch_runtime", "TorchRuntime"),
    "onnx": ("rid_core.runtimes.onnx_runtime", "OnnxRuntime"),
    "tflite": ("rid_core.runtimes.litert_runtime", "LiteRTRuntime"),
    "coreml": ("rid_core.runtimes.coreml_runtime", "CoreMLRuntime"),
}


def load_runtime(path_or_preset: str | Path, *, threads: int | None = None) -> Runtime:
    """Open a checkpoint or an exported file, by its path or as :func:`find_model` takes it.

    What a file is, is told by its content; its suffix does not matter.

    Args:
        path_or_preset: ``"rid-s"``, or a ``.safetensors``, ``.onnx``, ``.tflite`` or ``.mlpackage``
            file.
        threads: CPU threads; the runtime's own choice if None.

    Raises:
        RidError: missing, damaged or foreign file, or one this machine cannot run.
        MissingExtraError: the runtime is not installed.
    """
    path = find_model(path_or_preset)
    module, name = _RUNTIMES[artifact_format(path)]
    opened = getattr(importlib.import_module(module), name)(path, threads=threads)
    return cast(Runtime, opened)


__all__ = ["Runtime", "load_runtime"]
