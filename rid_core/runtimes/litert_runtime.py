"""An exported ``.tflite`` in LiteRT, on the CPU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from rid_core.errors import MissingExtraError, RidError
from rid_core.output import suppress_output
from rid_core.runtimes._exported import ExportedRuntime

KERNELS = {
    "xnnpack": "XNNPACK",
    "builtin": "built-in kernels",
    "reference": "reference kernels",
}
SIGNATURE = "serving_default"


class LiteRTRuntime(ExportedRuntime):
    """See :class:`rid_core.runtimes.base.Runtime`."""

    def __init__(
        self,
        path: str | Path,
        *,
        threads: int | None = None,
        kernels: str = "xnnpack",
        sealed: bool = True,
    ) -> None:
        """Open the file.

        Args:
            path: of the file.
            threads: CPU threads; one per core if None.
            kernels: ``xnnpack`` (what apps use), ``builtin`` (LiteRT's own, no delegate), or
                ``reference`` (the plain loops that define what each operator means; slow).
            sealed: whether its digest must fit.

        Raises:
            RidError: missing, damaged, foreign or altered file.
            MissingExtraError: LiteRT is not installed.
        """
        super().__init__(path, sealed=sealed)
        try:
            import ai_edge_litert
            from ai_edge_litert.interpreter import Interpreter, OpResolverType
        except ImportError:
            raise MissingExtraError("ai-edge-litert", "export") from None

        resolver = {
            "xnnpack": OpResolverType.AUTO,
            "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            "reference": OpResolverType.BUILTIN_REF,
        }
        try:
            with suppress_output():
                self._interpreter = Interpreter(
                    model_path=str(path),
                    num_threads=threads or os.cpu_count() or 1,
                    experimental_op_resolver_type=resolver[kernels],
                )
                self._interpreter.allocate_tensors()
                self._runner = self._interpreter.get_signature_runner(SIGNATURE)
        except (RuntimeError, ValueError) as error:
            reason = (str(error).strip().splitlines() or ["no reason given"])[0]
            raise RidError(f"{path}: LiteRT refuses it ({reason})") from None
        self.name = f"LiteRT {ai_edge_litert.__version__}, {KERNELS[kernels]}"
        details = self._runner.get_input_details() | self._runner.get_output_details()
        self.check_signature(
            (name, np.dtype(d["dtype"]).name, tuple(int(n) for n in d["shape_signature"]))
            for name, d in details.items()
        )
        self._check_quantization(details)

    def _check_quantization(self, details: dict[str, Any]) -> None:
        """Apps read scale and zero point from the file itself: both must say the same."""
        for info in (*self.metadata.inputs, *self.metadata.outputs):
            scale, zero_point = details[info.name]["quantization"]
            wanted = (info.scale or 0.0, info.zero_point)
            if not np.isclose(scale, wanted[0], rtol=1e-5) or zero_point != wanted[1]:
                raise RidError(
                    f"{self.path}: its metadata says {info.name} has scale and zero point "
                    f"{wanted}, the network has {(float(scale), int(zero_point))}; export it again"
                )

    @property
    def operators(self) -> list[str]:
        """Operators of the file, then one ``DELEGATE`` per partition that a delegate took."""
        return [str(op["op_name"]) for op in self._interpreter._get_ops_details()]

    def infer(self, stored: np.ndarray) -> dict[str, np.ndarray]:
        """Run the signature."""
        outputs: dict[str, np.ndarray] = self._runner(**{self.metadata.inputs[0].name: stored})
        return outputs
