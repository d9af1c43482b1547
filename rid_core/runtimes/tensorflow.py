"""TensorFlow's own TFLite interpreter: there are apps that still ship it instead of LiteRT."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from rid_core.errors import MissingExtraError
from rid_core.runtimes.base import ExportedRuntime, open_metadata, refusal
from rid_core.runtimes.litert import InterpreterSession, check_interpreter


def is_installed() -> bool:
    """Whether there is a TensorFlow to import; it is not imported to find out."""
    return importlib.util.find_spec("tensorflow") is not None


class TensorFlowRuntime(ExportedRuntime):
    """See :class:`rid_core.runtimes.base.ModelRuntime`."""

    def __init__(
        self, path: str | Path, *, threads: int | None = None, sealed: bool = True
    ) -> None:
        """Open the file.

        Args:
            path: of the .tflite file.
            threads: CPU threads; TensorFlow's own choice if None.
            sealed: whether its digest must fit.

        Raises:
            RidError: missing, damaged, foreign or altered file.
            MissingExtraError: TensorFlow is not installed.
        """
        metadata = open_metadata(path, sealed=sealed)
        try:
            import tensorflow
        except ImportError:
            raise MissingExtraError("tensorflow", "tensorflow") from None
        name = f"TensorFlow {tensorflow.__version__}, TFLite"
        try:
            interpreter = tensorflow.lite.Interpreter(model_path=str(path), num_threads=threads)
            session = InterpreterSession(name, interpreter)
        except (RuntimeError, ValueError) as error:
            raise refusal(path, "TensorFlow", error) from None
        super().__init__(path, session, metadata)
        check_interpreter(path, metadata, session)
