"""Aligned faces and what a base encoder makes of them, computed once and kept in a folder."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import Dataset

from rid_core.data import centre_square, list_portraits, load_rgb
from rid_core.errors import RidError
from rid_core.faces import FaceDetector, align, largest
from rid_core.files import replacing
from rid_core.surrogates.tiny_autoencoder import load_tiny_autoencoder
from rid_core.training.surrogates.config import FacesSection

_CHUNK = 128
_BATCH = 8
_log = logging.getLogger(__name__)

Find = Callable[[list[np.ndarray]], list[np.ndarray | None]]
"""Photos, uint8 RGB [H, W, 3] -> landmarks of the largest face of each, [5, 2], or None."""


@dataclass(frozen=True)
class FaceLatents:
    """Faces in one position, with their latents.

    Attributes:
        images: uint8 [N, 3, size, size].
        latents: of the base, float16 [N, C, size / 8, size / 8].
        held_out: numbers of the faces that are not trained on.
    """

    images: Tensor
    latents: Tensor
    held_out: list[int]

    @property
    def kept(self) -> list[int]:
        """Numbers of the faces to train on."""
        out = set(self.held_out)
        return [number for number in range(len(self.latents)) if number not in out]


def face_latents(
    section: FacesSection,
    encoder: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    find: Find | None = None,
    device: torch.device | str = "cpu",
) -> FaceLatents:
    """Align all faces of a folder and encode them; what was done before is read from the cache.

    An interrupted call goes on where it was. The cache belongs to the very photos, settings and
    weights: others get a folder of their own.

    Args:
        section: which photos, and how they are aligned.
        encoder: file of the base, see :func:`load_tiny_autoencoder`.
        progress: told how many photos of how many are done.
        find: finds landmarks, by default YuNet.
        device: where the base encodes.

    Raises:
        RidError: no usable photos, no faces in them, or too few to hold some out.
    """
    paths = list_portraits(section.folder, section.exclude)
    folder = section.cache / _digest(section, paths, encoder)
    base = None
    chunks = []
    for first in range(0, len(paths), _CHUNK):
        file = folder / f"{first // _CHUNK:05d}.safetensors"
        chunk = _read(file)
        if chunk is None:
            if base is None:
                base = load_tiny_autoencoder(encoder).to(device)
                find = find or (yunet() if section.align else None)
            images = _aligned(paths[first : first + _CHUNK], section, find)
            # One face at a time and one batch later: the batches must not depend on the others.
            chunk = {"images": images, "latents": _encode(base.encode, images, device)}
            with replacing(file) as fresh:
                save_file(chunk, fresh)
        chunks.append(chunk)
        progress(min(first + _CHUNK, len(paths)), len(paths))
    images, latents = (
        torch.cat([chunk[name] for chunk in chunks]) for name in ("images", "latents")
    )
    if len(images) < len(paths):
        _log.warning("%d of %d photos show no face and are skipped",
                     len(paths) - len(images), len(paths))  # fmt: skip
    if not len(images):
        raise RidError(f"{section.folder}: no face was found in any of {len(paths)} photos")
    if len(images) <= section.held_out:
        raise RidError(
            f"{section.folder}: {len(images)} faces are too few to hold {section.held_out} out; "
            "lower data.held_out"
        )
    spread = np.linspace(0, len(images) - 1, section.held_out).round().astype(int)
    return FaceLatents(images, latents, sorted(set(spread.tolist())))


def yunet() -> Find:
    """Landmarks by YuNet, four photos at a time; OpenCV's networks take one caller at a time."""
    detector = FaceDetector()

    def find(images: list[np.ndarray]) -> list[np.ndarray | None]:
        faces = [largest(found) for found in detector.find(images, grid=2)]
        return [None if face is None else face.landmarks for face in faces]

    return find


def _digest(section: FacesSection, paths: list[Path], encoder: Path) -> str:
    """Of everything that the cache depends on."""
    found = hashlib.sha256(json.dumps([section.size, section.align]).encode())
    try:
        for path in [encoder, *paths]:
            found.update(hashlib.sha256(path.read_bytes()).digest())
    except OSError as error:
        raise RidError(f"{error.filename}: cannot be read ({error.strerror})") from None
    return found.hexdigest()[:16]


def _read(file: Path) -> dict[str, Tensor] | None:
    """A stored chunk, None where there is none or it is damaged."""
    if not file.is_file():
        return None
    try:
        chunk = load_file(file)
    except (SafetensorError, OSError):
        return None
    return chunk if set(chunk) == {"images", "latents"} else None


def _aligned(paths: list[Path], section: FacesSection, find: Find | None) -> Tensor:
    """Faces in one position, uint8 [n, 3, size, size]; photos without one are left out."""
    size = section.size
    if find is None:
        crops = [np.asarray(centre_square(path, size)) for path in paths]
    else:
        photos = [np.asarray(load_rgb(path)) for path in paths]
        landmarks = find(photos)
        crops = [align(photo, points, size)
                 for photo, points in zip(photos, landmarks, strict=True)
                 if points is not None]  # fmt: skip
    if not crops:
        return torch.empty(0, 3, size, size, dtype=torch.uint8)
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()


@torch.no_grad()
def _encode(
    encode: Callable[[Tensor], Tensor], images: Tensor, device: torch.device | str
) -> Tensor:
    parts = [
        encode(batch.to(device).float() / 255).half().cpu() for batch in batches(images, _BATCH)
    ]
    return torch.cat(parts).contiguous()


class LatentDataset(Dataset[tuple[Tensor, ...]]):
    """Latents in an endless order that visits each once an epoch; ``self[i]`` is (latent, i).

    Args:
        latents: [N, C, h, w].
        numbers: those to draw from.
        seed: of the order.
    """

    def __init__(self, latents: Tensor, numbers: list[int], seed: int) -> None:
        self.latents = latents
        self.numbers = numbers
        self.seed = seed
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        epoch, position = divmod(index, len(self.numbers))
        if self._order[0] != epoch:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.numbers))
            self._order = epoch, order
        number = self.numbers[self._order[1][position]]
        return self.latents[number].float(), torch.tensor(index)


def batches(values: Tensor, size: int) -> list[Tensor]:
    """``values`` in parts of ``size`` along the first dimension; at least one, if empty."""
    return [values[first : first + size] for first in range(0, max(1, len(values)), size)]


def noise_like(value: Tensor, index: Tensor, seed: int, purpose: int) -> Tensor:
    """Standard normal noise, of each sample's own: [B, ...] like ``value``."""
    drawn = [np.random.default_rng([seed, purpose, number]).standard_normal(
        value.shape[1:], np.float32) for number in index.tolist()]  # fmt: skip
    return torch.from_numpy(np.stack(drawn)).to(value.device)
