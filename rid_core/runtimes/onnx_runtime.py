"""An exported ``.onnx`` in ONNX Runtime, on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rid_core.errors import MissingExtraError, RidError
from rid_core.runtimes._exported import ExportedRuntime

_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}
_ERRORS_ONLY = 3


class OnnxRuntime(ExportedRuntime):
    """See :class:`rid_core.runtimes.base.Runtime`."""

    def __init__(
        self, path: str | Path, *, threads: int | None = None, sealed: bool = True
    ) -> None:
        """Open the file.

        Args:
            path: of the file.
            threads: of one operator; ONNX Runtime's own choice if None.
            sealed: whether its digest must fit.

        Raises:
            RidError: missing, damaged, foreign or altered file.
            MissingExtraError: ONNX Runtime is not installed.
        """
        super().__init__(path, sealed=sealed)
        try:
            import onnxruntime
        except ImportError:
            raise MissingExtraError("onnxruntime", "export") from None

        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        options.intra_op_num_threads = threads or 0
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # noqa: BLE001 - its exception types are not public
            raise RidError(f"{path}: ONNX Runtime refuses it ({_first_line(error)})") from None
        self.name = f"ONNX Runtime {onnxruntime.__version__}, CPU"
        nodes = (*self._session.get_inputs(), *self._session.get_outputs())
        self.check_signature((n.name, _DTYPES.get(n.type, n.type), tuple(n.shape)) for n in nodes)

    def infer(self, stored: np.ndarray) -> dict[str, np.ndarray]:
        """Run the session."""
        names = [info.name for info in self.metadata.outputs]
        values = self._session.run(names, {self.metadata.inputs[0].name: stored})
        return dict(zip(names, values, strict=True))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
