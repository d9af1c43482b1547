"""What the runtimes of exported files share: checks of image, file and result."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from rid_core.artifact import ArtifactMetadata, TensorInfo, check_digest, read_metadata
from rid_core.errors import RidError


def check_image(image: np.ndarray, stride: int, fixed_size: int | None) -> None:
    """Refuse what a runtime was not made for.

    Raises:
        RidError: not float32 [H, W, 3], or a size that does not fit.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.float32:
        raise RidError(
            "a runtime takes one float32 RGB image of shape [H, W, 3] in [0, 1], not "
            f"{list(image.shape)} of {image.dtype}"
        )
    height, width = image.shape[:2]
    if fixed_size is not None and (height, width) != (fixed_size, fixed_size):
        raise RidError(
            f"this model works at {fixed_size} x {fixed_size} only, not {height} x {width}"
        )
    if height % stride or width % stride or not height or not width:
        raise RidError(f"height and width must be multiples of {stride}, not {height} x {width}")


def checked_unit(unit: np.ndarray, source: str) -> np.ndarray:
    """Clip a unit perturbation to [-1, 1] (fp16 and int8 may overshoot by a rounding).

    Raises:
        RidError: it holds NaN or infinity.
    """
    if not np.isfinite(unit).all():
        raise RidError(f"{source}: the predicted perturbation is not finite; the file is unusable")
    return unit.clip(-1, 1)


class ExportedRuntime:
    """Base of the runtimes that open an exported file; see :class:`rid_core.runtimes.base.Runtime`.

    A subclass opens its session, calls :meth:`check_signature` with what the file really takes and
    gives, and implements :meth:`infer`.

    Attributes:
        metadata: what the file says of itself.
    """

    name: str

    def __init__(self, path: str | Path, *, sealed: bool = True) -> None:
        """Read and check the metadata; ``sealed=False`` skips the digest (used during export).

        Raises:
            RidError: missing, damaged, foreign or altered file.
        """
        self.path = Path(path)
        self.metadata: ArtifactMetadata = read_metadata(path)
        if sealed:
            check_digest(path, self.metadata)
        self.preset = self.metadata.preset
        self.levels = self.metadata.levels
        self.stride = self.metadata.stride
        self.fixed_size = self.metadata.fixed_size

    def check_signature(self, found: Iterable[tuple[str, str, tuple[object, ...]]]) -> None:
        """Hold the file's own (name, dtype, shape) against the metadata.

        Sizes that vary are not ints and fit anything.

        Raises:
            RidError: the metadata describes another network.
        """
        actual = {name: (dtype, shape) for name, dtype, shape in found}
        for info in (*self.metadata.inputs, *self.metadata.outputs):
            if info.name not in actual:
                raise RidError(
                    f"{self.path}: its metadata promises {info.name!r}, the network has "
                    f"{', '.join(sorted(actual))}; export it again"
                )
            dtype, shape = actual[info.name]
            fits = len(shape) == len(info.shape) and all(
                not isinstance(size, int) or size == wanted
                for size, wanted in zip(shape, info.shape, strict=True)
            )
            if dtype != info.dtype or not fits:
                raise RidError(
                    f"{self.path}: its metadata says {info.name} is {info.dtype} "
                    f"{list(info.shape)}, the network has {dtype} {list(shape)}; export it again"
                )

    def infer(self, stored: np.ndarray) -> dict[str, np.ndarray]:
        """Run the session on the encoded input; outputs by name, as the session gives them."""
        raise NotImplementedError

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """All outputs of one image, decoded but otherwise as the network gives them.

        Args:
            image: float32 RGB in [0, 1], shape [H, W, 3].

        Returns:
            ``protected`` in [0, 1] and ``delta`` in [-1, 1], float32 [H, W, 3], as far as the file
            has them; neither clipped nor checked.

        Raises:
            RidError: the size does not fit.
        """
        check_image(image, self.stride, self.fixed_size)
        batch = image[None] if self.metadata.layout == "nhwc" else image.transpose(2, 0, 1)[None]
        raw = self.infer(self.metadata.inputs[0].encode(batch))
        return {info.name: self._plain(info, raw[info.name]) for info in self.metadata.outputs}

    def _plain(self, info: TensorInfo, stored: np.ndarray) -> np.ndarray:
        value: np.ndarray = info.decode(stored)[0]
        return value if self.metadata.layout == "nhwc" else value.transpose(1, 2, 0)

    def perturb(self, image: np.ndarray) -> np.ndarray:
        """Predict the unit perturbation of one image; see the protocol."""
        outputs = self.run(image)
        if "delta" not in outputs:
            raise RidError(f"{self.path}: exported without delta; export it with both outputs")
        return checked_unit(outputs["delta"], str(self.path))
