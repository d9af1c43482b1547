"""What is left of the effect when somebody crops a 12-megapixel photo and scales it to 512 pixels.

Three ways to protect are compared in the attacker's view of a photo:

* ``scale N``: :func:`rid_core.protection.protect_photo`, which predicts at a short side of N pixels
  (512 is what ``rid-protect`` does) and enlarges the perturbation;
* ``native``: the network over the full-size photo, tile by tile;
* ``after``: the network on the attacker's view itself, which nobody can have: the ceiling.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from rid_core.budget import Budget
from rid_core.checkpoint import weights_digest
from rid_core.data import to_batch, to_pixels
from rid_core.errors import RidError
from rid_core.image import io as photo
from rid_core.image import tiling
from rid_core.protection import WORKING_SIDE, protect_photo
from rid_core.runtimes import Runtime
from rid_core.surrogates import Surrogate, relative_shift
from rid_eval.comparison import DIGEST_DIGITS
from rid_eval.results import Measurement, Number, PhotoSet
from rid_eval.robustness import equal_noise
from rid_eval.statistics import ratio_over_images

PHOTO_SIZE = (4032, 3024)
"""Height and width of an upright photo of 12 megapixels."""
LARGE = 2000
"""Short side, in pixels, from which a photo is taken as it is; smaller ones are enlarged."""
CEILING, NATIVE = "after", "native"
_GRAIN = 2.5
_CUBIC = Image.Resampling.BICUBIC
_FILTERS: dict[str, Image.Resampling | None] = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": _CUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "aliased": None,
}
"""Pillow's, which average over all pixels; and bilinear interpolation between four, OpenCV's."""
Change = Callable[[np.ndarray], np.ndarray]
"""A photo, uint8 [H, W, 3] -> what becomes of it."""


def messenger(pixels: np.ndarray) -> np.ndarray:
    """As a messenger delivers it: 1,600 pixels along the long side, JPEG 75."""
    image = Image.fromarray(pixels)
    image.thumbnail((1600, 1600), _CUBIC)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=75)
    return np.asarray(Image.open(buffer))


CHANNELS: dict[str, Change] = {"saved": lambda pixels: pixels, "messenger": messenger}


@dataclass(frozen=True)
class AttackerView:
    """How somebody makes a training picture of a photo.

    Attributes:
        size: its side, pixels.
        crop: share of the largest centred square that is used.
        resampling: of :data:`_FILTERS`.
        channel: what happened to the photo before, of :data:`CHANNELS`.
    """

    size: int = 512
    crop: float = 1.0
    resampling: str = "bilinear"
    channel: str = "saved"

    @property
    def name(self) -> str:
        """For tables."""
        part = "" if self.crop == 1 else f", {self.crop:.0%} crop"
        way = "" if self.channel == "saved" else f", {self.channel}"
        return f"{self.size}, {self.resampling}{part}{way}"

    def of(self, pixels: np.ndarray) -> Tensor:
        """uint8 [H, W, 3] -> float32 [1, 3, size, size] in [0, 1], 8-bit values."""
        height, width = pixels.shape[:2]
        side = round(min(height, width) * self.crop)
        top, left = (height - side) // 2, (width - side) // 2
        square = pixels[top : top + side, left : left + side]
        resampling = _FILTERS[self.resampling]
        if resampling is not None:
            small = Image.fromarray(square).resize((self.size, self.size), resampling)
            return to_batch(np.asarray(small)[None])
        found = F.interpolate(
            to_batch(square[None]), (self.size, self.size), mode="bilinear", align_corners=False
        )
        return (found * 255).round() / 255


def default_views(sizes: Sequence[int] = (512, 1024)) -> list[AttackerView]:
    """Every filter and crop at the first size; at the others the bilinear filter."""
    first, *others = sizes
    views = [AttackerView(first, crop, name) for crop in (1.0, 0.9) for name in _FILTERS]
    views.append(AttackerView(first, channel="messenger"))
    return views + [AttackerView(size, crop) for size in others for crop in (1.0, 0.9)]


@dataclass(frozen=True)
class Effect:
    """One way to protect in one view, on one encoder; means over the photos.

    Attributes:
        effect: relative latent shift from the view of the clean photo.
        floor: that of Gaussian noise as strong as the change in this view.
        rms_levels: of the change in this view, in 8-bit levels.
        kept: effect as a share of the ceiling's, per cent.
        low: lower end of its 95 % interval, by bootstrap over the photos.
        high: upper end.
    """

    effect: float
    floor: float
    rms_levels: float
    kept: float
    low: Number
    high: Number


Effects = dict[str, dict[str, dict[str, Effect]]]
"""By encoder, view and way to protect."""


@dataclass(frozen=True)
class LargePhotoSet(PhotoSet):
    """Photos, of which some were ``enlarged`` to 12 megapixels."""

    enlarged: int = 0


@dataclass(frozen=True, kw_only=True)
class LargePhotosResult(Measurement):
    """What is left of the effect on large photos.

    Attributes:
        defender: its name.
        weights: digest of its weights, empty where none is known.
        images: what was measured on.
        levels: the bound.
        device: of the encoders.
        views: by name.
        effects: by encoder, view and way to protect; the first way is the real one.
    """

    what: ClassVar[str] = "large photos"
    defender: str
    weights: str = ""
    images: LargePhotoSet
    levels: int
    device: str = ""
    views: dict[str, AttackerView]
    effects: Effects


def load_photo(path: Path, seed: int = 0) -> tuple[np.ndarray, bool]:
    """A photo, upright; a small one is made large.

    It is cut to 3 : 4, enlarged to :data:`PHOTO_SIZE` by a cubic, and given a camera's noise: 2.5
    levels, which neighbouring pixels share a little, as they do after a sensor's mosaic is filled.

    Args:
        path: of the file.
        seed: of the noise.

    Returns:
        uint8 [H, W, 3], and whether it was enlarged.

    Raises:
        RidError: see :func:`rid_core.image.io.load`.
    """
    pixels = photo.load(path).pixels
    if min(pixels.shape[:2]) >= LARGE:
        return pixels, False
    height, width = pixels.shape[:2]
    rows = min(height, width * 4 // 3)
    columns = min(width, height * 3 // 4)
    top, left = (height - rows) // 2, (width - columns) // 2
    part = Image.fromarray(pixels[top : top + rows, left : left + columns])
    large = np.asarray(part.resize(PHOTO_SIZE[::-1], _CUBIC), np.float32)
    noise = np.random.default_rng(seed).standard_normal(large.shape, np.float32)
    shared = noise + 0.5 * (np.roll(noise, 1, 0) + np.roll(noise, 1, 1))
    grainy = large + _GRAIN / math.sqrt(1.5) * shared
    return np.rint(grainy.clip(0, 255)).astype(np.uint8), True


class LargePhotos:
    """Photos of :func:`load_photo`, one in memory at a time.

    Attributes:
        enlarged: how many of those read so far were small.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        self.enlarged = 0

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[np.ndarray]:
        for number, path in enumerate(self.paths):
            pixels, enlarged = load_photo(path, number)
            self.enlarged += enlarged
            yield pixels


