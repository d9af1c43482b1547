"""From single attacks to the figures of a report, with intervals over people."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from rid_eval import metrics
from rid_eval.metrics import IdentityScore, identity_score
from rid_eval.personalization.figures import (
    AttackCheck,
    AttackRow,
    ByRule,
    Condition,
    Distance,
    Figures,
    Means,
    Ratio,
)
from rid_eval.personalization.protections import is_mixed, mixed_of
from rid_eval.personalization.records import PhotoFigures, Record
from rid_eval.personalization.subjects import AttackTarget
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
    return Figures(photos_to_person=bootstrap_mean(own), conditions=conditions,
                   ratios=_ratios(falls, labels, defenders), rows=rows)  # fmt: skip


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
