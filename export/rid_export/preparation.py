"""What an export needs before its converters start: references and images, made once a run."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rid_core.errors import RidError
from rid_export import parity
from rid_export.calibration import Calibration, Material, make_calibration
from rid_export.portraits import Portraits, gate_portraits, of_many_sizes
from rid_export.spec import ExportSpec

if TYPE_CHECKING:
    from rid_core.runtimes.torch import TorchRuntime
    from rid_export.shift import LatentShift


class Preparation:
    """Makes what specs ask for, and keeps it for the next spec that asks for the same."""

    def __init__(
        self,
        runtime: TorchRuntime,
        scratch: Path,
        notify: Callable[[str], None],
        *,
        portraits: Path | None = None,
        surrogate: Path | None = None,
    ) -> None:
        """Nothing slow happens yet.

        Args:
            runtime: the float32 network.
            scratch: folder for the images that are handed to converters.
            notify: called with one line per step.
            portraits: folder of photos for the gate; None for the bundled ones.
            surrogate: file of an encoder, if the latent shift is to be measured too.
        """
        self._runtime = runtime
        self._scratch = scratch
        self._notify = notify
        self._folder = portraits
        self._surrogate = surrogate
        self._shift: LatentShift | None = None
        self._portraits: dict[int, Portraits] = {}
        self._references: dict[tuple[int, bool], parity.Reference] = {}
        self._calibrations: dict[tuple[str, int, int], Calibration] = {}
        self._materials: dict[tuple[object, ...], Path] = {}

    def portraits(self, spec: ExportSpec) -> Portraits:
        """The images for the gate.

        Raises:
            RidError: the user's folder has too few.
        """
        side = spec.resolution
        if side not in self._portraits:
            self._portraits[side] = gate_portraits(side, self._folder)
        return self._portraits[side]

    def reference(self, spec: ExportSpec) -> parity.Reference:
        """The float32 network's answers on them; of many sizes if the file takes any.

        Raises:
            RidError: they are not finite, or the network is untrained.
        """
        key = (spec.resolution, spec.dynamic)
        if key not in self._references:
            portraits = self.portraits(spec)
            self._notify(f"running {self._runtime.preset} in torch on {portraits.origin}")
            images = [*portraits.images]
            if spec.dynamic:
                images += of_many_sizes(images, self._runtime.stride)
            reference = parity.make_reference(self._predict, images, self._runtime.levels)
            if self._surrogate is not None:
                from rid_export.shift import LatentShift

                self._shift = self._shift or LatentShift(self._surrogate, self._runtime.levels)
                reference = dataclasses.replace(reference, shift=self._shift)
            self._references[key] = reference
        return self._references[key]

    def _predict(self, image: np.ndarray) -> np.ndarray:
        return self._runtime.run(image)["delta"]

    def calibration(self, spec: ExportSpec) -> Calibration | None:
        """The calibration set of a precision that needs one.

        Raises:
            RidError: no usable photo.
        """
        if not spec.calibrated:
            return None
        key = (spec.calib, spec.calib_samples, spec.resolution)
        if key not in self._calibrations:
            self._notify("making the calibration set")
            self._calibrations[key] = made = make_calibration(
                spec.calib or None, spec.calib_samples, spec.resolution
            )
            self._notify(f"calibration: {made.origin}, digest {made.digest[:12]}")
        return self._calibrations[key]

    def material(self, spec: ExportSpec) -> Path | None:
        """A folder with a :class:`Material` for the converter; None for fp32, which needs none.

        Raises:
            RidError: the images cannot be made, or there is no space for them.
        """
        if spec.precision == "fp32":
            return None
        made = self.calibration(spec)
        digest = None if made is None else made.digest
        key = (spec.resolution, digest)
        if key not in self._materials:
            pixels = [np.rint(image * 255) for image in self.portraits(spec).images]
            material = Material(
                np.stack(pixels).astype(np.uint8),
                None if made is None else made.images,
                digest,
                None if made is None else made.unfit,
            )
            folder = self._scratch / str(len(self._materials))
            try:
                folder.mkdir(exist_ok=True)  # a failed try may have left it
                material.save(folder)
            except OSError as error:
                raise RidError(
                    f"cannot write images for the converters to {folder} "
                    f"({error.strerror or error}); TMPDIR names another place"
                ) from None
            self._materials[key] = folder
        return self._materials[key]


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder.

    Raises:
        RidError: there is no place for one.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix="rid-export-"))
    except OSError as error:
        raise RidError(f"no place for temporary files ({error.strerror or error})") from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
