"""Configuration of a training run: one TOML file, checked before anything is loaded."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from rid_core.channel import STEPS
from rid_core.errors import RidError
from rid_core.training.terms import get_objective


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DefenderSection(_Section):
    """Which network, and its bound."""

    preset: str = "rid-s"
    levels: int = Field(8, ge=1, le=255)
    overrides: dict[str, Any] = {}
    init: Path | None = None
    """Checkpoint to start from instead of a zero perturbation."""
    rounding: bool = True
    """Round protected photos to 8 bits in training, as saving does."""


class DataSection(_Section):
    """Which portraits, and how crops are drawn from them."""

    folder: Path
    exclude: list[str] = []
    """Glob patterns of file names that are never read: a validation set."""
    crop: int = Field(192, ge=32)
    """Side of a training crop in pixels."""
    short_side: tuple[int, int] = (256, 512)
    """A photo is scaled so that its short side lies in this range, drawn log-uniformly."""
    workers: int = Field(0, ge=0)


class SurrogateSection(_Section):
    """A frozen model to attack; further keys are that kind's settings."""

    model_config = ConfigDict(extra="allow", frozen=True)
    kind: str


class EnsembleSection(_Section):
    """How several surrogates count together."""

    mode: Literal["mean", "worst", "random"] = "mean"
    """``worst``: of each photo the surrogate that is least disturbed; ``random``: one per batch."""
    offload: bool = False
    """Keep one surrogate at a time on the device: memory of one, for a copy per step each."""


Weight = float | list[tuple[int, float]]
"""Of a term: a number, or points [step, weight] between which it runs straight."""


def weight_at(weight: Weight, step: int) -> float:
    """The weight at an optimiser step, counted from 0; constant before and after the points."""
    if not isinstance(weight, list):
        return weight
    steps, values = zip(*weight, strict=True)
    return float(np.interp(step, steps, values))


class ObjectiveSection(_Section):
    """A term of the loss; see :mod:`rid_core.training.terms`."""

    kind: str
    weight: Weight = 1.0
    teacher: str | None = None
    """For distillation: a checkpoint or a bundled preset."""
    pairs: Path | None = None
    """For regression: a folder that ``rid-train pairs`` made."""
    target: Path | None = None
    """For targeted-latent: a picture; without one the latent is pulled to zero."""
    timesteps: tuple[int, int] | None = None
    """For adv-sds and denoising-loss: drawn from this range, the end not included."""

    @field_validator("weight")
    @classmethod
    def _weighs(cls, weight: Weight) -> Weight:
        points = weight if isinstance(weight, list) else [(0, weight)]
        steps = [step for step, _ in points]
        if not points or sorted(set(steps)) != steps or steps[0] < 0:
            raise ValueError("points [step, weight] must be in order of their steps")
        if min(value for _, value in points) < 0 or max(value for _, value in points) <= 0:
            raise ValueError("must be positive")
        return weight

    @model_validator(mode="after")
    def _fits(self) -> ObjectiveSection:
        try:
            known = get_objective(self.kind)
        except RidError as error:
            raise ValueError(str(error)) from None
        for key in ("teacher", "pairs", "target", "timesteps"):
            given = getattr(self, key) is not None
            if given and key not in known.settings:
                raise ValueError(f"{self.kind} takes no {key}")
            if not given and key in known.required:
                raise ValueError(f"{self.kind} needs {_WHAT[key]}")
        if self.timesteps is not None and not 0 <= self.timesteps[0] < self.timesteps[1]:
            raise ValueError("timesteps must rise from 0 or more")
        return self


_WHAT = {
    "teacher": "a teacher: a checkpoint or a bundled preset",
    "pairs": "pairs: a folder that rid-train pairs made",
}


class VisibilitySection(_Section):
    """What it costs to see the perturbation."""

    dissimilarity: float = Field(3.0, ge=0)
    """Weight of ``1 - SSIM``."""
    periodicity: float = Field(0.3, ge=0)
    """Weight of how much the perturbation repeats itself."""


