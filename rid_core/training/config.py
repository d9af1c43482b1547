"""Configuration of a training run: one TOML file, checked before anything is loaded."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rid_core.channel import STEPS
from rid_core.errors import RidError


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DefenderSection(_Section):
    """Which network, and its bound."""

    preset: str = "rid-s"
    levels: int = Field(8, ge=1, le=255)
    overrides: dict[str, Any] = {}
    init: Path | None = None
    """Checkpoint to start from instead of a zero perturbation."""


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


class ObjectiveSection(_Section):
    """A term of the loss."""

    kind: Literal["encoder-shift", "distillation"]
    weight: float = Field(1.0, gt=0)
    teacher: str | None = None
    """For distillation: a checkpoint or a bundled preset."""


class VisibilitySection(_Section):
    """What it costs to see the perturbation."""

    dissimilarity: float = Field(3.0, ge=0)
    """Weight of ``1 - SSIM``."""
    periodicity: float = Field(0.3, ge=0)
    """Weight of how much the perturbation repeats itself."""


class OptimSection(_Section):
    """AdamW with warm-up and a cosine to zero; exponential moving average of the weights."""

    steps: int = Field(3000, ge=1)
    batch: int = Field(3, ge=1)
    """Crops per process and step."""
    accumulate: int = Field(1, ge=1)
    """Batches per optimiser step."""
    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    warmup: int = Field(100, ge=0)
    clip: float = Field(1.0, gt=0)
    ema: float = Field(0.99, ge=0, lt=1)
    seed: int = 0
    mixed_precision: Literal["no", "fp16", "bf16"] = "no"


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
        if any(o.kind == "encoder-shift" for o in self.objective) and not self.surrogate:
            raise ValueError("encoder-shift needs at least one [[surrogate]]")
        if any(o.kind == "distillation" and o.teacher is None for o in self.objective):
            raise ValueError("distillation needs a teacher: a checkpoint or a bundled preset")
        return self


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
    sections: dict[str, type[BaseModel]] = {
        "defender": DefenderSection,
        "data": DataSection,
        "objective": ObjectiveSection,
        "visibility": VisibilitySection,
        "optim": OptimSection,
        "log": LogSection,
    }
    parent = sections.get(str(location[0])) if len(location) > 1 else None
    return sorted((parent or TrainConfig).model_fields)


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
        *parents, leaf = key.split(".")
        section = raw
        for parent in parents:
            section = section.setdefault(parent, {})
            if not isinstance(section, dict):
                raise RidError(f"--set {key}: {parent} is no section")
        section[leaf] = parsed
    return parse_config(raw, str(path))
