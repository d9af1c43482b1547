"""How well a judge tells people apart, and the similarity from which it says "the same"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import numpy as np

from rid_core.errors import RidError
from rid_eval.judges import Judge, template
from rid_eval.people import Person
from rid_eval.results import Measurement

FALSE_POSITIVES = 0.01
"""Share of other people's comparisons above the threshold."""


@dataclass(frozen=True)
class JudgeCheck:
    """One kind of comparison.

    Attributes:
        same: number of comparisons within a person.
        different: number of comparisons between people.
        threshold: the cosine above which both count as the same person.
        tpr: share of ``same`` above it.
        fpr: share of ``different`` above it.
        mean_same: mean cosine within a person.
        mean_different: mean cosine between people.
    """

    same: int
    different: int
    threshold: float
    tpr: float
    fpr: float
    mean_same: float
    mean_different: float


@dataclass(frozen=True)
class JudgeRow:
    """One judge.

    Attributes:
        photos: how many with one face.
        left_out: photo -> why it was not used.
        checks: by the kind of comparison and the threshold.
    """

    photos: int
    left_out: dict[str, str]
    checks: dict[str, JudgeCheck]


@dataclass(frozen=True, kw_only=True)
class JudgesResult(Measurement):
    """How well judges tell people apart: by judge, on so many people."""

    what: ClassVar[str] = "judges"
    people: int
    judges: dict[str, JudgeRow]


MEAN_CHECK = "mean of a person, 1 % false positives"
"""Label of the comparison by which identity scores are computed."""


def check_judge(judge: Judge, people: Sequence[Person]) -> JudgeRow:
    """Check a judge on photos with photos, and on photos with the mean of a person.

    Raises:
        RidError: fewer than two people, or than two faces of each.
    """
    vectors = {person.name: [p.embedding for p in person.portraits] for person in people}
    pairs = photo_pairs(vectors)
    checks = {
        "photos, 1 % false positives": verify(*pairs),
        MEAN_CHECK: verify(*photos_to_people(vectors)),
    }
    if judge.recognizer.published is not None:
        checks["photos, the authors' threshold"] = verify(*pairs, judge.recognizer.published)
    left_out = {f"{person.name}/{photo}": reason
                for person in people for photo, reason in person.left_out.items()}  # fmt: skip
    return JudgeRow(sum(len(person.portraits) for person in people), left_out, checks)


def verify(
    same: Sequence[float], different: Sequence[float], threshold: float | None = None
) -> JudgeCheck:
    """True and false positives at a threshold.

    Args:
        same: cosines within a person.
        different: cosines between people.
        threshold: by default the least one that at most :data:`FALSE_POSITIVES` of ``different``
            exceed.

    Raises:
        RidError: one of the two is empty.
    """
    if not len(same) or not len(different):
        raise RidError("a judge is checked on two people or more, with two faces or more of each")
    one, other = np.asarray(same), np.asarray(different)
    if threshold is None:
        threshold = float(np.quantile(other, 1 - FALSE_POSITIVES, method="higher"))
    return JudgeCheck(
        same=len(one), different=len(other), threshold=threshold,
        tpr=float((one > threshold).mean()), fpr=float((other > threshold).mean()),
        mean_same=float(one.mean()), mean_different=float(other.mean()),
    )  # fmt: skip


def photo_pairs(people: Mapping[str, Sequence[np.ndarray]]) -> tuple[list[float], list[float]]:
    """Cosines of all pairs of photos: within a person, and between people.

    Args:
        people: unit vectors by person.
    """
    labelled = [(name, vector) for name, vectors in people.items() for vector in vectors]
    same: list[float] = []
    different: list[float] = []
    for (one, a), (other, b) in combinations(labelled, 2):
        (same if one == other else different).append(float(a @ b))
    return same, different


def photos_to_people(people: Mapping[str, Sequence[np.ndarray]]) -> tuple[list[float], list[float]]:
    """Cosines of each photo to the mean of its person's other photos, and to other people's means.

    This is how identity scores compare, and a mean is closer to everybody than a single photo is.
    """
    same: list[float] = []
    different: list[float] = []
    for name, vectors in people.items():
        others = [template(v) for other, v in people.items() if other != name and len(v)]
        for number, vector in enumerate(vectors):
            rest = [v for place, v in enumerate(vectors) if place != number]
            if rest:
                same.append(float(vector @ template(rest)))
            different += [float(vector @ other) for other in others]
    return same, different
