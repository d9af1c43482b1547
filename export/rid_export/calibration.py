"""The images that activations are calibrated on: one set for all targets.

Ranges of activations are only as good as the images they are seen on. Noise has none of the flat
skin, dark hair and hard edges of a portrait and gives ranges that fit nothing; it is refused unless
it is asked for twice.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rid_core.errors import RidError
from rid_core.image import io as photo
from rid_core.image import tiling
from rid_core.quantization.views import spread
from rid_export.portraits import bundled_files, bundled_portraits, read_folder
from rid_export.spec import NOISE, ExportSpec

_SEED = 20250117


@dataclass(frozen=True, eq=False)
class CalibrationSet:
    """A calibration set.

    Attributes:
        images: uint8 RGB [N, side, side, 3].
        origin: for people, such as ``128 views of 2 portraits``.
        unfit: why a file calibrated with it must not be shipped; None if it may.
    """

    images: np.ndarray
    origin: str
    unfit: str | None = None

    @property
    def digest(self) -> str:
        """SHA-256 over shape and pixels."""
        found = hashlib.sha256(repr(self.images.shape).encode())
        for image in self.images:
            found.update(np.ascontiguousarray(image).data)
        return found.hexdigest()


@dataclass(frozen=True, eq=False)
class CalibrationData:
    """Images that converters need, handed over to their processes through files.

    Attributes:
        portraits: uint8 RGB [M, side, side, 3]: what the gate will look at.
        images: to calibrate on, uint8 RGB [N, side, side, 3]; None if nothing has to be calibrated.
        digest: of the calibration set; None without one.
        unfit: see :class:`CalibrationSet`.
    """

    portraits: np.ndarray
    images: np.ndarray | None = None
    digest: str | None = None
    unfit: str | None = None

    def save(self, folder: Path) -> None:
        """Write it to an existing folder."""
        np.save(folder / "portraits.npy", self.portraits)
        if self.images is not None:
            np.save(folder / "calibration.npy", self.images)
        document = {"digest": self.digest, "unfit": self.unfit}
        (folder / "calibration.json").write_text(json.dumps(document))

    @classmethod
    def load(cls, folder: Path) -> CalibrationData:
        """Open what :meth:`save` wrote; the calibration images stay on disk until they are used."""
        document = json.loads((folder / "calibration.json").read_text())
        file = folder / "calibration.npy"
        images = np.load(file, mmap_mode="r") if file.exists() else None
        return cls(np.load(folder / "portraits.npy"), images, **document)


def make_calibration(source: str | None, samples: int, side: int) -> CalibrationSet:
    """Make the set; the same arguments and files give the same bytes.

    Args:
        source: a folder of photos, ``noise``, or None for the bundled portraits.
        samples: number of images.
        side: their height and width in pixels: the scale at which the defender works.

    Returns:
        Every source first as its centre square, then crops, mirror images, exposures and tones of
        the sources in turn, until there are ``samples``.

    Raises:
        RidError: no such folder, or no usable photo in it.
    """
    if source == NOISE:
        random = np.random.default_rng(_SEED)
        noise = random.integers(0, 256, (samples, side, side, 3), dtype=np.uint8)
        return CalibrationSet(noise, f"{samples} images of noise", "calibrated on noise")
    if source is None:
        pixels = [_working_view(photo.load(file).pixels, side) for file in bundled_files()]
        kind, skipped = "portraits", ""
    else:
        found = read_folder(Path(source), _working_view, side, limit=samples)
        pixels, kind, skipped = found.images, "photos", found.skipped_text()
        if not pixels:
            raise RidError(
                f"{source} has no usable photo{skipped}: name a folder of portraits (JPEG, PNG, "
                "WebP) with --calib, or leave it out for the bundled ones"
            )
    used = min(len(pixels), samples)
    return CalibrationSet(
        spread(pixels, samples, side), f"{samples} views of {used} {kind}{skipped}"
    )


def _working_view(pixels: np.ndarray, side: int) -> np.ndarray:
    """uint8 [H, W, 3] with the short side scaled to ``side``, as photos are before the network."""
    height, width = tiling.working_size(pixels.shape[0], pixels.shape[1], side)
    if (height, width) == pixels.shape[:2]:
        return pixels
    view: np.ndarray = np.rint(tiling.resample(pixels, height, width)).clip(0, 255)
    return view.astype(np.uint8)


def calibration_data_for(spec: ExportSpec, given: CalibrationData | None) -> CalibrationData:
    """What the converter was given, or, called on its own, the bundled images.

    Raises:
        RidError: the calibration set cannot be made.
    """
    if given is not None:
        return given
    portraits = [np.rint(image * 255) for image in bundled_portraits(spec.resolution)]
    pixels = np.stack(portraits).astype(np.uint8)
    if not spec.calibrated:
        return CalibrationData(pixels)
    made = make_calibration(spec.calib or None, spec.calib_samples, spec.resolution)
    return CalibrationData(pixels, made.images, made.digest, made.unfit)
