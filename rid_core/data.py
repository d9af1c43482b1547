"""Portraits to crops. What sample ``i`` is depends on the seed and ``i`` alone.

So a resumed run continues bit for bit without any saved state of a random generator, and the
processes of a distributed run share the samples among themselves by index.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from rid_core.errors import RidError, printable
from rid_core.folders import list_images
from rid_core.image import io as photo

_log = logging.getLogger(__name__)


def list_portraits(
    folder: Path, exclude: list[str], repeat: Mapping[str, int] | None = None
) -> list[Path]:
    """Image files below ``folder``, sorted, without broken ones and those that match ``exclude``.

    Nothing is left out unsaid: broken files, pictures of a kind that is not read and folders that
    cannot be looked into are counted and named in warnings. Hidden files are passed over.

    A pattern such as ``"045?.jpg"`` or ``"people/*"`` is held against a file's name and against its
    path below ``folder``.

    Args:
        folder: looked through with all folders below it.
        exclude: patterns of files that are left out.
        repeat: pattern -> how often such a file is listed, so that a small folder of good photos is
            not drowned by a large one; the first that matches counts.

    Raises:
        RidError: no such folder, or nothing usable in it.
    """
    if not folder.is_dir():
        raise RidError(f"{folder}: no such folder of portraits; set data.folder")
    listing = list_images(folder, recursive=True)
    found = listing.images
    wanted = [p for p in found if not any(_matches(p, folder, pattern) for pattern in exclude)]
    foreign = [p for p in wanted if p.suffix.lower() not in photo.FORMATS]
    wanted = [p for p in wanted if p.suffix.lower() in photo.FORMATS]
    usable: list[Path] = []
    broken: list[Path] = []
    # Pillow decodes outside the interpreter's lock: a large folder is read on all cores.
    with ThreadPoolExecutor(min(32, os.cpu_count() or 1)) as pool:
        for path, readable in zip(wanted, pool.map(_is_readable, wanted), strict=True):
            (usable if readable else broken).append(path)
    of = f"of {len(wanted) + len(foreign)} images"
    _warn(f"{len(broken)} {of} cannot be read and are skipped", broken)
    _warn(f"{len(foreign)} {of} are of a kind that is not read and are skipped", foreign)
    for path, reason in listing.left_out:
        _log.warning("left out: %s", printable(f"{path}: {reason}"))
    if not usable:
        excluded = len(found) - len(wanted) - len(foreign)
        raise RidError(
            f"{folder}: no usable portraits ({len(found)} images found, {excluded} excluded, "
            f"{len(broken)} broken, {len(foreign)} of other kinds, "
            f"{len(listing.left_out)} paths left out)"
        )
    if not repeat:
        return usable
    times = [
        next((n for pattern, n in repeat.items() if _matches(path, folder, pattern)), 1)
        for path in usable
    ]
    return [path for path, n in zip(usable, times, strict=True) for _ in range(n)]


def _warn(what: str, paths: list[Path]) -> None:
    """Say how many files are skipped, and name them all."""
    if paths:
        _log.warning("%s: %s", what, printable(", ".join(map(str, paths))))


def _matches(path: Path, folder: Path, pattern: str) -> bool:
    return fnmatch(path.name, pattern) or fnmatch(path.relative_to(folder).as_posix(), pattern)


def _is_readable(path: Path) -> bool:
    try:
        photo.load(path)
    except RidError:
        return False
    return True


def load_rgb(path: Path, short_side: int | None = None) -> Image.Image:
    """Pixels of :func:`rid_core.image.io.load`, scaled so that the short side has ``short_side``.

    The same photo therefore looks the same to training, to evaluation and to ``rid-protect``.

    Args:
        path: any photo that can be protected.
        short_side: in pixels (bicubic); None leaves the size as it is.

    Raises:
        RidError: it cannot be read.
    """
    rgb = Image.fromarray(photo.load(path).pixels)
    if short_side is None or min(rgb.size) == short_side:
        return rgb
    scale = short_side / min(rgb.size)
    width, height = (max(short_side, round(side * scale)) for side in rgb.size)
    return rgb.resize((width, height), Image.Resampling.BICUBIC)


def to_tensor(image: Image.Image) -> Tensor:
    """RGB image -> float32 [3, H, W] in [0, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def centre_square(path: Path, side: int) -> Image.Image:
    """The centre ``side`` x ``side`` of a photo whose short side was scaled to ``side``."""
    image = load_rgb(path, side)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def to_batch(photos: np.ndarray) -> Tensor:
    """8 bits, [N, H, W, 3] -> float32 [N, 3, H, W] in [0, 1]."""
    return torch.from_numpy(np.array(photos)).permute(0, 3, 1, 2).float() / 255


def to_pixels(images: Tensor) -> np.ndarray:
    """[N, 3, H, W] in [0, 1] -> uint8 [N, H, W, 3]."""
    levels = (images.detach() * 255).round().clamp(0, 255).byte()
    return levels.permute(0, 2, 3, 1).contiguous().cpu().numpy()


class CropDataset(Dataset[tuple[Tensor, ...]]):
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
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        """Sample ``index`` of an endless sequence that visits every portrait once an epoch."""
        path, rng = self._locate(index)
        low, high = self.short_side
        side = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        return to_tensor(self._zoom(rng, load_rgb(path), side)), torch.tensor(index)

    def _zoom(self, rng: np.random.Generator, image: Image.Image, side: float) -> Image.Image:
        """A random crop and flip of the image scaled so that its short side is ``side``.

        Only the crop is scaled: at 512 pixels a tenth of the work of scaling the whole photo.
        """
        window = self.crop * min(image.size) / side
        left, top = (float(rng.uniform(0, max(0.0, length - window))) for length in image.size)
        box = (left, top, min(left + window, image.width), min(top + window, image.height))
        crop = image.resize((self.crop, self.crop), Image.Resampling.BICUBIC, box)
        return crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else crop

    def _locate(self, index: int) -> tuple[Path, np.random.Generator]:
        """The portrait of a sample, and the random numbers that belong to the sample."""
        epoch, position = divmod(index, len(self.paths))
        if self._order[0] != epoch:
            # Once an epoch: to shuffle millions of names takes longer than to read a photo.
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.paths))
            self._order = epoch, order
        path = self.paths[self._order[1][position]]
        return path, np.random.default_rng([self.seed, 1, index])

    def _window(self, rng: np.random.Generator, *images: Image.Image) -> list[Image.Image]:
        """The same random crop and flip of images of one size."""
        width, height = images[0].size
        left = int(rng.integers(width - self.crop + 1))
        top = int(rng.integers(height - self.crop + 1))
        crops = [image.crop((left, top, left + self.crop, top + self.crop)) for image in images]
        if rng.random() < 0.5:
            crops = [crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for crop in crops]
        return crops


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
