"""Exported files in LiteRT and ONNX Runtime, with nothing but numpy beside them.

What the metadata of a file says of its tensors arrives as plain dictionaries, so nothing here has
to parse a file. The three steps are timed apart: ``encode`` makes the network's input of a photo,
``infer`` is the network alone, ``decode`` gives the unit perturbation as numbers.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .runtimes import COPY_BYTES, MATMUL_SIDE, PIP


class UnavailableError(Exception):
    """A runtime that is not there; the text says which pip line brings it."""


class Session:
    """A network that is open.

    Attributes:
        name: runtime and version, for people.
        shape: height and width of the photo it takes, or None if it takes none.
        on_cpu: whether the network's time is the CPU's.
    """

    name = ""
    shape: tuple[int, int] | None = None
    on_cpu = True

    def encode(self, photo: np.ndarray) -> None:
        """Make the input of a photo, uint8 RGB [H, W, 3]."""
        raise NotImplementedError

    def infer(self) -> None:
        """Run the network on the input."""
        raise NotImplementedError

    def decode(self) -> np.ndarray:
        """The unit perturbation, float32 [H, W, 3] in [-1, 1]; the next call overwrites it."""
        raise NotImplementedError


def to_stored(
    photo: np.ndarray, tensor: dict[str, Any], layout: str, out: np.ndarray | None = None
) -> np.ndarray:
    """A photo, uint8 RGB [H, W, 3], as the network's input tensor stores it.

    ``out``, float32 and of the tensor's shape, is worked in if given: fresh memory for every photo
    would cost more than the arithmetic, and no app takes it.
    """
    batch = photo[None] if layout == "nhwc" else photo.transpose(2, 0, 1)[None]
    if tensor["dtype"] == "uint8" and abs(tensor["scale"] * 255 - 1) < 1e-6:
        return np.ascontiguousarray(batch)  # the photo's own levels
    value = np.divide(batch, np.float32(255), out=out, dtype=np.float32)
    if tensor.get("scale") is None:
        return np.ascontiguousarray(value, dtype=tensor["dtype"])
    limits = np.iinfo(tensor["dtype"])
    stored = np.rint(value / tensor["scale"]) + tensor["zero_point"]
    return np.ascontiguousarray(stored.clip(limits.min, limits.max), dtype=tensor["dtype"])


def from_stored(
    stored: np.ndarray, tensor: dict[str, Any], layout: str, out: np.ndarray | None = None
) -> np.ndarray:
    """The perturbation that an output tensor stores, float32 [H, W, 3] in [-1, 1].

    It is written to ``out`` if that is given, else to fresh memory.
    """
    value = stored[0] if layout == "nhwc" else stored[0].transpose(1, 2, 0)
    if out is None:
        out = np.empty(value.shape, np.float32)
    if tensor.get("scale") is not None:
        value = np.subtract(value, tensor["zero_point"], out=out, dtype=np.float32)
        value *= np.float32(tensor["scale"])
    np.clip(value, -1, 1, out=out)
    return out


def _tensors(about: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    (image,) = about["inputs"]
    outputs = {tensor["name"]: tensor for tensor in about["outputs"]}
    return image, outputs["delta"], list(outputs)


class TFLiteSession(Session):
    """LiteRT on the CPU, as an app uses it: photo in, perturbation out, in memory that is kept."""

    def __init__(self, path: str, about: dict[str, Any], threads: int, kernels: str) -> None:
        library, name = self._library()
        resolver = {
            "xnnpack": library.OpResolverType.AUTO,
            "builtin": library.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        }[kernels]
        with quiet():
            self._interpreter = library.Interpreter(
                model_path=path, num_threads=threads, experimental_op_resolver_type=resolver
            )
            self._interpreter.allocate_tensors()
            runner = self._interpreter.get_signature_runner("serving_default")
        self._image, self._delta, _ = _tensors(about)
        self._layout = about["layout"]
        details = runner.get_input_details()[self._image["name"]]
        self._input = details["index"]
        self._output = runner.get_output_details()["delta"]["index"]
        self.shape = (about["resolution"], about["resolution"])
        wanted = [1, *self.shape, 3] if self._layout == "nhwc" else [1, 3, *self.shape]
        if list(details["shape"]) != wanted:  # a file that takes any size starts with a small one
            self._interpreter.resize_tensor_input(self._input, wanted)
            self._interpreter.allocate_tensors()
        self._value = np.empty(wanted, np.float32)
        self._unit = np.empty((*self.shape, 3), np.float32)
        with_what = "XNNPACK" if kernels == "xnnpack" else "built-in kernels"
        self.name = f"{name}, {with_what}"

    def _library(self) -> tuple[Any, str]:
        """The module that has ``Interpreter``, and its name and version."""
        try:
            from ai_edge_litert import interpreter
        except ImportError:
            raise UnavailableError(f"LiteRT is not installed: {PIP['tflite']}") from None
        return interpreter, f"LiteRT {_version('ai-edge-litert')}"

    def encode(self, photo: np.ndarray) -> None:
        """See :class:`Session`."""
        stored = to_stored(photo, self._image, self._layout, self._value)
        self._interpreter.set_tensor(self._input, stored)

    def infer(self) -> None:
        """See :class:`Session`."""
        self._interpreter.invoke()

    def decode(self) -> np.ndarray:
        """See :class:`Session`."""
        view = self._interpreter.tensor(self._output)  # not a copy: the decoding is one
        return from_stored(view(), self._delta, self._layout, self._unit)


class OnnxSession(Session):
    """ONNX Runtime on the CPU."""

    def __init__(self, path: str, about: dict[str, Any], threads: int, kernels: str) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise UnavailableError(f"ONNX Runtime is not installed: {PIP['onnx']}") from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        # Idle workers of one InferenceSession must not take cores from the one that is measured.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self._session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
        self._image, self._delta, self._names = _tensors(about)
        self._layout = about["layout"]
        self.shape = (about["resolution"], about["resolution"])
        planes = (3, *self.shape) if self._layout == "nchw" else (*self.shape, 3)
        self._value = np.empty((1, *planes), np.float32)
        self._unit = np.empty((*self.shape, 3), np.float32)
        self.name = f"ONNX Runtime {onnxruntime.__version__}, CPU"
        self._stored: np.ndarray | None = None
        self._values: list[Any] = []

    def encode(self, photo: np.ndarray) -> None:
        """See :class:`Session`."""
        self._stored = to_stored(photo, self._image, self._layout, self._value)

    def infer(self) -> None:
        """See :class:`Session`."""
        self._values = self._session.run(self._names, {self._image["name"]: self._stored})

    def decode(self) -> np.ndarray:
        """See :class:`Session`."""
        stored = self._values[self._names.index("delta")]
        return from_stored(stored, self._delta, self._layout, self._unit)


class MatmulSession(Session):
    """One product of two square float32 matrices in numpy: the machine's limit of arithmetic."""

    def __init__(self, path: str, about: dict[str, Any], threads: int, kernels: str) -> None:
        draw = np.random.default_rng(0)
        shape = (MATMUL_SIDE, MATMUL_SIDE)
        self._left = draw.standard_normal(shape, dtype=np.float32)
        self._right = draw.standard_normal(shape, dtype=np.float32)
        self._product = np.empty_like(self._left)
        self.name = f"numpy {np.__version__}, float32 product of side {MATMUL_SIDE}"

    def encode(self, photo: np.ndarray) -> None:
        """See :class:`Session`."""

    def infer(self) -> None:
        """See :class:`Session`."""
        np.matmul(self._left, self._right, out=self._product)

    def decode(self) -> np.ndarray:
        """See :class:`Session`."""
        return self._product


