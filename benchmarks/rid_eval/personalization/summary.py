"""From single attacks to the figures of a report, with intervals over people."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rid_eval import metrics
from rid_eval.metrics import IdentityScore, identity_score
from rid_eval.personalization.protections import is_mixed, mixed_of
from rid_eval.personalization.records import Record
from rid_eval.personalization.subjects import Target
from rid_eval.statistics import Interval, bootstrap, bootstrap_mean, bootstrap_ratio

MARGIN = 0.1
"""Cosine by which a working attack must bring samples closer to the person than the model was."""

RULES = {"found": "ism_found", "zero": "ism_zero"}
"""Samples without a face are left out, or count as 0."""

TARGETS = {"aspl": 0.8, "signs": 6.0, "aspl-transfer-look": 2.0, "photoguard-transfer-look": 2.0}
"""What the fall of ISM under a defender should be at least, in falls under these."""

_SCORES = ("fdfr", "ism_found", "ism_zero", "recognised")
_PHOTOS = ("jod", "strength", "levels", "psnr", "lpips", "latent_shift", "denoising_rise",
           "gradient_norm")  # fmt: skip

Find = Callable[[str, str], Record | None]
"""(key of a target, condition) -> what came of the attack, None while there is nothing."""


@dataclass(frozen=True)
class Gate:
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


def gate(attacks: Sequence[tuple[Target, Record, Record]], threshold: float) -> Gate:
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
    margin = bootstrap([tuned, before], lambda means: means[0] - means[1])
    surely = not margin.low <= 0  # one person has no interval
    works = above > 0.5 and margin.value >= MARGIN and surely
    after, untuned = bootstrap_mean(tuned), bootstrap_mean(before)
    reason = (
        f"trained on clean photos, ISM is above the threshold {threshold:.3f} for {above:.0%} of "
        f"{len(values)} attacks (most are needed), {after} on average; the untuned model has "
        f"{untuned}, a difference of {margin} ({MARGIN} is needed)"
    )
    return Gate(works, len(values), above, after, untuned, margin, reason)


def summarize(
    targets: Sequence[Target],
    labels: Sequence[str],
    find: Find,
    threshold: float,
    references: np.ndarray,
    defenders: Sequence[str],
) -> dict[str, Any]:
    """Rows of all finished attacks, means by condition, falls of ISM and their ratios.

    Args:
        targets: all.
        labels: conditions, ``untuned`` and ``clean`` among them.
        find: looks an attack up.
        threshold: of the judge.
        references: embeddings of people's own photos, [N, D], for distances of distributions.
        defenders: labels of those that ratios are taken of.
    """
    scores: dict[str, dict[str, IdentityScore]] = {label: {} for label in labels}
    rows, photos = [], dict[str, dict[str, dict[str, list[float]]]]()
    faces: dict[str, list[np.ndarray]] = {label: [] for label in labels}
    for target in targets:
        for label in labels:
            record = find(target.key, label)
            if record is None:
                continue
            score = identity_score(record.embeddings, target.person_direction, threshold)
            scores[label][target.key] = score
            if label != "untuned" or not faces[label]:
                faces[label] += [e for e in record.embeddings if e is not None]
            for name, value in record.photos.items():
                of_label = photos.setdefault(label, {}).setdefault(name, {})
                of_label.setdefault(target.person, []).append(value)
            rows.append({
                "person": target.person, "set": target.number, "condition": label,
                **dataclasses.asdict(score), **record.photos,
                "loss_first": record.losses[0], "loss_last": record.losses[1],
                "seconds": record.seconds, "device": record.device,
            })  # fmt: skip
    people = {target.key: target.person for target in targets}
    falls = {label: _falls(scores["clean"], scores[label], people) for label in labels
             if label != "clean"}  # fmt: skip
    conditions = {}
    for label in labels:
        if not scores[label]:
            continue
        means = {name: bootstrap_mean(_by_person(scores[label], people, name)) for name in _SCORES}
        means |= {name: bootstrap_mean(photos[label][name])
                  for name in _PHOTOS if name in photos.get(label, {})}  # fmt: skip
        conditions[label] = {
            "attacks": len(scores[label]),
            "means": {name: dataclasses.asdict(value) for name, value in means.items()},
            "fall": {rule: dataclasses.asdict(bootstrap_mean(groups))
                     for rule, groups in falls.get(label, {}).items()},
            "distance": _distance(faces[label], references),
        }  # fmt: skip
    own: dict[str, list[float]] = {}
    for target in targets:
        own.setdefault(target.person, []).append(target.photos_score)
    return {
        "photos_to_person": dataclasses.asdict(bootstrap_mean(own)),
        "conditions": conditions,
        "ratios": _ratios(falls, labels, defenders),
        "rows": rows,
    }


def effect_kept(
    targets: Sequence[Target], labels: Sequence[str], find: Find, plain: Find, threshold: float
) -> dict[str, dict[str, Any]]:
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

    def falls(lookup: Find, label: str, keys: set[str]) -> dict[str, dict[str, list[float]]]:
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
        found[label] = {rule: dataclasses.asdict(bootstrap_ratio(after[rule], before[rule]))
                        for rule in RULES}  # fmt: skip
    return found


def _by_person(
    scores: Mapping[str, IdentityScore], people: Mapping[str, str], name: str
) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for key, score in scores.items():
        found.setdefault(people[key], []).append(getattr(score, name))
    return found


def _falls(
    clean: Mapping[str, IdentityScore],
    other: Mapping[str, IdentityScore],
    people: Mapping[str, str],
) -> dict[str, dict[str, list[float]]]:
    """Fall of ISM from the clean attack on the very same photos, by rule and person."""
    found: dict[str, dict[str, list[float]]] = {rule: {} for rule in RULES}
    for key in sorted(clean.keys() & other.keys()):
        for rule, name in RULES.items():
            fall = getattr(clean[key], name) - getattr(other[key], name)
            found[rule].setdefault(people[key], []).append(fall)
    return found


def _ratios(
    falls: Mapping[str, dict[str, dict[str, list[float]]]],
    labels: Sequence[str],
    defenders: Sequence[str],
) -> list[dict[str, Any]]:
    """How many times the fall under each other condition a defender's fall is."""
    pairs = [(defender, other) for defender in defenders for other in labels
             if other not in (defender, "clean", "untuned") and not is_mixed(other)]  # fmt: skip
    # Of photos that are protected in part, what is left of the effect.
    pairs += [(label, mixed_of(label)) for label in labels if is_mixed(label)]
    found = []
    for one, other in pairs:
        if falls.get(one, {}).get("zero") and falls.get(other, {}).get("zero"):
            ratios = {rule: dataclasses.asdict(bootstrap_ratio(falls[one][rule],
                                                               falls[other][rule]))
                      for rule in RULES}  # fmt: skip
            found.append({"of": one, "to": other, **ratios, "target": TARGETS.get(other)})
    return found


