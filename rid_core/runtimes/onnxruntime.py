"""An exported ``.onnx`` in ONNX Runtime, on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rid_core.errors import MissingExtraError
from rid_core.runtimes.base import (
    ExportedRuntime,
    check_signature,
    open_metadata,
    refusal,
    stored_batch,
)

_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}
_ERRORS_ONLY = 3


def session_options(threads: int | None) -> Any:
    """Options of every session: ``threads`` of one operator (its own choice if None), no notices.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtraError("onnxruntime", "export") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = threads or 0
    # Idle workers of one session must not take cores from whatever runs next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


class OnnxSession:
    """An ``InferenceSession``; see :class:`rid_core.runtimes.base.Session`."""

    def __init__(self, model: Path | bytes, *, threads: int | None = None) -> None:
        """Open a file, or the bytes of one.

        Raises:
            Exception: of ONNX Runtime's own; its types are not public.
            MissingExtraError: it is not installed.
        """
        options = session_options(threads)
        import onnxruntime

        self._session = onnxruntime.InferenceSession(
            model if isinstance(model, bytes) else str(model),
            options,
            providers=["CPUExecutionProvider"],
        )
        self.name = f"ONNX Runtime {onnxruntime.__version__}, CPU"
        (entry,) = self._session.get_inputs()
        self._input = entry.name
        self.signature = [
            (node.name, _DTYPES.get(node.type, node.type), tuple(node.shape))
            for node in (entry, *self._session.get_outputs())
        ]
        self.outputs = [name for name, *_ in self.signature[1:]]
        self._stored = np.empty(0)
        self._values: dict[str, np.ndarray] = {}

    def feed(self, stored: np.ndarray) -> None:
        """Set the input."""
        self._stored = stored

    def infer(self) -> None:
        """Run the session."""
        values = self._session.run(self.outputs, {self._input: self._stored})
        self._values = dict(zip(self.outputs, values))  # noqa: B905 - strict= came with 3.10

    def fetch(self, name: str) -> np.ndarray:
        """An output."""
        return self._values[name]

    def predict(self, image: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Outputs as stored of a model without metadata, for a float32 image [H, W, 3]."""
        _, dtype, shape = self.signature[0]
        self.feed(stored_batch(image, dtype, pixels_last=shape[-1] == 3))
        self.infer()
        return {name: self.fetch(name) for name in names}

    def delta(self, image: np.ndarray) -> np.ndarray:
        """The unit perturbation of a model without metadata, [H, W, 3] or [3, H, W]."""
        value: np.ndarray = self.predict(image, ["delta"])["delta"][0]
        return value


class OnnxRuntime(ExportedRuntime):
    """See :class:`rid_core.runtimes.base.ModelRuntime`."""

    session: OnnxSession

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
        metadata = open_metadata(path, sealed=sealed)
        try:
            session = OnnxSession(Path(path), threads=threads)
        except MissingExtraError:
            raise
        except Exception as error:  # noqa: BLE001 - its exception types are not public
            raise refusal(path, "ONNX Runtime", error) from None
        super().__init__(path, session, metadata)
        check_signature(path, metadata, session.signature)
