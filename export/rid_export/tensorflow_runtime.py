"""TensorFlow's own TFLite interpreter: there are apps that still ship it instead of LiteRT."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from rid_core.errors import MissingExtraError, RidError
from rid_core.runtimes._exported import ExportedRuntime
from rid_core.runtimes.litert_runtime import SIGNATURE


def tensorflow_is_installed() -> bool:
    """Whether there is a TensorFlow to import; it is not imported to find out."""
    return importlib.util.find_spec("tensorflow") is not None


class TensorFlowRuntime(ExportedRuntime):
    """See :class:`rid_core.runtimes.base.Runtime`."""

    def __init__(self, path: str | Path, *, sealed: bool = True) -> None:
        """Open the file.

        Args:
            path: of the .tflite file.
            sealed: whether its digest must fit.

        Raises:
            RidError: missing, damaged, foreign or altered file.
            MissingExtraError: TensorFlow is not installed.
        """
        super().__init__(path, sealed=sealed)
        try:
            import tensorflow
        except ImportError:
            raise MissingExtraError("tensorflow", "tensorflow") from None
        try:
            self._interpreter = tensorflow.lite.Interpreter(model_path=str(path))
            self._interpreter.allocate_tensors()
            self._runner = self._interpreter.get_signature_runner(SIGNATURE)
        except (RuntimeError, ValueError) as error:
            reason = (str(error).strip().splitlines() or ["no reason given"])[0]
            raise RidError(f"{path}: TensorFlow refuses it ({reason})") from None
        self.name = f"TensorFlow {tensorflow.__version__}, TFLite"
        details = self._runner.get_input_details() | self._runner.get_output_details()
        self.check_signature(
            (name, np.dtype(d["dtype"]).name, tuple(int(n) for n in d["shape_signature"]))
            for name, d in details.items()
        )

    def infer(self, stored: np.ndarray) -> dict[str, np.ndarray]:
        """Run the signature."""
        outputs: dict[str, np.ndarray] = self._runner(**{self.metadata.inputs[0].name: stored})
        return outputs
