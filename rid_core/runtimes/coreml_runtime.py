"""An exported ``.mlpackage`` in Core ML: macOS only."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from rid_core.artifact import TensorInfo
from rid_core.errors import MissingExtraError, RidError
from rid_core.runtimes._exported import ExportedRuntime, check_image


class CoreMLRuntime(ExportedRuntime):
    """See :class:`rid_core.runtimes.base.Runtime`."""

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
        super().__init__(path, sealed=sealed)
        if sys.platform != "darwin":
            raise RidError(
                f"{path}: Core ML runs on macOS only; on this machine use the .onnx or .tflite, "
                "and check a package with: rid-export verify"
            )
        try:
            import coremltools
        except ImportError:
            raise MissingExtraError("coremltools", "export") from None

        self._model: Any
        try:
            self._model = coremltools.models.MLModel(str(path))
        except Exception as error:  # noqa: BLE001 - it raises plain exceptions
            raise RidError(f"{path}: Core ML refuses it ({error})") from None
        self.name = f"Core ML on macOS, coremltools {coremltools.__version__}"

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """All outputs of one image, which is rounded to the 8 bits that an image type holds."""
        from PIL import Image

        check_image(image, self.stride, self.fixed_size)
        pixels = Image.fromarray(np.rint(image * 255).clip(0, 255).astype(np.uint8))
        raw: dict[str, Any] = self._model.predict({self.metadata.inputs[0].name: pixels})
        return {info.name: _plain(info, raw[info.name]) for info in self.metadata.outputs}


def _plain(info: TensorInfo, value: Any) -> np.ndarray:
    """[H, W, 3] float32 from a picture (perhaps with alpha) or a multi-array [1, 3, H, W]."""
    if info.dtype == "image":
        return np.asarray(value.convert("RGB"), dtype=np.float32) / 255
    planes: np.ndarray = np.asarray(value, dtype=np.float32)[0]
    return planes.transpose(1, 2, 0)
