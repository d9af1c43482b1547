"""Protect images from Python.

>>> import numpy as np
>>> import rid_core as rid
>>> photo = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
>>> protected = rid.protect(photo)
>>> protected.shape, int(abs(protected.astype(int) - photo).max())
((512, 512, 3), 8)

For more than one image open the model once:

>>> model = rid.load("rid-n", levels=6)
>>> model.info.preset, model.info.format
('rid-n', 'onnx')
>>> model.perturb(photo).shape
(512, 512, 3)

Whatever is wrong raises :class:`rid_core.RidError` with the one line that ``rid-protect`` prints:

>>> rid.load("rid-x")
Traceback (most recent call last):
rid_core.errors.RidError: no trained 'rid-x' comes with the package (there are: rid-b, rid-n, \
rid-s); give a checkpoint file instead
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
from PIL import Image, ImageOps

from rid_core.artifact import artifact_format, payload_size, read_metadata
from rid_core.budget import DEFAULT_LEVELS, Budget
from rid_core.checkpoint import find_model, read_card
from rid_core.errors import RidError
from rid_core.folders import MARK
from rid_core.image import io as photo
from rid_core.image.decode import kind_of
from rid_core.protection import protect_checked, protect_file, working_perturbation
from rid_core.runtimes import Runtime, load_runtime

_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA"}
_KEPT = ("icc_profile", "dpi")
_COLUMNS = ("image", "bytes")


@dataclass(frozen=True)
class ModelInfo:
    """What an opened model is.

    Attributes:
        preset: name of the defender.
        levels: bound it was made for, in 8-bit levels.
        format: ``onnx``, ``tflite``, ``coreml``, or ``torch`` for a checkpoint.
        precision: ``fp32``, ``fp16``, ``int8`` …
        runtime: what runs it, with its version.
        licence: SPDX identifier of the weights.
        path: of the file.
        size: of the file, in bytes.
    """

    preset: str
    levels: int
    format: str
    precision: str
    runtime: str
    licence: str
    path: Path
    size: int


class Protector:
    """A model that protects images. The file is opened at the first use, once per process.

    It can be pickled, and called with a batch: ``dataset.map_batches(rid.Protector)`` of Ray Data
    protects a data set on a cluster (``docs/integrate/bulk.md``).
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = "rid-s",
        *,
        levels: int | None = None,
        strength: float = 1.0,
        threads: int | None = None,
    ) -> None:
        """Note what is to be opened.

        Args:
            model: ``"rid-s"``; a ``.onnx``, ``.tflite``, ``.mlpackage`` or ``.safetensors`` file;
                ``"hf:organization/repository"``; or an URL that ends in ``#sha256=…``.
            levels: largest change of a colour value, 1 to 255; the model's own if None.
            strength: share of it, in (0, 1].
            threads: CPU threads; the runtime's own choice if None.

        Raises:
            RidError: levels or strength out of range.
        """
        Budget(DEFAULT_LEVELS if levels is None else levels, strength)
        self.model = os.fspath(model)
        if Path(self.model).exists():
            self.model = str(Path(self.model).absolute())
        self.levels = levels
        self.strength = strength
        self.threads = threads

    def __getstate__(self) -> dict[str, Any]:
        kept = ("model", "levels", "strength", "threads")
        return {name: self.__dict__[name] for name in kept}

    @cached_property
    def runtime(self) -> Runtime:
        """The opened model.

        Raises:
            RidError: no such file or defender, one that cannot be fetched, or a damaged one.
        """
        return load_runtime(self.model, threads=self.threads)

    @cached_property
    def budget(self) -> Budget:
        """The bound."""
        levels = self.runtime.levels if self.levels is None else self.levels
        return Budget(levels, self.strength)

    @property
    def info(self) -> ModelInfo:
        """What the model is."""
        path = find_model(self.model)
        kind = artifact_format(path)
        if kind == "torch":
            card = read_card(path)
            preset, licence, precision = card.preset, card.licence, "fp32"
        else:
            metadata = read_metadata(path)
            preset, licence = metadata.preset, metadata.licence
            precision = metadata.precision
        return ModelInfo(
            preset=preset,
            levels=self.runtime.levels,
            format=kind,
            precision=precision,
            runtime=self.runtime.name,
            licence=licence,
            path=path,
            size=payload_size(path),
        )

    def perturb(self, image: np.ndarray | Image.Image) -> np.ndarray:
        """Predict the unit perturbation of an image at the scale at which it is predicted.

        Args:
            image: uint8 RGB [H, W, 3], or a picture of Pillow.

        Returns:
            float32 [h, w, 3] in [-1, 1], the shorter of h and w 512.

        Raises:
            RidError: no such image.
        """
        pixels = _upright(image)[1] if isinstance(image, Image.Image) else image
        return working_perturbation(pixels, self.runtime)

    @overload
    def protect(
        self,
        image: str | os.PathLike[str],
        *,
        output: str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        quality: int | None = None,
        strip_gps: bool = False,
    ) -> Path: ...
    @overload
    def protect(self, image: np.ndarray) -> np.ndarray: ...
    @overload
    def protect(self, image: Image.Image) -> Image.Image: ...
    @overload
    def protect(
        self, image: bytes, *, quality: int | None = None, strip_gps: bool = False
    ) -> bytes: ...
    def protect(
        self,
        image: str | os.PathLike[str] | np.ndarray | Image.Image | bytes,
        *,
        output: str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        quality: int | None = None,
        strip_gps: bool = False,
    ) -> Path | np.ndarray | Image.Image | bytes:
        """Protect an image and return the same kind.

        Args:
            image: path of a photo; uint8 RGB [H, W, 3]; a picture of Pillow, which comes back
                upright as RGB or RGBA with its colour profile and without other metadata; or the
                bytes of a photo's file, which come back in its format with its metadata.
            output: of a path: where to write; by default ``NAME.protected.EXT`` beside it.
            overwrite: of a path: replace an output that exists. The photo itself never is.
            quality: of a path or bytes: 1 to 100, of a lossy format.
            strip_gps: of a path or bytes: leave out where the photo was taken.

        Returns:
            The path that was written, or the protected image.

        Raises:
            RidError: the image cannot be read, protected or written, or no value would change.
        """
        if isinstance(image, np.ndarray):
            return protect_checked(image, self.runtime, self.budget)[0]
        if isinstance(image, Image.Image):
            return self._protect_picture(image)
        if isinstance(image, bytes):
            return self._protect_bytes(image, quality, strip_gps)
        if not isinstance(image, str | os.PathLike):
            raise RidError(
                "an image is a path, a uint8 array, a picture of Pillow or the bytes of a file, "
                f"not {type(image).__name__}"
            )
        source = Path(image)
        target = Path(output or source.with_name(f"{source.stem}{MARK}{source.suffix}"))
        if target.exists():
            if source.exists() and target.samefile(source):
                raise RidError(
                    f"{target} is an original and is not replaced; choose another output"
                )
            if not overwrite:
                raise RidError(f"{target} exists; overwrite=True replaces it")
        photo.check_quality(quality)
        options: dict[str, Any] = {"quality": quality, "strip_gps": strip_gps}
        return protect_file(source, target, self.runtime, self.budget, **options).target

    def _protect_picture(self, picture: Image.Image) -> Image.Image:
        upright, pixels = _upright(picture)
        result = Image.fromarray(self.protect(pixels))
        if upright.has_transparency_data:
            result.putalpha(upright.convert("RGBA").getchannel("A"))
        result.info = {key: upright.info[key] for key in _KEPT if key in upright.info}
        return result

    def _protect_bytes(self, data: bytes, quality: int | None, strip_gps: bool) -> bytes:
        kind = kind_of(data[:64])
        ending = next((end for end, each in photo.FORMATS.items() if each == kind), ".jpg")
        photo.check_quality(quality)
        with tempfile.TemporaryDirectory(prefix="rid-") as folder:
            source = Path(folder, f"photo{ending}")
            source.write_bytes(data)
            target = source.with_stem("protected")
            try:
                protect_file(
                    source, target, self.runtime, self.budget, quality=quality, strip_gps=strip_gps
                )
            except RidError as error:
                raise RidError(str(error).removeprefix(f"{source}: ")) from None
            return target.read_bytes()

    def __call__(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Protect a batch of rows, as ``map_batches`` of Ray Data hands it over.

        Args:
            batch: columns by name: ``image``, uint8 RGB arrays, or ``bytes``, the contents of
                photos' files; others are passed through.

        Returns:
            The batch with that column protected, and a column ``error`` of text: empty, or why a
            row could not be protected. Its image is then empty too: no photo goes on unprotected.

        Raises:
            RidError: neither column, or the model cannot be opened.
        """
        column = next((name for name in _COLUMNS if name in batch), None)
        if column is None:
            raise RidError(f"a batch has a column image or bytes, not {', '.join(batch) or 'none'}")
        _ = self.runtime  # a model that cannot be opened is no fault of the photos
        results: list[Any] = []
        errors: list[str] = []
        for image in batch[column]:
            try:
                results.append(self.protect(image))
                errors.append("")
            except RidError as error:
                results.append(b"" if column == "bytes" else np.zeros((0, 0, 3), np.uint8))
                errors.append(str(error))
        return {**batch, column: _column(results), "error": np.array(errors, dtype=object)}


def _column(values: list[Any]) -> np.ndarray:
    """Values as a column: stacked if they are arrays of one shape."""
    if len({getattr(value, "shape", None) for value in values} - {None}) == 1:
        return np.stack(values)
    column = np.empty(len(values), dtype=object)
    for number, value in enumerate(values):  # at once, numpy would look into arrays
        column[number] = value
    return column


def _upright(picture: Image.Image) -> tuple[Image.Image, np.ndarray]:
    """The picture turned as its EXIF says, and its pixels, uint8 RGB [H, W, 3]."""
    if picture.mode not in _MODES:
        raise RidError(f"pixels of kind {picture.mode}; convert it to RGB first")
    upright = ImageOps.exif_transpose(picture)
    rgb = upright if upright.mode == "RGB" else upright.convert("RGBA").convert("RGB")
    return upright, np.asarray(rgb)


def load(
    model: str | os.PathLike[str] = "rid-s",
    *,
    levels: int | None = None,
    strength: float = 1.0,
    threads: int | None = None,
) -> Protector:
    """Open a model now; see :class:`Protector`.

    Raises:
        RidError: no such file or defender, one that cannot be fetched, or a damaged one.
    """
    protector = Protector(model, levels=levels, strength=strength, threads=threads)
    _ = protector.runtime
    return protector


@overload
def protect(
    image: str | os.PathLike[str],
    model: str | os.PathLike[str] = "rid-s",
    *,
    levels: int | None = None,
    strength: float = 1.0,
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> Path: ...
@overload
def protect(
    image: np.ndarray,
    model: str | os.PathLike[str] = "rid-s",
    *,
    levels: int | None = None,
    strength: float = 1.0,
) -> np.ndarray: ...
@overload
def protect(
    image: Image.Image,
    model: str | os.PathLike[str] = "rid-s",
    *,
    levels: int | None = None,
    strength: float = 1.0,
) -> Image.Image: ...
@overload
def protect(
    image: bytes,
    model: str | os.PathLike[str] = "rid-s",
    *,
    levels: int | None = None,
    strength: float = 1.0,
) -> bytes: ...
def protect(
    image: Any,
    model: str | os.PathLike[str] = "rid-s",
    *,
    levels: int | None = None,
    strength: float = 1.0,
    **options: Any,
) -> Any:
    """Protect one image and return the same kind; see :meth:`Protector.protect`.

    The model is opened each time: for many images, :func:`load` it once.

    Raises:
        RidError: the model cannot be opened, or the image not protected.
    """
    return load(model, levels=levels, strength=strength).protect(image, **options)
