"""What a study says: the figures of its report, and of the JSON that it is read from."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from rid_core.assignments import Setting
from rid_eval.metrics import IdentityScore
from rid_eval.personalization.protections import Description
from rid_eval.personalization.records import PhotoFigures
from rid_eval.results import Measurement, Number, Sparse
from rid_eval.statistics import Interval


@dataclass(frozen=True)
class AttackCheck:
    """Whether the attack works on clean photos; nothing is measured with one that does not.

    Attributes:
        works: the verdict.
        attacks: clean ones that are finished.
        above: share of them whose ISM is above the judge's threshold.
        clean: ISM of clean attacks, 0 for samples without a face.
        untuned: of the model before.
        margin: difference of the two.
        reason: in words.
    """

    works: bool
    attacks: int
    above: float
    clean: Interval
    untuned: Interval
    margin: Interval
    reason: str


@dataclass(frozen=True)
class Means:
    """Means over the attacks of a condition; of its photos, those that were measured."""

    fdfr: Interval
    ism_found: Interval
    ism_zero: Interval
    recognised: Interval
    jod: Interval | None = None
    strength: Interval | None = None
    levels: Interval | None = None
    psnr: Interval | None = None
    lpips: Interval | None = None
    latent_shift: Interval | None = None
    denoising_rise: Interval | None = None
    gradient_norm: Interval | None = None


@dataclass(frozen=True)
class ByRule:
    """A figure of ISM by the two rules for samples without a face.

    Attributes:
        found: they are left out.
        zero: they count as 0.
    """

    found: Interval | None = None
    zero: Interval | None = None


@dataclass(frozen=True)
class Distance:
    """Distances of the samples' faces from people's own photos; see :mod:`rid_eval.metrics`."""

    features: str
    samples: int
    references: int
    frechet: float
    kernel: float
    warning: str | None


@dataclass(frozen=True)
class Condition:
    """All attacks on photos under one protection.

    Attributes:
        attacks: how many are finished.
        means: of their figures.
        fall: of ISM from the clean attack on the same photos; empty for the clean attacks.
        distance: from people's own photos; None with too few faces.
    """

    attacks: int
    means: Annotated[Means, Sparse]
    fall: Annotated[ByRule, Sparse]
    distance: Distance | None


@dataclass(frozen=True)
class Ratio:
    """How many times the fall of ISM under ``to`` the fall under ``of`` is.

    Attributes:
        of: the condition above the line.
        to: the condition below it.
        found: of samples with a face.
        zero: with 0 for samples without one.
        target: what is wanted at least, or None.
    """

    of: str
    to: str
    found: Interval
    zero: Interval
    target: float | None = None


@dataclass(frozen=True, kw_only=True)
class AttackRow(PhotoFigures, IdentityScore):
    """One attack: whose, under what, what came of it, and how long it took."""

    person: str
    set: int
    condition: str
    loss_first: Number
    loss_last: Number
    seconds: float
    device: str


@dataclass(frozen=True)
class JudgeUse:
    """The judge of faces, and the cosine above which a face is the person's."""

    name: str
    threshold: float
    origin: Annotated[str, Field(alias="from")]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What single attacks add up to.

    Attributes:
        photos_to_person: ISM of the attackers' own photos.
        conditions: by label.
        ratios: of falls of ISM.
        rows: single attacks.
        kept: by condition, share of the plain fall that is left after a channel.
    """

    photos_to_person: Interval
    conditions: dict[str, Condition]
    ratios: list[Ratio]
    rows: list[Annotated[AttackRow, Sparse]]
    kept: dict[str, Annotated[ByRule, Sparse]] | None = None


@dataclass(frozen=True, kw_only=True)
class PersonalizationResult(Measurement, Figures):
    """Does the attack itself fail on protected photos?

    Attributes:
        attack: ``works``, or ``broken``: then nothing here measures protection.
        gate: why.
        surrogate: the attacked model.
        preset: of the attack's settings.
        settings: of the attack; numbers that are not whole as text.
        device: where.
        people: their names.
        left_out: by person, photos that were not used and why.
        levels: the bound.
        channel: what photos went through.
        conditions_left_out: what was asked for and could not be made.
        judge: of faces.
        protections: by label.
        lpips: whether it was measured.
    """

    what: ClassVar[str] = "personalization"
    attack: str
    gate: AttackCheck
    surrogate: str
    preset: str
    settings: dict[str, Setting]
    device: str = ""
    people: list[str]
    left_out: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)
    levels: int
    channel: str
    conditions_left_out: list[str] = dataclasses.field(default_factory=list)
    judge: JudgeUse
    protections: dict[str, Annotated[Description, Sparse]]
    lpips: str = ""
