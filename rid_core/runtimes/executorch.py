"""An exported ``.pte`` in ExecuTorch's runtime, on the CPU."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rid_core.errors import MissingExtraError, RidError
from rid_core.runtimes.base import ExportedRuntime, check_signature, open_metadata, refusal


class ExecuTorchSession:
    """A program's method ``forward``; see :class:`rid_core.runtimes.base.Session`."""

    def __init__(self, path: Path, outputs: Sequence[str]) -> None:
        """Open a program whose outputs have these names, in this order."""
        from executorch.runtime import Runtime

        self.name = f"ExecuTorch {importlib.metadata.version('executorch')}, XNNPACK"
        self._program = Runtime.get().load_program(path.read_bytes())  # the method looks into it
        self._method: Any = self._program.load_method("forward")
        self._outputs = outputs
        self._stored: Any = None
        self._values: dict[str, Any] = {}

    @property
    def signature(self) -> list[tuple[str, str, tuple[object, ...]]]:
        """Name, dtype and shape of input and outputs; a program keeps no names."""
        about = self._method.metadata
        tensors = [about.input_tensor_meta(0)]
        tensors += [about.output_tensor_meta(index) for index in range(about.num_outputs())]
        names = ["image", *self._outputs]
        kinds = {6: "float32"}  # of PyTorch's scalar types
        return [
            (name, kinds.get(info.dtype(), str(info.dtype())), tuple(info.sizes()))
            for name, info in zip(names, tensors)  # noqa: B905 - strict= came with 3.10
        ]

    def feed(self, stored: np.ndarray) -> None:
        """Set the input."""
        import torch

        self._stored = torch.from_numpy(stored)

    def infer(self) -> None:
        """Run the method."""
        values = self._method.execute([self._stored])
        self._values = dict(zip(self._outputs, values))  # noqa: B905 - as above

    def fetch(self, name: str) -> np.ndarray:
        """An output."""
        value: np.ndarray = self._values[name].numpy()
        return value


class ExecuTorchRuntime(ExportedRuntime):
    """See :class:`rid_core.runtimes.base.ModelRuntime`."""

    def __init__(
        self, path: str | Path, *, threads: int | None = None, sealed: bool = True
    ) -> None:
        """Open the file.

        Args:
            path: of the .pte file.
            threads: not used; ExecuTorch's Python runtime chooses.
            sealed: whether its digest must fit.

        Raises:
            RidError: missing, damaged, foreign or altered file.
            MissingExtraError: ExecuTorch is not installed.
        """
        metadata = open_metadata(path, sealed=sealed)
        try:
            session = ExecuTorchSession(Path(path), [info.name for info in metadata.outputs])
        except ImportError:
            raise MissingExtraError("executorch", "executorch") from None
        except Exception as error:  # noqa: BLE001 - it raises plain exceptions
            raise refusal(path, "ExecuTorch", error) from None
        super().__init__(path, session, metadata)
        try:
            check_signature(path, metadata, session.signature)
        except RuntimeError as error:
            raise RidError(f"{path}: ExecuTorch cannot say what it takes ({error})") from None
