"""What results are made of: dataclasses that are written as JSON as they are.

Standard library only. Durations are in seconds, sizes in bytes; what could not be measured is None.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rid_core.fidelity import ErrorStatistics

from .timing import Summary, threads_text

SCHEMA = 1
"""Of the document that holds results; boards, phones and workstations write the same."""
NOISY = 0.25
"""A spread above this is too much to tell two runs apart."""
STARVED = 0.6
"""A network that got less of its cores than this shared them with others."""


@dataclass(frozen=True)
class Labels:
    """Which network a row is about.

    Attributes:
        name: of the defender, or of what it is compared with.
        format, precision: for people, such as ``TFLite`` and ``int8``.
        weights: SHA-256 of the weights.
        resolution: in pixels.
        levels: the bound, in 8-bit levels.
        file, size_bytes: its name and size.
    """

    name: str
    format: str = ""
    precision: str = ""
    weights: str = ""
    resolution: int | None = None
    levels: int | None = None
    size_bytes: int | None = None
    file: str = ""


@dataclass(frozen=True)
class Scaled:
    """How a time was got from fewer steps than it stands for.

    Attributes:
        timed_steps: in one measured repetition.
        steps: that the time is stated for.
    """

    timed_steps: int
    steps: int


@dataclass(frozen=True)
class Cell(Labels):
    """A network in a runtime with some threads; a plain one was not measured.

    Attributes:
        threads: of the CPU.
        error: why there are no figures.
        missing: whether that is because the runtime is not installed.
        runtime: name and version, for people.
        runtime_key: of the library, as ``--runtime`` names it.
        kernels: of LiteRT, or the compute units of Core ML.
        multiply_adds: of one run.
        note: what a reader must know of a peer.
        scaled: of a peer whose time is scaled.
        source: where the number of its steps stands.
    """

    threads: int = 1
    error: str | None = None
    missing: bool = False
    runtime: str = ""
    runtime_key: str = ""
    kernels: str = "xnnpack"
    multiply_adds: int | None = None
    note: str = ""
    scaled: Scaled | None = None
    source: str = ""


_ZERO = Summary(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
_REQUIRED = {"required": True}


@dataclass(frozen=True)
class Measured(Cell):
    """A cell with figures.

    Attributes:
        total: photo to perturbation; ``pre`` is up to the input tensor, ``network`` the network
            alone, ``post`` what follows the output tensor.
        rounds: median of the network in each turn.
        load_s: opening it.
        first_s: its first run.
        hertz: median frequency of the first core.
        cpu_share: how much of its cores it got, 1 being all of them.
        joules: of one repetition, by the whole package.
        memory_peak_bytes: of its process.
        memory_bytes: of that, what came after the runtime was imported.
    """

    total: Summary = field(default=_ZERO, metadata=_REQUIRED)
    pre: Summary | None = None
    network: Summary | None = None
    post: Summary | None = None
    rounds: tuple[float, ...] = ()
    load_s: float | None = None
    first_s: float | None = None
    hertz: float | None = None
    cpu_share: float | None = None
    joules: float | None = None
    memory_peak_bytes: int | None = None
    memory_bytes: int | None = None

    @property
    def alone(self) -> Summary:
        """The network alone, where it was told apart from the steps around it."""
        return self.network or self.total

    @property
    def doubt(self) -> str | None:
        """Why the figures mean little, or None.

        A restless machine shows in the spread. One that is busy all the time with something else
        does not, but the process then got less of its cores than it could use: networks keep all
        their threads busy, waiting ones included.
        """
        if self.cpu_share is not None and self.cpu_share < STARVED:
            share = self.cpu_share
            return f"the machine is busy with something else: it got {share:.0%} of its cores"
        if self.total.spread > NOISY:
            spread = self.total.spread
            return (
                f"the machine is too noisy to tell: samples spread over {spread:.0%} of the median"
            )
        return None


@dataclass(frozen=True)
class Peak:
    """A measured limit of the machine.

    Attributes:
        what: measured it, for people.
        kind: ``matmul`` (multiply-adds) or ``copy`` (bytes read and written).
        threads: of the CPU.
        per_second: the fastest, not the median: a limit is what can be reached.
    """

    what: str
    kind: str
    threads: int
    per_second: float


@dataclass(frozen=True)
class Figures(ErrorStatistics):
    """An artefact's perturbation of one photo against the reference's.

    Attributes:
        photo: its name; empty for the worst or the mean over several.
        psnr_db, ssim: of the protected photo against the one the reference gives, in 8 bits; 200 dB
            for equal ones.
        photo_psnr_db, photo_ssim: of it against the photo itself: how visible it is.
        change_levels: the largest change of the photo.
        retained_shift: shift of a surrogate's latent as a share of the reference's.
    """

    photo: str = ""
    psnr_db: float | None = None
    ssim: float | None = None
    photo_psnr_db: float | None = None
    photo_ssim: float | None = None
    change_levels: float | None = None
    retained_shift: float | None = None

    @classmethod
    def of(cls, numbers: Mapping[str, Any]) -> Figures:
        """Out of numbers by name."""
        return cls(**numbers)

    def numbers(self) -> dict[str, float]:
        """Those that were measured, by name."""
        found = dataclasses.asdict(self)
        return {name: value for name, value in found.items() if isinstance(value, float)}


@dataclass(frozen=True)
class Fidelity(Labels):
    """An artefact against the reference.

    Attributes:
        error: why it could not be run here.
        gate: what breaks the export gate's bounds.
        runtime: that ran it.
        reference: the device that made the reference.
        floor: how far apart two honest computations of the same network are, by the other one's
            name: closer than that cannot be told.
        images: figures of each photo.
        worst: each figure the worst over the photos.
        mean: over the photos.
    """

    error: str | None = None
    gate: str | None = None
    runtime: str = ""
    reference: str = ""
    floor: dict[str, ErrorStatistics] = field(default_factory=dict)
    images: tuple[Figures, ...] = ()
    worst: Figures | None = None
    mean: Figures | None = None


@dataclass(frozen=True)
class Bound:
    """A bound of the export gate on a figure.

    Attributes:
        name: of the figure, ``delta_`` before it.
        sense: ``min`` or ``max``.
        bound: what must be reached, or not exceeded.
    """

    name: str
    sense: str
    bound: float


def judge(images: Sequence[Figures], bounds: Sequence[Bound]) -> str | None:
    """What breaks the export gate's bounds, or None."""
    for bound in bounds:
        name = bound.name[len("delta_") :]
        found = [getattr(image, name, None) for image in images]
        values = [value for value in found if value is not None]
        low = bound.sense == "min"
        worst = (min if low else max)(values) if values else None
        if worst is not None and (worst < bound.bound if low else worst > bound.bound):
            words = "at least" if low else "at most"
            return f"{bound.name} is {worst:.6g}, {words} {bound.bound:g} needed"
    return None


