"""From single attacks to the figures of a report, with intervals over people."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from rid_core.assignments import Setting
from rid_eval import metrics
from rid_eval.metrics import IdentityScore, identity_score
from rid_eval.personalization.protections import Description, is_mixed, mixed_of
from rid_eval.personalization.records import PhotoFigures, Record
from rid_eval.personalization.subjects import AttackTarget
from rid_eval.results import Measurement, Number, Sparse
from rid_eval.statistics import (
    Groups,
    Interval,
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_ratio,
)

MARGIN = 0.1
"""Cosine by which a working attack must bring samples closer to the person than the model was."""

TARGETS = {"aspl": 0.8, "signs": 6.0, "aspl-transfer-look": 2.0, "photoguard-transfer-look": 2.0}
"""What the fall of ISM under a defender should be at least, in falls under these."""

Find = Callable[[str, str], Record | None]
"""(key of a target, condition) -> what came of the attack, None while there is nothing."""


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


@dataclass(frozen=True)
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
class PersonalizationResult(Measurement):
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
        photos_to_person: see :class:`Figures`, as all that follow.
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
    photos_to_person: Interval
    conditions: dict[str, Condition]
    ratios: list[Ratio]
    rows: list[Annotated[AttackRow, Sparse]]
    kept: dict[str, Annotated[ByRule, Sparse]] | None = None


def check_attack(
    attacks: Sequence[tuple[AttackTarget, Record, Record]], threshold: float
) -> AttackCheck:
    """Judge clean attacks: above the threshold for most, and clearly above the untuned model.

    Both by the stricter rule, on which a sample without a face counts 0. "Clearly" is a lower end
    of the interval above 0 and a mean difference of :data:`MARGIN` or more.

    Args:
        attacks: (target, its clean attack, samples of the untuned model).
        threshold: of the judge.
    """
    tuned: dict[str, list[float]] = {}
    before: dict[str, list[float]] = {}
    for target, clean, untouched in attacks:
        for store, record in ((tuned, clean), (before, untouched)):
            score = identity_score(record.embeddings, target.person_direction, threshold)
            store.setdefault(target.person, []).append(score.ism_zero)
    values = np.array([value for values in tuned.values() for value in values])
    above = float((values > threshold).mean())
    margin = bootstrap_difference(tuned, before)
    clearly = math.isnan(margin.low) or margin.low > 0  # one person has no interval
    works = above > 0.5 and margin.value >= MARGIN and clearly
    after, untuned = bootstrap_mean(tuned), bootstrap_mean(before)
    reason = (
        f"trained on clean photos, ISM is above the threshold {threshold:.3f} for {above:.0%} of "
        f"{len(values)} attacks (most are needed), {after} on average; the untuned model has "
        f"{untuned}, a difference of {margin} ({MARGIN} is needed)"
    )
    return AttackCheck(works, len(values), above, after, untuned, margin, reason)


Scores = dict[str, IdentityScore]
"""By key of the target."""


def summarize(
    targets: Sequence[AttackTarget],
    labels: Sequence[str],
    find: Find,
    threshold: float,
    references: np.ndarray,
    defenders: Sequence[str],
) -> Figures:
    """Rows of all finished attacks, means by condition, falls of ISM and their ratios.

    Args:
        targets: all.
        labels: conditions, ``untuned`` and ``clean`` among them.
        find: looks an attack up.
        threshold: of the judge.
        references: embeddings of people's own photos, [N, D], for distances of distributions.
        defenders: labels of those that ratios are taken of.
    """
    people = {target.key: target.person for target in targets}
    records = {label: {t.key: record for t in targets if (record := find(t.key, label))}
               for label in labels}  # fmt: skip
    scores: dict[str, Scores] = {
        label: {t.key: identity_score(found[t.key].embeddings, t.person_direction, threshold)
                for t in targets if t.key in found}
        for label, found in records.items()
    }  # fmt: skip
    falls = {label: _falls(scores["clean"], scores[label], people) for label in labels
             if label != "clean"}  # fmt: skip
    conditions = {
        label: Condition(
            attacks=len(scores[label]),
            means=_means(scores[label], records[label], people),
            fall=_mean_fall(falls.get(label)),
            distance=_distance(_faces(label, records[label]), references),
        )
        for label in labels if scores[label]
    }  # fmt: skip
    rows = [
        AttackRow(
            person=t.person, set=t.number, condition=label,
            **vars(scores[label][t.key]), **vars(record.photos),
            loss_first=record.losses[0], loss_last=record.losses[1],
            seconds=record.seconds, device=record.device,
        )
        for t in targets for label in labels if (record := records[label].get(t.key))
    ]  # fmt: skip
    own: dict[str, list[float]] = {}
    for target in targets:
        own.setdefault(target.person, []).append(target.photos_score)
    return Figures(bootstrap_mean(own), conditions, _ratios(falls, labels, defenders), rows)


def effect_kept(
    targets: Sequence[AttackTarget],
    labels: Sequence[str],
    find: Find,
    plain: Find,
    threshold: float,
) -> dict[str, ByRule]:
    """What is left of the fall of ISM after a channel, as a share of the plain fall, by condition.

    Each fall is from the clean attack through the same channel. Only targets that were attacked
    both ways count; a condition without any is left out.

    Args:
        targets: all.
        labels: conditions.
        find: looks up attacks after the channel.
        plain: looks up attacks without it.
        threshold: of the judge.
    """
    people = {target.key: target.person for target in targets}

    def falls(lookup: Find, label: str, keys: set[str]) -> _Falls:
        scored = [
            {t.key: identity_score(record.embeddings, t.person_direction, threshold)
             for t in targets if t.key in keys and (record := lookup(t.key, name))}
            for name in ("clean", label)
        ]  # fmt: skip
        return _falls(scored[0], scored[1], people)

    found = {}
    for label in labels:
        keys = {t.key for t in targets if all(lookup(t.key, name) for lookup in (find, plain)
                                              for name in ("clean", label))}  # fmt: skip
        if label in ("clean", "untuned") or not keys:
            continue
        after, before = falls(find, label, keys), falls(plain, label, keys)
        found[label] = ByRule(
            bootstrap_ratio(after.found, before.found), bootstrap_ratio(after.zero, before.zero)
        )
    return found


@dataclass(frozen=True)
class _Falls:
    """Falls of ISM by person, by both rules."""

    found: Groups
    zero: Groups


def _falls(clean: Scores, other: Scores, people: Mapping[str, str]) -> _Falls:
    """Fall of ISM from the clean attack on the very same photos."""
    found: dict[str, list[float]] = {}
    zero: dict[str, list[float]] = {}
    for key in sorted(clean.keys() & other.keys()):
        one, two, person = clean[key], other[key], people[key]
        found.setdefault(person, []).append(one.ism_found - two.ism_found)
        zero.setdefault(person, []).append(one.ism_zero - two.ism_zero)
    return _Falls(found, zero)


def _mean_fall(falls: _Falls | None) -> ByRule:
    if falls is None:
        return ByRule()
    return ByRule(bootstrap_mean(falls.found), bootstrap_mean(falls.zero))


def _means(scores: Scores, records: Mapping[str, Record], people: Mapping[str, str]) -> Means:
    def mean(values: Mapping[str, float | None]) -> Interval | None:
        groups: dict[str, list[float]] = {}
        for key, value in values.items():
            if value is not None:
                groups.setdefault(people[key], []).append(value)
        return bootstrap_mean(groups) if groups else None

    def of_scores(read: Callable[[IdentityScore], float]) -> Interval:
        found = mean({key: read(score) for key, score in scores.items()})
        assert found is not None
        return found

    photos = {f.name: mean({key: getattr(record.photos, f.name)
                            for key, record in records.items()})
              for f in fields(PhotoFigures)}  # fmt: skip
    return Means(
        of_scores(lambda score: score.fdfr), of_scores(lambda score: score.ism_found),
        of_scores(lambda score: score.ism_zero), of_scores(lambda score: score.recognised),
        **photos,
    )  # fmt: skip


def _faces(label: str, records: Mapping[str, Record]) -> list[np.ndarray]:
    """Faces of a condition's samples; the untuned model's are the same for all targets."""
    several = list(records.values())[: 1 if label == "untuned" else None]
    return [face for record in several for face in record.embeddings if face is not None]


def _ratios(
    falls: Mapping[str, _Falls], labels: Sequence[str], defenders: Sequence[str]
) -> list[Ratio]:
    """How many times the fall under each other condition a defender's fall is."""
    pairs = [(defender, other) for defender in defenders for other in labels
             if other not in (defender, "clean", "untuned") and not is_mixed(other)]  # fmt: skip
    # Of photos that are protected in part, what is left of the effect.
    pairs += [(label, mixed_of(label)) for label in labels if is_mixed(label)]
    return [
        Ratio(one, other, bootstrap_ratio(falls[one].found, falls[other].found),
              bootstrap_ratio(falls[one].zero, falls[other].zero), TARGETS.get(other))
        for one, other in pairs
        if one in falls and other in falls and falls[one].zero and falls[other].zero
    ]  # fmt: skip


def _distance(faces: Sequence[np.ndarray], references: np.ndarray) -> Distance | None:
    if min(len(faces), len(references)) < 2:
        return None
    vectors = np.stack(faces)
    return Distance(
        features="the judge's face embeddings, found faces only; not Inception",
        samples=len(vectors),
        references=len(references),
        frechet=metrics.frechet_distance(vectors, references),
        kernel=metrics.kernel_distance(vectors, references),
        warning=metrics.few_samples(len(vectors), len(references)),
    )