def _distance(faces: Sequence[np.ndarray], references: np.ndarray) -> dict[str, Any] | None:
    if min(len(faces), len(references)) < 2:
        return None
    vectors = np.stack(faces)
    return {
        "features": "the judge's face embeddings, found faces only; not Inception",
        "samples": len(vectors),
        "references": len(references),
        "frechet": metrics.frechet_distance(vectors, references),
        "kernel": metrics.kernel_distance(vectors, references),
        "warning": metrics.few_samples(len(vectors), len(references)),
    }


def table(summary: Mapping[str, Any]) -> str:
    """The conditions as text: means with 95 % intervals over people."""
    head = ["condition", "attacks", "FDFR", "ISM, found", "ISM, 0 for none", "recognised",
            "fall, found", "fall, 0 for none", "JOD", "levels", "PSNR", "latent shift"]  # fmt: skip
    lines = [head]
    for label, found in summary["conditions"].items():
        means, fall = found["means"], found["fall"]
        cells = [label, str(found["attacks"])]
        for source, name in [(means, "fdfr"), (means, "ism_found"), (means, "ism_zero"),
                             (means, "recognised"), (fall, "found"), (fall, "zero")]:  # fmt: skip
            cells.append(str(Interval(**source[name])) if name in source else "-")
        for name, digits in (("jod", 2), ("levels", 1), ("psnr", 1), ("latent_shift", 2)):
            cells.append(f"{means[name]['value']:.{digits}f}" if name in means else "-")
        lines.append(cells)
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = [f"ISM of the attackers' own photos: {Interval(**summary['photos_to_person'])}"]
    text += [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    for ratio in summary["ratios"]:
        wanted = f" (target: at least {ratio['target']:g})" if ratio["target"] else ""
        text.append(f"fall under {ratio['of']} / fall under {ratio['to']}: "
                    f"{Interval(**ratio['zero'])}, found faces only {Interval(**ratio['found'])}"
                    f"{wanted}")  # fmt: skip
    for label, kept in summary.get("kept", {}).items():
        text.append(f"{label}: share of the plain fall that is left {Interval(**kept['zero'])}, "
                    f"found faces only {Interval(**kept['found'])}")  # fmt: skip
    return "\n".join(text)
