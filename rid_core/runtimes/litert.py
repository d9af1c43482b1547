"""An exported ``.tflite`` in LiteRT, on the CPU."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from rid_core.artifact import ArtifactMetadata
from rid_core.errors import MissingExtraError, RidError
from rid_core.output import suppress_output
from rid_core.runtimes.base import (
    ExportedRuntime,
    check_signature,
    open_metadata,
    refusal,
    stored_batch,
)

KERNELS = {
    "xnnpack": "XNNPACK",
    "builtin": "built-in kernels",
    "reference": "reference kernels",
}
SIGNATURE = "serving_default"


class InterpreterSession:
    """TFLite's interpreter, whoever brings it; see :class:`rid_core.runtimes.base.Session`."""

    def __init__(self, name: str, interpreter: Any) -> None:
        """Prepare an interpreter.

        Raises:
            RuntimeError, ValueError: the interpreter refuses the model.
        """
        self.name = name
        self.interpreter = interpreter
        interpreter.allocate_tensors()
        runner = interpreter.get_signature_runner(SIGNATURE)
        inputs, self.details = runner.get_input_details(), runner.get_output_details()
        (self._input,) = inputs.values()
        self._outputs = {name: detail["index"] for name, detail in self.details.items()}
        self.details |= inputs

    def feed(self, stored: np.ndarray) -> None:
        """Set the input."""
        self.interpreter.set_tensor(self._input["index"], stored)

    def infer(self) -> None:
        """Run the model."""
        self.interpreter.invoke()

    def fetch(self, name: str) -> np.ndarray:
        """A view of an output."""
        value: np.ndarray = self.interpreter.tensor(self._outputs[name])()
        return value

    @property
    def operators(self) -> list[dict[str, Any]]:
        """Operators of the file with their tensors, then one ``DELEGATE`` per partition."""
        found: list[dict[str, Any]] = self.interpreter._get_ops_details()
        return found

    def predict(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs as stored of a model without metadata, for a float32 image [H, W, 3]."""
        self.feed(stored_batch(image, self._input["dtype"], pixels_last=True))
        self.infer()
        return {name: self.fetch(name).copy() for name in self._outputs}

    def delta(self, image: np.ndarray) -> np.ndarray:
        """The unit perturbation of a model without metadata, [H, W, 3]."""
        value: np.ndarray = self.predict(image)["delta"][0]
        return value

    def activations(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Every tensor that was computed, dequantized, by name; of a model opened to keep them."""
        self.predict(image)
        found = {}
        for detail in self.interpreter.get_tensor_details():
            if not detail["name"] or detail["dtype"] not in (np.float32, np.int8, np.int16):
                continue
            try:
                value = self.interpreter.get_tensor(detail["index"])
            except ValueError:  # never computed: a delegate fused it away
                continue
            if value.dtype != np.float32:
                scale, zero = detail["quantization"]
                value = (value.astype(np.float32) - zero) * np.float32(scale)
            found[detail["name"]] = value
        return found


def open_model(
    model: Path | bytes, *, threads: int | None = 1, kernels: str = "xnnpack", keep: bool = False
) -> InterpreterSession:
    """Open a file, or the bytes of one.

    Args:
        model: path or content.
        threads: CPU threads; one per core if None.
        kernels: key of :data:`KERNELS`.
        keep: whether all tensors are kept for :meth:`InterpreterSession.activations`; costs memory.

    Raises:
        RuntimeError, ValueError: LiteRT refuses it.
        MissingExtraError: LiteRT is not installed.
    """
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
    content = isinstance(model, bytes)
    with suppress_output(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that keeping all tensors is "for debugging purposes"
        interpreter = Interpreter(
            model_path=None if content else str(model),
            model_content=model if content else None,
            num_threads=threads or os.cpu_count() or 1,
            experimental_op_resolver_type=resolver[kernels],
            experimental_preserve_all_tensors=keep,
        )
        return InterpreterSession(
            f"LiteRT {ai_edge_litert.__version__}, {KERNELS[kernels]}", interpreter
        )


class LiteRTRuntime(ExportedRuntime):
    """See :class:`rid_core.runtimes.base.ModelRuntime`."""

    session: InterpreterSession

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
        metadata = open_metadata(path, sealed=sealed)
        try:
            session = open_model(Path(path), threads=threads, kernels=kernels)
        except (RuntimeError, ValueError) as error:
            raise refusal(path, "LiteRT", error) from None
        super().__init__(path, session, metadata)
        check_interpreter(path, metadata, session)

    @property
    def operators(self) -> list[str]:
        """Operators of the file, then one ``DELEGATE`` per partition that a delegate took."""
        return [str(operator["op_name"]) for operator in self.session.operators]


def check_interpreter(
    path: str | Path, metadata: ArtifactMetadata, session: InterpreterSession
) -> None:
    """Hold names, types, shapes and grids of a model's ends against the metadata.

    Apps read scale and zero point from the file itself: both must say the same.

    Raises:
        RidError: they differ.
    """
    check_signature(
        path,
        metadata,
        (
            (name, np.dtype(d["dtype"]).name, tuple(int(n) for n in d["shape_signature"]))
            for name, d in session.details.items()
        ),
    )
    for info in (*metadata.inputs, *metadata.outputs):
        scale, zero_point = session.details[info.name]["quantization"]
        wanted = (info.scale or 0.0, info.zero_point)
        if not np.isclose(scale, wanted[0], rtol=1e-5) or zero_point != wanted[1]:
            raise RidError(
                f"{path}: its metadata says {info.name} has scale and zero point {wanted}, the "
                f"network has {(float(scale), int(zero_point))}; export it again"
            )
