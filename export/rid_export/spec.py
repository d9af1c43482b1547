"""What to export: one frozen description of one artefact."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rid_core.errors import RidError, did_you_mean

PRECISIONS = ("fp32", "fp16", "w8", "pal8", "w8a16", "int8")
ACTIVATION_BITS = {"w8a16": 16, "int8": 8}
"""Of precisions with integer activations, whose ranges are calibrated on images."""
ROUNDS_ACTIVATIONS = frozenset({"int8"})
"""Precisions whose noise comes from what layers read and give, not from their weights: a layer that
is kept in float keeps its int8 weights there, and float weights everywhere else."""
OUTPUTS = ("protected", "delta")
LAYOUTS = ("nhwc", "nchw")
IO = ("float32", "uint8")
NOISE = "noise"
DEFAULT_RESOLUTION = 512
MAX_RESOLUTION = 4096
MAX_SAMPLES = 4096


@dataclass(frozen=True)
class ExportSpec:
    """One artefact: a target, a precision and what the app sees of it.

    Checked when it is made, as far as that needs no network; :meth:`check_size` does the rest.

    >>> ExportSpec(target="tflite").file_name("rid-s", ".tflite")
    'rid-s.tflite'
    >>> ExportSpec(target="onnx", precision="int8").file_name("rid-s", ".onnx")
    'rid-s.int8.onnx'
    >>> ExportSpec("onnx", resolution=256, io="uint8").file_name("rid-s", ".onnx")
    'rid-s.256px.uint8.onnx'

    Attributes:
        target: name of a registered target, such as ``tflite``.
        precision: of weights and activations; ``fp32`` keeps what was trained.
        resolution: height and width of the input in pixels, a multiple of the defender's stride.
            512 is what an attacker scales photos to.
        outputs: what the network gives. ``delta`` is the unit perturbation, which an app needs for
            photos larger than ``resolution``; ``protected`` is the finished square.
        layout: order of axes of inputs and outputs; empty for the one that the target likes best.
        io: type of ``image`` and ``protected``; ``delta`` is always a float.
        dynamic: whether other multiples of the stride are accepted as well.
        calib: folder of photos that activations are calibrated on, ``noise``, or empty for the
            bundled portraits.
        calib_samples: number of images that they are calibrated on.
        allow_noise: whether ``calib`` may be ``noise``; the file is then marked as unfit.
    """

    target: str
    precision: str = "fp32"
    resolution: int = DEFAULT_RESOLUTION
    outputs: tuple[str, ...] = OUTPUTS
    layout: str = ""
    io: str = "float32"
    dynamic: bool = False
    calib: str = ""
    calib_samples: int = 128
    allow_noise: bool = False

    def __post_init__(self) -> None:
        choose("precision", self.precision, PRECISIONS)
        choose("layout", self.layout, ("", *LAYOUTS))
        choose("type of input and output", self.io, IO)
        if self.calib == NOISE and not self.allow_noise:
            raise RidError(
                "noise is no calibration: ranges that fit noise fit no portrait. Leave --calib out "
                "for the bundled portraits; --allow-noise does it anyway, and marks the file unfit"
            )
        if not 1 <= self.calib_samples <= MAX_SAMPLES:
            raise RidError(
                f"calibration takes 1 to {MAX_SAMPLES} samples, not {self.calib_samples}; "
                "128 are plenty"
            )
        for name in self.outputs:
            choose("output", name, OUTPUTS)
        if "delta" not in self.outputs:
            raise RidError("delta must be among the outputs: the file is proved by it")
        if not 1 <= self.resolution <= MAX_RESOLUTION:
            raise RidError(
                f"resolution must be between 1 and {MAX_RESOLUTION} pixels, not {self.resolution}; "
                "512 is what attackers train at"
            )

    def check_size(self, preset: str, stride: int, fixed_size: int | None) -> None:
        """Hold the resolution against what the defender accepts.

        Raises:
            RidError: it does not fit; the nearest that do are named.
        """
        if fixed_size is not None and self.dynamic:
            raise RidError(
                f"{preset} works at {fixed_size} x {fixed_size} only: leave --dynamic out"
            )
        if fixed_size is not None and self.resolution != fixed_size:
            raise RidError(
                f"{preset} works at {fixed_size} x {fixed_size} only: --resolution {fixed_size}"
            )
        if self.resolution % stride:
            below = self.resolution // stride * stride
            near = [str(size) for size in (below, below + stride) if size]
            raise RidError(
                f"{preset} needs a multiple of {stride} pixels, not {self.resolution}: "
                f"--resolution {' or '.join(near)}"
            )

    @property
    def calibrated(self) -> bool:
        """Whether the precision needs calibration images."""
        return self.precision in ACTIVATION_BITS

    def file_name(self, stem: str, suffix: str) -> str:
        """Name of the file: every setting that is not the default is in it.

        So files of different kinds can lie in one folder: ``rid-s.tflite``, ``rid-s.int8.tflite``,
        ``rid-s.256px.int8.uint8.tflite``, ``rid-s.dynamic.onnx``.
        """
        infixes = (
            "" if self.resolution == DEFAULT_RESOLUTION else f"{self.resolution}px",
            "" if self.precision == "fp32" else self.precision,
            "" if self.io == "float32" else self.io,
            self.layout,
            "dynamic" if self.dynamic else "",
            "" if set(self.outputs) == set(OUTPUTS) else "-".join(self.outputs),
        )
        return ".".join((stem, *filter(None, infixes))) + suffix

    def label(self) -> str:
        """For people: ``tflite fp32``."""
        return f"{self.target} {self.precision}"


def choose(what: str, value: str, known: Iterable[str]) -> str:
    """Return ``value`` if it is known.

    Raises:
        RidError: it is not; the nearest is named.
    """
    known = list(known)
    if value in known:
        return value
    raise RidError(f"unknown {what} {value!r}; {did_you_mean(value, known)}")
