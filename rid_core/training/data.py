"""Portraits to crops. What sample ``i`` is depends on the seed and ``i`` alone.

So a resumed run continues bit for bit without any saved state of a random generator, and the
processes of a distributed run share the samples among themselves by index.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from rid_core.errors import RidError

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
_log = logging.getLogger(__name__)


def list_portraits(folder: Path, exclude: list[str]) -> list[Path]:
    """Image files below ``folder``, sorted, without broken ones and those that match ``exclude``.

    Raises:
        RidError: no such folder, or nothing usable in it.
    """
    if not folder.is_dir():
        raise RidError(f"{folder}: no such folder of portraits; set data.folder")
    found = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in _SUFFIXES]
    wanted = [p for p in found if not any(fnmatch(p.name, pattern) for pattern in exclude)]
    usable: list[Path] = []
    broken: list[Path] = []
    for path in wanted:
        (usable if _is_readable(path) else broken).append(path)
    if broken:
        _log.warning("%d of %d images cannot be read and are skipped: %s …",
                     len(broken), len(wanted), broken[0].name)  # fmt: skip
    if not usable:
        raise RidError(
            f"{folder}: no usable portraits ({len(found)} images found, "
            f"{len(found) - len(wanted)} excluded, {len(broken)} broken)"
        )
    return usable


def _is_readable(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            image.load()
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
    return True


def load_rgb(path: Path, short_side: int | None = None) -> Image.Image:
    """Open as RGB, scaled so that the short side has ``short_side`` pixels (bicubic)."""
    with Image.open(path) as image:
        rgb = image.convert("RGB")
    if short_side is None or min(rgb.size) == short_side:
        return rgb
    scale = short_side / min(rgb.size)
    width, height = (max(short_side, round(side * scale)) for side in rgb.size)
    return rgb.resize((width, height), Image.Resampling.BICUBIC)


def to_tensor(image: Image.Image) -> Tensor:
    """RGB image -> float32 [3, H, W] in [0, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


class CropDataset(Dataset[tuple[Tensor, int]]):
    """Random crops of portraits, scaled and flipped; ``self[i]`` is ([3, crop, crop], i)."""

    def __init__(
        self, paths: list[Path], crop: int, short_side: tuple[int, int], seed: int
    ) -> None:
        low, high = short_side
        if not crop <= low <= high:
            raise RidError(
                f"data.short_side {low}..{high} must rise and be at least the crop, {crop}"
            )
        self.paths = paths
        self.crop = crop
        self.short_side = short_side
        self.seed = seed

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Sample ``index`` of an endless sequence that visits every portrait once an epoch."""
        epoch, position = divmod(index, len(self.paths))
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.paths))
        rng = np.random.default_rng([self.seed, 1, index])
        low, high = self.short_side
        side = round(float(np.exp(rng.uniform(np.log(low), np.log(high)))))
        image = load_rgb(self.paths[order[position]], side)
        left = int(rng.integers(image.width - self.crop + 1))
        top = int(rng.integers(image.height - self.crop + 1))
        image = image.crop((left, top, left + self.crop, top + self.crop))
        if rng.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return to_tensor(image), index


class ShardedRange(Sampler[int]):
    """Indices of one process: from ``start`` on, ``batch`` at a time, every ``shards``-th batch."""

    def __init__(self, start: int, stop: int, batch: int, shard: int, shards: int) -> None:
        self.start, self.stop = start, stop
        self.batch, self.shard, self.shards = batch, shard, shards

    def __iter__(self) -> Iterator[int]:
        for first in range(self.start, self.stop, self.batch * self.shards):
            mine = first + self.shard * self.batch
            yield from range(mine, mine + self.batch)

    def __len__(self) -> int:
        return (self.stop - self.start) // self.shards