class AtScale:
    """A runtime whose perturbation is predicted at a short side of ``side`` pixels."""

    def __init__(self, runtime: Runtime, side: int) -> None:
        """Wrap ``runtime``.

        Raises:
            RidError: it works at another size only.
        """
        if runtime.fixed_size not in (None, side) or side % runtime.stride:
            raise RidError(f"{runtime.preset} cannot predict at a short side of {side} pixels")
        self.name, self.preset, self.levels = runtime.name, runtime.preset, runtime.levels
        self.stride = runtime.stride
        self.fixed_size: int | None = side
        self._runtime = runtime

    def perturb(self, image: np.ndarray) -> np.ndarray:
        """See the protocol."""
        return self._runtime.perturb(image)


def protect_native(pixels: np.ndarray, runtime: Runtime, budget: Budget) -> np.ndarray:
    """The network over the full-size photo, in overlapping tiles of 512 pixels.

    Args:
        pixels: uint8 [H, W, 3], both sides at least 512.
        runtime: the defender.
        budget: the bound.
    """
    height, width = pixels.shape[:2]
    unit = np.zeros(pixels.shape, np.float32)
    for tile in tiling.tiles(height, width, WORKING_SIDE):
        part = pixels[tile.rows, tile.columns].astype(np.float32) / 255
        unit[tile.rows, tile.columns] += tile.weight * runtime.perturb(part)
    return budget.apply_uint8(pixels, unit)


