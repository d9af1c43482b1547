"""What an export needs before its converters start: references and images, made once a run."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rid_core.budget import Budget
from rid_core.errors import RidError
from rid_export import parity
from rid_export.calibration import CalibrationData, CalibrationSet, make_calibration
from rid_export.portraits import Portraits, gate_portraits, of_many_sizes
from rid_export.spec import ExportSpec

if TYPE_CHECKING:
    from torch import Tensor

    from rid_core.runtimes.torch import TorchRuntime


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
        self._calibrations: dict[tuple[str, int, int], CalibrationSet] = {}
        self._folders: dict[tuple[object, ...], Path] = {}

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
                self._shift = self._shift or LatentShift(self._surrogate, self._runtime.levels)
                reference = dataclasses.replace(reference, shift=self._shift)
            self._references[key] = reference
        return self._references[key]

    def _predict(self, image: np.ndarray) -> np.ndarray:
        return self._runtime.run(image)["delta"]

    def calibration(self, spec: ExportSpec) -> CalibrationSet | None:
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

    def calibration_folder(self, spec: ExportSpec) -> Path | None:
        """A folder of :class:`CalibrationData` for the converter; None for fp32, which needs none.

        Raises:
            RidError: the images cannot be made, or there is no space for them.
        """
        if spec.precision == "fp32":
            return None
        made = self.calibration(spec)
        digest = None if made is None else made.digest
        key = (spec.resolution, digest)
        if key not in self._folders:
            pixels = [np.rint(image * 255) for image in self.portraits(spec).images]
            data = CalibrationData(
                np.stack(pixels).astype(np.uint8),
                None if made is None else made.images,
                digest,
                None if made is None else made.unfit,
            )
            folder = self._scratch / str(len(self._folders))
            try:
                folder.mkdir(exist_ok=True)  # a failed try may have left it
                data.save(folder)
            except OSError as error:
                raise RidError(
                    f"cannot write images for the converters to {folder} "
                    f"({error.strerror or error}); TMPDIR names another place"
                ) from None
            self._folders[key] = folder
        return self._folders[key]


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


class LatentShift:
    """``shift(portrait, unit)``: the relative latent shift of the protected, saved portrait.

    Fidelity in dB says that two perturbations are alike; this says that they are alike where it
    counts. It holds for the surrogate it was measured on, and for no other; see
    :func:`rid_core.surrogates.relative_shift`. The portrait is protected in whole 8-bit levels,
    as it would be published.
    """

    def __init__(self, surrogate: Path, levels: int) -> None:
        """Load the surrogate.

        Args:
            surrogate: file of the encoder of a TAESD-family autoencoder.
            levels: the bound.

        Raises:
            RidError: the file is missing, damaged, or holds another network.
        """
        from rid_core.surrogates import load_surrogate

        self._encoder = load_surrogate("tiny-autoencoder", path=surrogate)
        self.name = self._encoder.name
        self._budget = Budget(levels)
        # Many pictures come again: the clean portraits, and what the float network makes of them.
        self._latents: dict[bytes, Tensor] = {}

    def _encode(self, pixels: np.ndarray) -> Tensor:
        import torch

        key = hashlib.sha256(pixels.tobytes()).digest()
        if key not in self._latents:
            batch = torch.from_numpy(pixels.astype(np.float32) / np.float32(255))
            with torch.inference_mode():
                self._latents[key] = self._encoder.encode(batch.permute(2, 0, 1)[None])
        return self._latents[key]

    def __call__(self, portrait: np.ndarray, unit: np.ndarray) -> float:
        """Shift for a float32 portrait [H, W, 3] in [0, 1] and its unit perturbation."""
        from rid_core.surrogates import relative_shift

        pixels = np.rint(portrait * 255).astype(np.uint8)
        saved = self._budget.apply_uint8(pixels, unit)
        return float(relative_shift(self._encode(pixels), self._encode(saved))[0])