class OptimSection(_Section):
    """AdamW with a linear warm-up; exponential moving average of the weights."""

    steps: int = Field(3000, ge=1)
    batch: int = Field(3, ge=1)
    """Crops per process and step."""
    accumulate: int = Field(1, ge=1)
    """Batches per optimiser step."""
    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    warmup: int = Field(100, ge=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    """Of the learning rate after the warm-up; the cosine ends at zero."""
    clip: float = Field(1.0, gt=0)
    ema: float = Field(0.99, ge=0, lt=1)
    seed: int = 0
    mixed_precision: Literal["no", "fp16", "bf16"] = "no"
    """Of the network in training; surrogates have a dtype of their own."""
    compile: bool = False
    """Train through ``torch.compile``: minutes of start-up, then faster steps on a GPU."""


class LogSection(_Section):
    """How often to speak and to save, in steps."""

    every: int = Field(10, ge=1)
    save_every: int = Field(100, ge=1)
    preview_every: int = Field(250, ge=1)


class TrainConfig(_Section):
    """A whole run."""

    defender: DefenderSection = DefenderSection()  # type: ignore[call-arg]
    data: DataSection
    surrogate: list[SurrogateSection] = []
    ensemble: EnsembleSection = EnsembleSection()
    objective: Annotated[list[ObjectiveSection], Field(min_length=1)]
    channel: dict[str, float] = {"identity": 1.0}
    """Relative frequency of each step of :mod:`rid_core.channel`."""
    visibility: VisibilitySection = VisibilitySection()  # type: ignore[call-arg]
    optim: OptimSection = OptimSection()  # type: ignore[call-arg]
    log: LogSection = LogSection()  # type: ignore[call-arg]

    @model_validator(mode="after")
    def _fits(self) -> TrainConfig:
        unknown = sorted(set(self.channel) - set(STEPS))
        if unknown:
            raise ValueError(f"unknown step {unknown[0]}; known: {', '.join(STEPS)}")
        for objective in self.objective:
            if get_objective(objective.kind).needs is not None and not self.surrogate:
                raise ValueError(f"{objective.kind} needs at least one [[surrogate]]")
        if len({o.pairs for o in self.objective if o.pairs is not None}) > 1:
            raise ValueError("all objectives of kind regression must name the same pairs")
        return self

    @property
    def pairs(self) -> Path | None:
        """The folder of stored perturbations that the loss asks for."""
        return next((o.pairs for o in self.objective if o.pairs is not None), None)

    @property
    def needs_pairs_alone(self) -> bool:
        """Whether a photo without a stored perturbation teaches nothing."""
        return all(o.pairs is not None for o in self.objective)


def _describe(error: ValidationError, source: str) -> str:
    """The first problem as one line; for an unknown key, the nearest known one."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _keys_beside(first["loc"])
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
        return f"{source}: unknown key {where}; {hint}"
    return f"{source}: {where}: {first['msg'][0].lower()}{first['msg'][1:]}"


def _keys_beside(location: tuple[int | str, ...]) -> list[str]:
    """Known keys of the section in which ``location`` lies, found by the types of the fields."""
    section: type[BaseModel] = TrainConfig
    for part in location[:-1]:
        if isinstance(part, str) and part in section.model_fields:
            section = _section_in(section.model_fields[part].annotation) or section
    return sorted(section.model_fields)


def _section_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = [_section_in(argument) for argument in get_args(annotation)]
    return next((section for section in inner if section), None)


def parse_config(raw: dict[str, Any], source: str = "config") -> TrainConfig:
    """Check a configuration that was read or made elsewhere.

    Raises:
        RidError: an unknown key (the nearest is named) or a value out of range.
    """
    try:
        return TrainConfig.model_validate(raw)
    except ValidationError as error:
        raise RidError(_describe(error, source)) from None


def load_config(path: str | Path, assignments: tuple[str, ...] = ()) -> TrainConfig:
    """Read a TOML file; ``assignments`` such as ``"optim.steps=100"`` override it.

    Raises:
        RidError: no such file, not TOML, an unknown key or a value out of range.
    """
    path = Path(path)
    try:
        raw = tomllib.loads(path.read_text())
    except OSError as error:
        raise RidError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RidError(f"{path}: not TOML ({error})") from None
    for assignment in assignments:
        key, found, value = assignment.partition("=")
        if not found:
            raise RidError(f"--set takes key=value, not {assignment!r}")
        try:
            parsed = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            parsed = value  # a bare word is a string
        _assign(raw, key, parsed)
    return parse_config(raw, str(path))


def _assign(raw: dict[str, Any], key: str, value: Any) -> None:
    """Set ``key``, such as ``optim.steps`` or ``surrogate.0.path`` (the first of several)."""
    *parents, leaf = key.split(".")
    section: Any = raw
    for parent in parents:
        if isinstance(section, list):
            section = section[_place(key, parent, section)]
        else:
            section = section.setdefault(parent, {})
        if not isinstance(section, dict | list):
            raise RidError(f"--set {key}: {parent} is no section")
    section[_place(key, leaf, section) if isinstance(section, list) else leaf] = value


def _place(key: str, part: str, items: list[Any]) -> int:
    if not part.isdecimal() or int(part) >= len(items):
        raise RidError(f"--set {key}: {part} must be a place from 0 to {len(items) - 1}")
    return int(part)