@dataclass(frozen=True)
class Machine:
    """What a machine is. Only its processor must be known; nothing is guessed.

    Attributes:
        cpu: the processor.
        name: of the machine, for reports.
        architecture, board, system, python: as they call themselves.
        cores: that this process may use.
        memory_bytes: in all.
        max_hertz, governor: of the first core's frequency.
        versions: of packages.
        load_before: cores that others kept busy before the run began.
        energy: whether energy can be read.
        thermal: of an iPhone before and after, in iOS's words.
        thermal_status: of an Android phone, in Android's numbers.
        low_power: whether an iPhone saved energy.
    """

    cpu: str
    name: str = ""
    architecture: str | None = None
    cores: int | None = None
    memory_bytes: int | None = None
    max_hertz: float | None = None
    governor: str | None = None
    board: str | None = None
    system: str | None = None
    python: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    load_before: float | None = None
    energy: bool = False
    thermal: tuple[str, ...] = ()
    thermal_status: int | None = None
    low_power: bool | None = None


@dataclass(frozen=True)
class Photo:
    """A whole photo, file to file; a plain one was not measured.

    Attributes:
        model: what protects it.
        megapixels: asked for.
        threads: of the network; the other steps have one.
        error: why there are no figures.
    """

    model: str
    megapixels: float
    threads: int
    error: str | None = None