def weights_of(runtime: Runtime) -> str:
    """First digits of the digest of a defender's weights, of whatever file it was opened."""
    metadata = getattr(runtime, "metadata", None)
    if metadata is not None:
        return str(metadata.weights)[:DIGEST_DIGITS]
    network = getattr(runtime, "defender", None)
    return "" if network is None else weights_digest(network)[:DIGEST_DIGITS]


def ways_to_protect(
    runtime: Runtime, budget: Budget, sides: Sequence[int] = (WORKING_SIDE,)
) -> dict[str, Change]:
    """By name, what protects a photo: uint8 [H, W, 3] -> the same shape."""

    def at(side: int) -> Change:
        scaled = AtScale(runtime, side)
        return lambda pixels: protect_photo(pixels, scaled, budget)

    ways = {f"scale {side}": at(side) for side in sides}
    return {**ways, NATIVE: lambda pixels: protect_native(pixels, runtime, budget)}


def measure(
    photos: Sequence[np.ndarray] | LargePhotos,
    runtime: Runtime,
    budget: Budget,
    views: Sequence[AttackerView],
    encoders: Sequence[Surrogate],
    *,
    sides: Sequence[int] = (WORKING_SIDE,),
    device: str | torch.device = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Effects:
    """Effects by encoder, view and way to protect.

    Args:
        photos: uint8 [H, W, 3] each.
        runtime: the defender.
        budget: the bound.
        views: of the attacker.
        encoders: on ``device``.
        sides: short sides at which the real path predicts.
        device: of the encoders.
        progress: told after each view of each photo.
    """
    ways = ways_to_protect(runtime, budget, sides)
    found: dict[tuple[str, str, str], list[tuple[float, float, float]]] = {}
    done = 0
    for number, pixels in enumerate(photos):
        versions: Mapping[str, np.ndarray] = {
            "clean": pixels, **{name: way(pixels) for name, way in ways.items()}
        }  # fmt: skip
        sent: dict[str, Mapping[str, np.ndarray]] = {}
        for view in views:
            if view.channel not in sent:
                step = CHANNELS[view.channel]
                sent[view.channel] = {name: step(version) for name, version in versions.items()}
            pictures = {name: view.of(version) for name, version in sent[view.channel].items()}
            clean = pictures.pop("clean")
            # The ceiling is made of the clean view, so no channel has touched it.
            pictures[CEILING] = _protect_view(clean, runtime, budget)
            for encoder in encoders:
                with torch.inference_mode():
                    reference = encoder.encode(clean.to(device))
                    for name, picture in pictures.items():
                        rms = (picture - clean).square().mean().sqrt().item()
                        noisy = clean + equal_noise(clean, rms, number)
                        shifts = [relative_shift(reference, encoder.encode(x.to(device))).item()
                                  for x in (picture, noisy)]  # fmt: skip
                        key = (encoder.name, view.name, name)
                        found.setdefault(key, []).append((shifts[0], shifts[1], 255 * rms))
            done += 1
            progress(done, len(photos) * len(views))
    names = [*ways, CEILING]
    return {
        encoder.name: {
            view.name: {
                name: _effect(np.array(found[encoder.name, view.name, name]),
                              np.array(found[encoder.name, view.name, CEILING]))
                for name in names
            }
            for view in views
        }
        for encoder in encoders
    }  # fmt: skip


def _effect(rows: np.ndarray, ceiling: np.ndarray) -> Effect:
    """Of [N, 3]: shift, floor and RMS of each photo."""
    kept = ratio_over_images(rows[:, 0], ceiling[:, 0])
    effect, floor, _ = (float(value) for value in rows.mean(axis=0))
    rms = float(np.sqrt(np.square(rows[:, 2]).mean()))
    return Effect(effect, floor, rms, 100 * kept.value, 100 * kept.low, 100 * kept.high)


def _protect_view(view: Tensor, runtime: Runtime, budget: Budget) -> Tensor:
    (pixels,) = to_pixels(view)
    unit = runtime.perturb(np.ascontiguousarray(pixels.astype(np.float32) / 255))
    return to_batch(budget.apply_uint8(pixels, unit)[None])
