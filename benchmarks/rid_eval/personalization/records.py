"""What is kept of every attack, so that an interrupted study goes on, and shards can be merged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from rid_core.errors import RidError
from rid_core.files import replacing, write_text
from rid_eval.results import Plain

SETTINGS = "settings.json"
_DIGITS = 6


@dataclass(frozen=True, kw_only=True)
class PhotoFigures:
    """What was measured of the attacker's photos; None where it was not.

    Attributes:
        jod: quality, see :func:`rid_eval.metrics.jod`.
        strength: at which the protection uses its bound.
        levels: the bound times that strength.
        psnr: dB.
        lpips: distance from the clean photos.
        latent_shift: see :func:`rid_eval.metrics.latent_shift`.
        denoising_rise: see :func:`rid_eval.metrics.denoising_rise`.
        gradient_norm: see :func:`rid_eval.metrics.gradient_norm`.
    """

    jod: float | None = None
    strength: float | None = None
    levels: float | None = None
    psnr: float | None = None
    lpips: float | None = None
    latent_shift: float | None = None
    denoising_rise: float | None = None
    gradient_norm: float | None = None


@dataclass(frozen=True)
class Record:
    """One attack, or the samples of the model before any.

    Attributes:
        key: of the target, such as ``00-1``.
        label: of the condition.
        embeddings: of the samples' faces, unit vectors [D], None where none was found.
        photos: figures of the attacker's photos.
        losses: mean training loss of the first and of the last tenth of the steps.
        seconds: of training, sampling and judging.
        device: where.
    """

    key: str
    label: str
    embeddings: list[np.ndarray | None]
    photos: PhotoFigures = field(default_factory=PhotoFigures)
    losses: tuple[float, float] = (float("nan"), float("nan"))
    seconds: float = 0.0
    device: str = "cpu"


def record_file(folder: Path, key: str, label: str) -> Path:
    """Where an attack is kept; its samples lie beside it as PNG."""
    return folder / "attacks" / key / f"{label}.json"


def write_record(folder: Path, record: Record, samples: np.ndarray) -> None:
    """Write samples, uint8 RGB [N, H, W, 3], as one row, then the record: it says "finished"."""
    file = record_file(folder, record.key, record.label)
    with replacing(file.with_suffix(".png")) as fresh:
        Image.fromarray(np.concatenate(list(samples), axis=1)).save(fresh)
    content = {
        "key": record.key,
        "condition": record.label,
        "photos": {k: v for k, v in vars(record.photos).items() if v is not None},
        "losses": list(record.losses),
        "seconds": round(record.seconds, 2),
        "device": record.device,
        "embeddings": [None if e is None else [round(float(v), _DIGITS) for v in e]
                       for e in record.embeddings],
    }  # fmt: skip
    write_text(file, json.dumps(content) + "\n")


def read_record(folder: Path, key: str, label: str) -> Record | None:
    """A finished attack; None where there is none, or its file is damaged."""
    file = record_file(folder, key, label)
    try:
        found = json.loads(file.read_text())
        vectors = [None if e is None else np.array(e) for e in found["embeddings"]]
        first, last = found["losses"]
        return Record(
            key, label, vectors, PhotoFigures(**found["photos"]), (float(first), float(last)),
            float(found["seconds"]), str(found["device"]),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_samples(folder: Path, key: str, label: str) -> np.ndarray | None:
    """Samples of an attack, uint8 RGB [N, H, W, 3], or None."""
    file = record_file(folder, key, label).with_suffix(".png")
    try:
        with Image.open(file) as image:
            row = np.asarray(image.convert("RGB"))
    except (OSError, ValueError):
        return None
    return np.stack(np.split(row, row.shape[1] // row.shape[0], axis=1))


def claim(folder: Path, settings: Mapping[str, Plain], conditions: Mapping[str, Plain]) -> None:
    """Say what a folder's attacks are made with; go on where that is the same.

    Args:
        folder: of the attacks.
        settings: whatever all results depend on.
        conditions: what each condition is; others may be there already.

    Raises:
        RidError: the folder holds attacks of other settings; names what differs.
    """
    file = folder / SETTINGS
    wanted = json.loads(json.dumps({"settings": settings, "conditions": conditions}))
    if file.is_file():
        try:
            there = json.loads(file.read_text())
            old, old_conditions = there["settings"], there["conditions"]
        except (ValueError, KeyError, TypeError):
            raise RidError(f"{file}: damaged; remove the folder or give another one") from None
        keys = old.keys() | wanted["settings"].keys()
        differing = sorted(key for key in keys if old.get(key) != wanted["settings"].get(key))
        differing += [k for k, v in wanted["conditions"].items() if old_conditions.get(k, v) != v]
        if differing:
            raise RidError(
                f"{folder}: holds attacks made otherwise ({', '.join(differing)}); give another "
                "folder, or the same settings"
            )
        wanted["conditions"] = {**old_conditions, **wanted["conditions"]}
        if there == wanted:
            return
    write_text(file, json.dumps(wanted, indent=1) + "\n")