@dataclass(frozen=True)
class MeasuredPhoto(Photo):
    """A photo with figures; durations are medians.

    Attributes:
        total: file to file. Of that, ``decode`` is JPEG to pixels, ``scale`` scaling and tiling,
            ``network`` all its runs, ``apply`` enlarging the perturbation, adding it and verifying,
            ``encode`` pixels to JPEG.
        width, height: in pixels.
        runtime, preset: what ran which network.
        spread: (slowest - fastest) / median.
        seconds_per_megapixel: of the whole.
        memory_bytes: peak above what the loaded network needs.
    """

    total: float = field(default=0.0, metadata=_REQUIRED)
    decode: float = 0.0
    scale: float = 0.0
    network: float = 0.0
    apply: float = 0.0
    encode: float = 0.0
    width: int = field(default=0, metadata=_REQUIRED)
    height: int = field(default=0, metadata=_REQUIRED)
    runtime: str = ""
    preset: str = ""
    spread: float = 0.0
    seconds_per_megapixel: float = 0.0
    memory_bytes: int | None = None


@dataclass(frozen=True)
class Operator:
    """One operator of a profile.

    Attributes:
        kind: the kernel that ran.
        name: for people.
        seconds: median over the runs.
        multiply_adds: of one run, where it can be told.
        bytes: of inputs, weights and outputs together.
    """

    kind: str
    name: str
    seconds: float
    multiply_adds: int | None = None
    bytes: float | None = None


@dataclass(frozen=True)
class Profile(Labels):
    """Time per operator of one artefact.

    Attributes:
        threads: of the CPU.
        error: why there is none.
        layers: in order of execution.
        slowest: the three that take the longest, ``name: share of the whole``.
    """

    threads: int = 1
    error: str | None = None
    layers: tuple[Operator, ...] = ()
    slowest: tuple[str, ...] = ()


@dataclass
class Run:
    """What one machine measured.

    Attributes:
        created: date and time, ISO 8601, UTC.
        machine: where.
        cells: a network in a runtime with some threads, or the reason why it was not measured.
        photos: whole photos, file to file.
        peers: what others do for the same purpose; some scaled from a few steps, and saying so.
        peaks: measured limits of the machine.
        layers: profiles, one per artefact.
        fidelity: artefacts against a reference.
        complete: whether everything that was planned was measured.
        note: why not.
    """

    created: str
    machine: Machine
    cells: list[Cell] = field(default_factory=list)
    photos: list[Photo] = field(default_factory=list)
    peers: list[Cell] = field(default_factory=list)
    peaks: list[Peak] = field(default_factory=list)
    layers: list[Profile] = field(default_factory=list)
    fidelity: list[Fidelity] = field(default_factory=list)
    complete: bool = True
    note: str | None = None

    @property
    def name(self) -> str:
        """Of the machine, for people."""
        return self.machine.name or self.machine.cpu or "unknown machine"


def document(runs: Sequence[Run]) -> Mapping[str, Any]:
    """The JSON document of some runs."""
    return {"schema": SCHEMA, "runs": [dataclasses.asdict(run) for run in runs]}


def label(row: Labels, *, threads: bool = True) -> str:
    """For people: ``rid-s TFLite int8, 2 threads``."""
    text = " ".join(word for word in (row.name, row.format, row.precision) if word)
    if isinstance(row, Cell) and row.kernels not in ("", "xnnpack"):
        text += f" ({row.kernels} kernels)"
    if threads and isinstance(row, (Cell, Profile)):
        text += f", {threads_text(row.threads)}"
    return text


def measured(cells: Sequence[Cell]) -> list[Measured]:
    """Those that have figures."""
    return [cell for cell in cells if isinstance(cell, Measured)]
