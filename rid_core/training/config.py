"""Configuration of a training run: one TOML file, checked before anything is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from rid_core.channel import STEPS
from rid_core.training.settings import ConfigSection, TrainingConfig, check, read_toml
from rid_core.training.terms import ObjectiveSection, Weight, get_objective


class DefenderSection(ConfigSection):
    """Which network, and its bound."""

    preset: str = "rid-s"
    levels: int = Field(8, ge=1, le=255)
    overrides: dict[str, Any] = Field(default_factory=dict)
    init: Path | Annotated[list[Path], Field(min_length=1)] | None = None
    """Checkpoint or bundled preset to start from instead of a fresh network; of several, the
    mean weights. That of a smaller network is grown: at first the larger one computes the same."""
    rounding: bool = True
    """Round protected photos to 8 bits in training, as saving does."""


class DataSection(ConfigSection):
    """Which portraits, and how crops are drawn from them."""

    folder: Path
    exclude: list[str] = Field(default_factory=list)
    """Patterns of names, or of paths below the folder, that are never read: a validation set."""
    repeat: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    """Pattern -> how often such photos are shown while the others are shown once."""
    crop: int = Field(192, ge=32)
    """Side of a training crop in pixels."""
    short_side: tuple[int, int] = (256, 512)
    """A photo is scaled so that its short side lies in this range, drawn log-uniformly."""
    workers: int = Field(0, ge=0)


class SurrogateSection(ConfigSection):
    """A frozen model to attack; further keys are that kind's settings."""

    model_config = ConfigDict(extra="allow", frozen=True)
    kind: str


class EnsembleSection(ConfigSection):
    """How several surrogates count together."""

    mode: Literal["mean", "worst", "random"] = "mean"
    """``worst``: of each photo the surrogate that is least disturbed; ``random``: one per batch."""
    offload: bool = False
    """Keep one surrogate at a time on the device: memory of one, for a copy per step each."""


_REPLACED = ("dissimilarity", "periodicity", "cellularity", "bordering", "universality", "energy")


class VisibilitySection(ConfigSection):
    """What it costs to see the perturbation; see :mod:`rid_core.visibility`."""

    jod: Weight = 1.0
    """Weight of ``10 - JOD`` at 38 pixels per degree: the photo on a phone held at 30 cm."""
    jod_enlarged: Weight = 0.5
    """Weight of the same at 19 pixels per degree: the photo enlarged twice."""
    ssimulacra2: Weight = 0.5
    """Weight of ``1 - SSIMULACRA2 / 100``."""
    colour: Weight = 0.1
    """Weight of how far the blurred colour moves, in levels; JOD does not see a cast."""

    @model_validator(mode="before")
    @classmethod
    def _names_what_replaced(cls, raw: Any) -> Any:
        gone = [key for key in _REPLACED if isinstance(raw, dict) and key in raw]
        if gone:
            raise ValueError(
                f"{gone[0]} no longer exists; jod, jod_enlarged, ssimulacra2 and colour replaced it"
            )
        return raw


class TrainConfig(TrainingConfig):
    """A whole run."""

    defender: DefenderSection = DefenderSection()  # type: ignore[call-arg]
    data: DataSection
    surrogate: list[SurrogateSection] = Field(default_factory=list)
    ensemble: EnsembleSection = EnsembleSection()
    objective: Annotated[list[ObjectiveSection], Field(min_length=1)]
    channel: dict[str, float] = Field(default_factory=lambda: {"identity": 1.0})
    """Relative frequency of each step of :mod:`rid_core.channel`."""
    visibility: VisibilitySection = VisibilitySection()

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


def parse_config(raw: dict[str, Any], source: str = "config") -> TrainConfig:
    """Check a configuration that was read or made elsewhere.

    Raises:
        RidError: an unknown key (the nearest is named) or a value out of range.
    """
    return check(TrainConfig, raw, source)


def load_config(path: str | Path, assignments: tuple[str, ...] = ()) -> TrainConfig:
    """Read a TOML file; ``assignments`` such as ``"optim.steps=100"`` override it.

    Raises:
        RidError: no such file, not TOML, an unknown key or a value out of range.
    """
    return parse_config(read_toml(Path(path), assignments), str(path))
