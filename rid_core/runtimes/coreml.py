"""An exported ``.mlpackage`` in Core ML: macOS only."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from rid_core.errors import MissingExtraError, RidError
from rid_core.runtimes.base import ExportedRuntime, open_metadata


class CoreMLSession:
    """An ``MLModel``; see :class:`rid_core.runtimes.base.Session`."""

    def __init__(self, path: Path) -> None:
        import coremltools

        self.name = f"Core ML on macOS, coremltools {coremltools.__version__}"
        self._model: Any = coremltools.models.MLModel(str(path))
        self._picture: Any = None
        self._answer: dict[str, Any] = {}

    def feed(self, stored: np.ndarray) -> None:
        """A picture, as the image type takes it, of uint8 pixels [H, W, 3]."""
        from PIL import Image

        self._picture = Image.fromarray(stored)

    def infer(self) -> None:
        """The prediction, with the copies that coremltools makes."""
        self._answer = self._model.predict({"image": self._picture})

    def fetch(self, name: str) -> np.ndarray:
        """uint8 [H, W, 3] of a picture (perhaps with alpha), or a multi-array [1, 3, H, W]."""
        value = self._answer[name]
        return np.asarray(value.convert("RGB") if hasattr(value, "convert") else value)


class CoreMLRuntime(ExportedRuntime):
    """See :class:`rid_core.runtimes.base.ModelRuntime`."""

    on_cpu = False

    def __init__(
        self, path: str | Path, *, threads: int | None = None, sealed: bool = True
    ) -> None:
        """Open the package.

        Args:
            path: of the package.
            threads: not used; Core ML chooses.
            sealed: whether its digest must fit.

        Raises:
            RidError: missing, damaged, foreign or altered package, or no Mac.
            MissingExtraError: coremltools is not installed.
        """
        metadata = open_metadata(path, sealed=sealed)
        if sys.platform != "darwin":
            raise RidError(
                f"{path}: Core ML runs on macOS only; on this machine use the .onnx or .tflite, "
                "and check a package with: rid-export verify"
            )
        try:
            session = CoreMLSession(Path(path))
        except ImportError:
            raise MissingExtraError("coremltools", "export") from None
        except Exception as error:  # noqa: BLE001 - it raises plain exceptions
            raise RidError(f"{path}: Core ML refuses it ({error})") from None
        super().__init__(path, session, metadata)
