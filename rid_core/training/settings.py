"""Settings from a TOML file, checked; for a wrong key the nearest known one is named."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rid_core.assignments import read_assignments
from rid_core.errors import RidError, did_you_mean


class ConfigSection(BaseModel):
    """A section of a configuration: no unknown keys, never changed once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class OptimSection(ConfigSection):
    """AdamW with a linear warm-up; exponential moving average of the weights."""

    steps: int = Field(3000, ge=1)
    batch: int = Field(3, ge=1)
    """Samples per process and step."""
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


class LogSection(ConfigSection):
    """How often to speak and to save, in steps."""

    every: int = Field(10, ge=1)
    save_every: int = Field(100, ge=1)
    preview_every: int = Field(250, ge=1)


class TrainingConfig(ConfigSection):
    """What every run has."""

    optim: OptimSection = OptimSection()  # type: ignore[call-arg]
    log: LogSection = LogSection()  # type: ignore[call-arg]


Config = TypeVar("Config", bound=BaseModel)


def check(model: type[Config], raw: dict[str, Any], source: str = "config") -> Config:
    """Check settings that were read or made elsewhere.

    Raises:
        RidError: an unknown key (the nearest is named) or a value out of range.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise RidError(_describe(model, error, source)) from None


def _describe(model: type[BaseModel], error: ValidationError, source: str) -> str:
    """The first problem as one line; for an unknown key, the nearest known one."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _keys_beside(model, first["loc"])
        hint = did_you_mean(str(first["loc"][-1]), known)
        return f"{source}: unknown key {where}; {hint}"
    return f"{source}: {where}: {first['msg'][0].lower()}{first['msg'][1:]}"


def _keys_beside(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Known keys of the section in which ``location`` lies, found by the types of the fields."""
    section = model
    for part in location[:-1]:
        if isinstance(part, str) and part in section.model_fields:
            section = _section_in(section.model_fields[part].annotation) or section
    return sorted(section.model_fields)


def _section_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = [_section_in(argument) for argument in get_args(annotation)]
    return next((section for section in inner if section), None)


def read_toml(path: Path | None, assignments: tuple[str, ...] = ()) -> dict[str, Any]:
    """Read a TOML file, if any; ``assignments`` such as ``"optim.steps=100"`` override it.

    Raises:
        RidError: no such file, not TOML, or an assignment without a value.
    """
    try:
        raw = {} if path is None else tomllib.loads(path.read_text())
    except OSError as error:
        raise RidError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RidError(f"{path}: not TOML ({error})") from None
    override(raw, assignments)
    return raw


def override(raw: dict[str, Any], assignments: tuple[str, ...]) -> None:
    """Apply assignments such as ``"optim.steps=100"``.

    Raises:
        RidError: an assignment without a value, or to what is no section.
    """
    for key, value in read_assignments(assignments).items():
        _assign(raw, key, value)


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
