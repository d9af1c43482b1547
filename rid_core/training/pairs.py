"""Stored perturbations: photos with what a slow method or another defender made of them.

A folder holds one PNG per photo, the unit perturbation in 255 steps (128 is none), and an index
in JSON, one for each shard that was computed on its own. Half a step is 1/254 of the bound.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rid_core.data import CropDataset, centre_square, to_tensor
from rid_core.errors import RidError
from rid_core.files import write_bytes, write_text

SCHEMA = 1
_STEPS = 127


@dataclass(frozen=True)
class PairHeader:
    """What all perturbations of a folder have in common.

    Attributes:
        method: that made them, such as ``advdm``.
        settings: of the method.
        levels: the bound, in 8-bit levels.
        size: side in pixels; of a photo it is the centre after scaling the short side to this.
        surrogates: names of what was attacked.
    """

    method: str
    settings: dict[str, Any]
    levels: int
    size: int
    surrogates: list[str]


@dataclass(frozen=True)
class PairEntry:
    """One photo's perturbation: its file in the folder, and SHA-256 of that and of the photo."""

    file: str
    sha256: str
    photo: str


def encode_unit(unit: Tensor) -> bytes:
    """[3, H, W] in [-1, 1] -> PNG."""
    levels = (unit.detach().cpu().clamp(-1, 1) * _STEPS).round() + 128
    buffer = io.BytesIO()
    Image.fromarray(levels.permute(1, 2, 0).byte().numpy()).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def decode_unit(image: Image.Image) -> Tensor:
    """What :func:`encode_unit` stored, as an opened image -> [3, H, W] in [-1, 1]."""
    levels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).float()
    return ((levels - 128) / _STEPS).clamp(-1, 1)


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


@dataclass
class PairStore:
    """A folder of pairs.

    Attributes:
        folder: where.
        header: what all have in common.
        entries: by the photo's path below its own folder, with forward slashes.
    """

    folder: Path
    header: PairHeader
    entries: dict[str, PairEntry] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path) -> PairStore:
        """Read the indices of all shards.

        Raises:
            RidError: no index, a damaged one, or shards that were made differently.
        """
        # The newest last: its entries win where a photo was made again by another shard.
        paths = sorted(folder.glob("index*.json"), key=lambda path: path.stat().st_mtime_ns)
        if not paths:
            raise RidError(f"{folder}: no pairs (index.json is missing); make some with: rid-train "
                           "pairs")  # fmt: skip
        shards = [cls._read(path) for path in paths]
        whole = shards[0]
        for path, shard in zip(paths, shards, strict=True):
            if shard.header != whole.header:
                raise RidError(f"{path} and {paths[0].name} were made with different settings")
            whole.entries.update(shard.entries)
        return whole

    @classmethod
    def _read(cls, path: Path) -> PairStore:
        try:
            raw = json.loads(path.read_text())
            schema = raw.pop("schema")
            pairs = raw.pop("pairs")
            entries = {str(photo): PairEntry(**entry) for photo, entry in pairs.items()}
            header = PairHeader(**raw)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise RidError(f"{path}: not an index of pairs ({error})") from None
        if schema != SCHEMA:
            raise RidError(f"{path}: schema {schema!r:.20}, this version reads {SCHEMA}")
        return cls(path.parent, header, entries)

    def write_index(self, name: str, photos: Iterable[str]) -> None:
        """Write the entries of ``photos`` as one shard's index, as a whole or not at all."""
        found = {photo: vars(self.entries[photo]) for photo in photos if photo in self.entries}
        raw = {"schema": SCHEMA, **vars(self.header), "pairs": found}
        write_text(self.folder / name, json.dumps(raw, indent=1) + "\n")

    def add(self, photo: str, photo_digest: str, unit: Tensor) -> None:
        """Store a perturbation; the index is written by :meth:`write_index`."""
        data = encode_unit(unit)
        file = f"units/{digest(photo.encode())[:24]}.png"
        write_bytes(self.folder / file, data)
        self.entries[photo] = PairEntry(file, digest(data), photo_digest)

    def is_done(self, photo: str, photo_digest: str) -> bool:
        """Whether the photo, as it is now, has its perturbation on the disk."""
        entry = self.entries.get(photo)
        if entry is None or entry.photo != photo_digest:
            return False
        path = self.folder / entry.file
        return path.is_file() and digest(path.read_bytes()) == entry.sha256

    def read(self, photo: str) -> Tensor:
        """The perturbation of a photo, [3, size, size] in [-1, 1].

        Raises:
            RidError: the file is missing or damaged.
        """
        return decode_unit(self.read_image(photo))

    def read_image(self, photo: str) -> Image.Image:
        """The same as an image, to be cropped before :func:`decode_unit`."""
        entry = self.entries[photo]
        path = self.folder / entry.file
        try:
            data = path.read_bytes()
            image = Image.open(io.BytesIO(data))
            image.load()
        except (OSError, ValueError, SyntaxError):
            data, image = b"", None
        size = self.header.size
        if image is None or digest(data) != entry.sha256 or image.size != (size, size):
            raise RidError(f"{path}: missing or damaged; run rid-train pairs again to make it anew")
        return image

    def check(self, levels: int, crop: int) -> None:
        """Refuse perturbations that do not fit a run.

        Raises:
            RidError: another bound, or smaller than a crop.
        """
        if self.header.levels != levels:
            raise RidError(
                f"{self.folder}: made at {self.header.levels} levels, but the run trains at "
                f"{levels}; set defender.levels or make others"
            )
        if self.header.size < crop:
            raise RidError(
                f"{self.folder}: {self.header.size} pixels, smaller than data.crop = {crop}"
            )

    def match(self, paths: list[Path], root: Path) -> dict[Path, str]:
        """Which of the photos below ``root`` have a perturbation, by path: the entry's name.

        Raises:
            RidError: none has.
        """
        names = {path: path.relative_to(root).as_posix() for path in paths}
        found = {path: name for path, name in names.items() if name in self.entries}
        if not found:
            raise RidError(f"{self.folder}: no pair belongs to a photo of {root}")
        return found


class PairedCropDataset(CropDataset):
    """Crops as :class:`CropDataset` draws them, and where there is one the stored perturbation.

    ``self[i]`` is (crop, i, perturbation, 1.0) or (crop, i, zeros, 0.0). A photo with a pair is
    shown as it was when the pair was made, cropped and flipped together with it.
    """

    def __init__(
        self,
        paths: list[Path],
        crop: int,
        short_side: tuple[int, int],
        seed: int,
        store: PairStore,
        paired: dict[Path, str],
    ) -> None:
        super().__init__(paths, crop, short_side, seed)
        self.store = store
        self.paired = paired

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        """Sample ``index``; see :meth:`CropDataset.__getitem__`."""
        path, rng = self._locate(index)
        name = self.paired.get(path)
        if name is None:
            image, number = super().__getitem__(index)
            return image, number, torch.zeros_like(image), torch.tensor(0.0)
        view = centre_square(path, self.store.header.size)
        crops = self._window(rng, view, self.store.read_image(name))
        return to_tensor(crops[0]), torch.tensor(index), decode_unit(crops[1]), torch.tensor(1.0)
