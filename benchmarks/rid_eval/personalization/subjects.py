"""The people who are cloned: photos for the attacker, and others to recognise them by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rid_core.data import centre_square
from rid_core.errors import RidError
from rid_core.faces import align
from rid_core.files import replacing
from rid_eval.judges import Judge, template
from rid_eval.people import list_people, load_person
from rid_eval.verification import photos_to_people, verify

LEAST_REFERENCES = 4
_ORDER = 20241209  # seed of the one order in which every person's photos are dealt


@dataclass(frozen=True)
class Subject:
    """A person's photos with exactly one face.

    Attributes:
        name: of the folder.
        crops: of the size that the model takes, uint8 RGB [N, side, side, 3].
        embeddings: of the judge, unit vectors [N, D].
        files: names of the photos.
        left_out: file name -> why.
    """

    name: str
    crops: np.ndarray
    embeddings: np.ndarray
    files: list[str]
    left_out: dict[str, str]


@dataclass(frozen=True)
class AttackTarget:
    """One attack's worth of a person: disjoint photos for the attacker and for reference.

    Attributes:
        person: name.
        number: of the set, from 0.
        photos: of the attacker, uint8 RGB [n, side, side, 3].
        files: their names.
        person_direction: mean of the reference photos' embeddings, unit vector [D].
        photos_score: mean cosine of the attacker's own photos to it.
    """

    person: str
    number: int
    photos: np.ndarray
    files: list[str]
    person_direction: np.ndarray
    photos_score: float

    @property
    def key(self) -> str:
        """Name of its folder."""
        return f"{self.person}-{self.number}"


def load_subjects(
    folder: Path,
    judge: Judge,
    side: int,
    cache: Path,
    *,
    aligned: bool = True,
    limit: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Subject]:
    """Read, judge and align everybody; what was done before is read from ``cache``.

    Args:
        folder: with a folder of photos per person.
        judge: photos without a face or with several are left out, by name.
        side: of the crops, pixels.
        cache: folder.
        aligned: bring faces where ArcFace's crops have them, as the face model was trained; else
            the photo's centre square is scaled.
        limit: at most so many people.
        progress: told after each.

    Raises:
        RidError: no people, or no readable photos of one.
    """
    subjects = []
    folders = list_people(folder, limit)
    for path in folders:
        file = cache / f"{path.name}-{_digest(path, judge, side, aligned)}.npz"
        subject = _read(file)
        if subject is None:
            subject = _load(path, judge, side, aligned)
            _write(file, subject)
        subjects.append(subject)
        progress(len(subjects), len(folders))
    return subjects


def targets(subjects: list[Subject], sets: int, photos: int) -> list[AttackTarget]:
    """Deal each person's photos: ``sets`` disjoint sets for the attacker, all others for reference.

    The order is a fixed shuffle: neighbours of a folder are often of one moment.

    Raises:
        RidError: a person has too few usable photos; says how many, and what was left out and why.
    """
    found = []
    for subject in subjects:
        count, needed = len(subject.files), sets * photos + LEAST_REFERENCES
        if count < needed:
            reasons = [f"{name} ({why})" for name, why in list(subject.left_out.items())[:4]]
            left_out = f"; left out: {', '.join(reasons)}" if reasons else ""
            raise RidError(
                f"{subject.name}: {count} photos with exactly one face are too few; {sets} sets of "
                f"{photos} and {LEAST_REFERENCES} for reference need {needed}{left_out}"
            )
        order = np.random.default_rng(_ORDER).permutation(count)
        reference = subject.embeddings[order[sets * photos :]]
        direction = template(list(reference))
        for number in range(sets):
            chosen = np.sort(order[number * photos : (number + 1) * photos])
            found.append(AttackTarget(
                subject.name, number, subject.crops[chosen], [subject.files[i] for i in chosen],
                direction, float((subject.embeddings[chosen] @ direction).mean()),
            ))  # fmt: skip
    return found


def judge_threshold(subjects: list[Subject], judge: Judge) -> tuple[float, str]:
    """The cosine to a person's mean above which a face counts as that person, and where it is from.

    Set on these people themselves, where there are two or more.

    Raises:
        RidError: one person, and a judge without a published threshold.
    """
    if len(subjects) > 1:
        check = verify(*photos_to_people({s.name: list(s.embeddings) for s in subjects}))
        origin = f"1 % false positives among these {len(subjects)} people, TPR {check.tpr:.3f}"
        return check.threshold, origin
    if judge.recognizer.published is None:
        raise RidError(f"judge {judge.name} has no threshold of its own; give two people or more")
    return judge.recognizer.published, "the authors', of two photos; one person sets none"


def _load(path: Path, judge: Judge, side: int, aligned: bool) -> Subject:
    person = load_person(path, judge)
    crops = [align(p.pixels, p.face.landmarks, side) if aligned
             else np.asarray(centre_square(p.path, side)) for p in person.portraits]  # fmt: skip
    return Subject(
        person.name,
        np.stack(crops) if crops else np.empty((0, side, side, 3), np.uint8),
        np.stack([p.embedding for p in person.portraits]) if crops else np.empty((0, 1)),
        [p.path.name for p in person.portraits],
        person.left_out,
    )


def _digest(path: Path, judge: Judge, side: int, aligned: bool) -> str:
    found = hashlib.sha256(json.dumps([judge.name, side, aligned]).encode())
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        stat = file.stat()
        found.update(f"{file.relative_to(path)} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return found.hexdigest()[:12]


def _read(file: Path) -> Subject | None:
    """What was stored, None where there is nothing or it is damaged."""
    if not file.is_file():
        return None
    try:
        with np.load(file, allow_pickle=False) as stored:
            names = json.loads(str(stored["names"]))
            return Subject(names["name"], stored["crops"], stored["embeddings"],
                           names["files"], names["left_out"])  # fmt: skip
    except (OSError, ValueError, KeyError, EOFError):
        return None


def _write(file: Path, subject: Subject) -> None:
    names = {"name": subject.name, "files": subject.files, "left_out": subject.left_out}
    with replacing(file) as fresh:
        np.savez(fresh, crops=subject.crops, embeddings=subject.embeddings,
                 names=np.array(json.dumps(names)))  # fmt: skip
