"""What every runtime is: a model file that some library has opened, behind one class.

A library differs from another in how it is given a tensor, run, and asked for a result; that is a
:class:`Session`, and there is one module for each. Everything else (checks of the image, layouts,
dtypes, scales, the steps that a benchmark times apart) is the same and stands here, once.

This folder is packed into bundles for boards: it needs numpy and Python 3.9, no more.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np

from rid_core.artifact import ArtifactMetadata, TensorInfo, check_digest, read_metadata
from rid_core.errors import RidError


class Runtime(Protocol):
    """A defender that is ready to protect a photo.

    Attributes:
        name: runtime and version for people, such as ``"LiteRT 2.3.0, XNNPACK"``.
        preset: name of the defender.
        levels: bound the defender was made for, in 8-bit levels.
        stride: multiple of pixels that height and width must be.
        fixed_size: the only height and width accepted, or None.
    """

    name: str
    preset: str
    levels: int
    stride: int
    fixed_size: int | None

    def perturb(self, image: np.ndarray) -> np.ndarray:
        """Predict the unit perturbation of one image.

        Args:
            image: float32 RGB in [0, 1], shape [H, W, 3].

        Returns:
            float32 unit perturbation in [-1, 1], shape [H, W, 3].

        Raises:
            RidError: the size does not fit, or the result is not finite.
        """


class Session(Protocol):
    """A model that a library has opened. Tensors are as the file stores them.

    Attributes:
        name: runtime and version for people.
    """

    name: str

    def feed(self, stored: np.ndarray) -> None:
        """Set the input: the tensor ``image`` with its batch, or, of Core ML's image type, uint8
        pixels [H, W, 3].
        """

    def infer(self) -> None:
        """Run the network alone."""

    def fetch(self, name: str) -> np.ndarray:
        """An output; it may be a view that the next run overwrites, so copy what you keep."""


class ModelRuntime:
    """A session with what its tensors mean; see :class:`Runtime`.

    A benchmark times the three steps apart: :meth:`encode` makes the network's input of a photo,
    :meth:`infer` is the network alone, :meth:`decode` gives the unit perturbation as numbers.
    Memory is kept from photo to photo, as an app keeps it.

    Attributes:
        path: of the file.
        on_cpu: whether the network's time is the CPU's.
    """

    on_cpu = True

    def __init__(
        self,
        path: str | Path,
        session: Session,
        *,
        image: TensorInfo,
        outputs: Iterable[TensorInfo],
        layout: str,
        preset: str,
        levels: int,
        stride: int,
        fixed_size: int | None,
    ) -> None:
        self.path = Path(path)
        self.session = session
        self.name = session.name
        self.preset, self.levels = preset, levels
        self.stride, self.fixed_size = stride, fixed_size
        self._image = image
        self._outputs = {info.name: info for info in outputs}
        self._last = layout == "nhwc"
        self._levels_in = image.dtype == "uint8" and abs((image.scale or 0) * 255 - 1) < 1e-6
        self._kept = self._unit = np.empty(0, np.float32)

    def encode(self, image: np.ndarray) -> None:
        """Make the network's input.

        Args:
            image: RGB [H, W, 3], float32 in [0, 1] or uint8.

        Raises:
            RidError: another shape or dtype, or a size that does not fit.
        """
        self._check(image)
        whole = image.dtype == np.uint8
        if self._image.dtype == "image":
            self.session.feed(image if whole else _pixels(image))
            return
        batch = image[None] if self._last else image.transpose(2, 0, 1)[None]
        if whole and self._levels_in:
            self.session.feed(np.ascontiguousarray(batch))  # the photo's own levels
            return
        if whole:
            # Fresh memory for every photo would cost more than the arithmetic.
            if self._kept.shape != batch.shape:
                self._kept = np.empty(batch.shape, np.float32)
            batch = np.divide(batch, np.float32(255), out=self._kept, dtype=np.float32)
        self.session.feed(self._image.encode(batch))

    def infer(self) -> None:
        """Run the network on the input."""
        self.session.infer()

    def decode(self) -> np.ndarray:
        """The unit perturbation, float32 [H, W, 3] in [-1, 1]; the next call overwrites it."""
        info = self._delta()
        value = self.session.fetch("delta")[0]
        value = value if self._last else value.transpose(1, 2, 0)
        if self._unit.shape != value.shape:
            self._unit = np.empty(value.shape, np.float32)
        if info.scale is not None:
            value = np.subtract(value, info.zero_point, out=self._unit, dtype=np.float32)
            value *= np.float32(info.scale)
        np.clip(value, -1, 1, out=self._unit)
        return self._unit

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """All outputs of one image, decoded but otherwise as the network gives them.

        Args:
            image: RGB [H, W, 3], float32 in [0, 1] or uint8.

        Returns:
            ``protected`` in [0, 1] and ``delta`` in [-1, 1], float32 [H, W, 3], as far as the file
            has them; neither clipped nor checked.

        Raises:
            RidError: the size does not fit.
        """
        self.encode(image)
        self.infer()
        return {name: self._plain(info) for name, info in self._outputs.items()}

    def perturb(self, image: np.ndarray) -> np.ndarray:
        """Predict the unit perturbation of one image; see the protocol.

        fp16 and int8 may overshoot by a rounding: the result is clipped.
        """
        info = self._delta()
        self.encode(image)
        self.infer()
        unit = self._plain(info)
        if not np.isfinite(unit).all():
            raise RidError(
                f"{self.path}: the predicted perturbation is not finite; the file is unusable"
            )
        return unit.clip(-1, 1)

    def _delta(self) -> TensorInfo:
        if "delta" not in self._outputs:
            raise RidError(f"{self.path}: exported without delta; export it with both outputs")
        return self._outputs["delta"]

    def _plain(self, info: TensorInfo) -> np.ndarray:
        """An output as float32 [H, W, 3]."""
        stored = self.session.fetch(info.name)
        if info.dtype == "image":
            return stored.astype(np.float32) / 255
        value: np.ndarray = info.decode(stored)[0]
        return value if self._last else value.transpose(1, 2, 0)

    def _check(self, image: np.ndarray) -> None:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype not in (np.float32, np.uint8):
            raise RidError(
                "a runtime takes one RGB image of shape [H, W, 3], float32 in [0, 1] or uint8, not "
                f"{list(image.shape)} of {image.dtype}"
            )
        height, width = image.shape[:2]
        size, stride = self.fixed_size, self.stride
        if size is not None and (height, width) != (size, size):
            raise RidError(f"this model works at {size} x {size} only, not {height} x {width}")
        if height % stride or width % stride or not height or not width:
            raise RidError(
                f"height and width must be multiples of {stride}, not {height} x {width}"
            )


class ExportedRuntime(ModelRuntime):
    """An exported file in a session; what its tensors mean, its own metadata says.

    Attributes:
        metadata: what the file says of itself.
    """

    def __init__(self, path: str | Path, session: Session, metadata: ArtifactMetadata) -> None:
        self.metadata = metadata
        super().__init__(
            path,
            session,
            image=metadata.inputs[0],
            outputs=metadata.outputs,
            layout=metadata.layout,
            preset=metadata.preset,
            levels=metadata.levels,
            stride=metadata.stride,
            fixed_size=metadata.fixed_size,
        )


def open_metadata(path: str | Path, *, sealed: bool) -> ArtifactMetadata:
    """What an exported file says of itself; its digest must fit if ``sealed``.

    Raises:
        RidError: missing, damaged, foreign or altered file.
    """
    metadata = read_metadata(path)
    if sealed:
        check_digest(path, metadata)
    return metadata


def check_signature(
    path: str | Path,
    metadata: ArtifactMetadata,
    found: Iterable[tuple[str, str, tuple[object, ...]]],
) -> None:
    """Hold a network's own (name, dtype, shape) against the metadata.

    Sizes that vary are not ints and fit anything.

    Raises:
        RidError: the metadata describes another network.
    """
    actual = {name: (dtype, shape) for name, dtype, shape in found}
    for info in (*metadata.inputs, *metadata.outputs):
        if info.name not in actual:
            raise RidError(
                f"{path}: its metadata promises {info.name!r}, the network has "
                f"{', '.join(sorted(actual))}; export it again"
            )
        dtype, shape = actual[info.name]
        fits = len(shape) == len(info.shape) and all(
            not isinstance(size, int) or size == wanted
            for size, wanted in zip(shape, info.shape)  # noqa: B905 - strict= came with 3.10
        )
        if dtype != info.dtype or not fits:
            raise RidError(
                f"{path}: its metadata says {info.name} is {info.dtype} {list(info.shape)}, the "
                f"network has {dtype} {list(shape)}; export it again"
            )


def refusal(path: str | Path, library: str, error: Exception) -> RidError:
    """What a library says of a file that it does not open, in one line."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return RidError(f"{path}: {library} refuses it ({reason})")


def stored_batch(image: np.ndarray, dtype: object, *, pixels_last: bool) -> np.ndarray:
    """The input of a model that has no metadata yet, of a float32 image [H, W, 3] in [0, 1]."""
    batch = image[None] if pixels_last else image.transpose(2, 0, 1)[None]
    return np.ascontiguousarray(_pixels(batch) if np.dtype(dtype) == np.uint8 else batch)  # type: ignore[call-overload]


def _pixels(image: np.ndarray) -> np.ndarray:
    pixels: np.ndarray = np.rint(image * 255).clip(0, 255).astype(np.uint8)
    return pixels
