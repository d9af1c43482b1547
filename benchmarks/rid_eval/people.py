"""People: a folder with a folder of photos for each, and which photos of them are usable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rid_core.data import list_portraits, load_rgb
from rid_core.errors import RidError
from rid_core.faces import Face, largest
from rid_eval.judges import Judge


@dataclass(frozen=True)
class Portrait:
    """A photo with exactly one face.

    Attributes:
        path: where it lies.
        pixels: uint8 RGB [H, W, 3].
        face: in it.
        embedding: of the face, unit vector [D].
    """

    path: Path
    pixels: np.ndarray
    face: Face
    embedding: np.ndarray


@dataclass(frozen=True)
class Person:
    """All usable photos of a person.

    Attributes:
        name: of the folder.
        portraits: sorted by file name.
        left_out: file name -> why it is not used: no face, or several.
    """

    name: str
    portraits: list[Portrait]
    left_out: dict[str, str]


def list_people(folder: Path, limit: int | None = None) -> list[Path]:
    """Folders of people, sorted.

    Raises:
        RidError: there are none.
    """
    if not folder.is_dir():
        raise RidError(f"{folder}: no such folder of people; give one with a folder per person")
    found = sorted(path for path in folder.iterdir() if path.is_dir())
    if not found:
        raise RidError(f"{folder}: holds no folders; put the photos of each person into their own")
    return found[:limit]


def load_person(folder: Path, judge: Judge) -> Person:
    """Read a person's photos; those without a face or with several are left out, by name.

    Raises:
        RidError: no readable photos.
    """
    paths = list_portraits(folder, [])
    photos = [np.asarray(load_rgb(path)) for path in paths]
    portraits, left_out = [], {}
    for path, pixels, faces in zip(paths, photos, judge.faces(photos), strict=True):
        face = largest(faces)
        if face is None or len(faces) > 1:
            left_out[path.name] = "no face found" if face is None else f"{len(faces)} faces"
            continue
        embedding = judge.recognizer.embed(pixels, face)
        portraits.append(Portrait(path, pixels, face, embedding))
    return Person(folder.name, portraits, left_out)


def load_people(
    folder: Path,
    judge: Judge,
    limit: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Person]:
    """:func:`load_person` for each folder of ``folder``; ``progress`` is told after each."""
    people = []
    folders = list_people(folder, limit)
    for path in folders:
        people.append(load_person(path, judge))
        progress(len(people), len(folders))
    return people