class CopySession(Session):
    """A copy of a large float32 array, by all threads: the machine's limit of memory traffic."""

    def __init__(self, path: str, about: dict[str, Any], threads: int, kernels: str) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._source = np.ones(COPY_BYTES // 4, np.float32)
        self._target = np.zeros_like(self._source)
        edges = np.linspace(0, self._source.size, threads + 1).astype(int)
        self._parts = [slice(edges[n], edges[n + 1]) for n in range(threads)]
        self._pool = ThreadPoolExecutor(threads)
        self.name = f"numpy {np.__version__}, copy of {COPY_BYTES >> 20} MiB"

    def encode(self, photo: np.ndarray) -> None:
        """See :class:`Session`."""

    def infer(self) -> None:
        """See :class:`Session`."""
        # numpy lets go of its lock while it copies, so the threads really work side by side.
        list(self._pool.map(self._copy, self._parts))

    def _copy(self, part: slice) -> None:
        np.copyto(self._target[part], self._source[part])

    def decode(self) -> np.ndarray:
        """See :class:`Session`."""
        return self._target


OPENERS: dict[str, Callable[[str, dict[str, Any], int, str], Session]] = {
    "tflite": TFLiteSession,
    "onnx": OnnxSession,
    "matmul": MatmulSession,
    "copy": CopySession,
}
"""Session class by format of the file."""


def _version(distribution: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "of unknown version"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep C++ notices off the terminal; what a runtime refuses arrives as an exception."""
    saved = os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(sink)
