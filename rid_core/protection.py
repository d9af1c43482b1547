"""Protect a photo of any size.

Whoever trains on a photo first scales it to about 512 pixels, and a perturbation finer than that is
averaged away. So it is predicted at that scale and enlarged: see ``docs/large-photos.md``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rid_core.budget import Budget, Verdict, verify
from rid_core.errors import LowMemoryError, RidError
from rid_core.image import compare, spill, tiling
from rid_core.image import io as photo
from rid_core.runtimes.base import Runtime

WORKING_SIDE = 512
"""Short side, in pixels, at which a perturbation is predicted: the scale of an attacker."""
MAX_ASPECT = 64
"""Longest side over shortest; at the working scale a photo is at most this many tiles long."""
_STRIP = 256


@dataclass(frozen=True)
class Outcome:
    """What :func:`protect_file` did.

    Attributes:
        source: the photo that was read.
        target: the file that was written.
        width: of the upright photo, in pixels.
        height: of the upright photo, in pixels.
        seconds: from reading to the finished file.
        max_levels: largest change of a colour value before encoding, in 8-bit levels.
        psnr: of the change before encoding, in dB.
        notes: what could not be kept of the original, one line each.
    """

    source: Path
    target: Path
    width: int
    height: int
    seconds: float
    max_levels: int
    psnr: float
    notes: tuple[str, ...] = ()


def working_perturbation(pixels: np.ndarray, runtime: Runtime) -> np.ndarray:
    """Predict the unit perturbation of a photo at the working scale.

    Args:
        pixels: uint8 RGB [H, W, 3], upright.
        runtime: the defender.

    Returns:
        float32 [h, w, 3] in [-1, 1]; the shorter of h and w is the runtime's fixed size, or
        ``WORKING_SIDE``. A photo of that size already is not scaled.

    Raises:
        RidError: wrong shape or dtype, a strip too long for its width, a runtime that cannot work
            at this scale or returns something else than a perturbation.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise RidError(
            f"a photo is uint8 RGB of shape [H, W, 3], not {pixels.dtype} {list(pixels.shape)}"
        )
    height, width = pixels.shape[:2]
    if min(height, width) < 1 or max(height, width) > MAX_ASPECT * min(height, width):
        raise RidError(
            f"{width} x {height} is more than {MAX_ASPECT} times as long as wide; cut it in pieces"
        )
    side = runtime.fixed_size or WORKING_SIDE
    if side % runtime.stride:
        raise RidError(
            f"{runtime.preset} takes multiples of {runtime.stride} pixels, and {side} is none"
        )
    height, width = tiling.working_size(height, width, side)
    view = tiling.resample(pixels, height, width)
    view /= 255
    np.clip(view, 0, 1, out=view)
    unit = np.zeros_like(view)
    for tile in tiling.tiles(height, width, side):
        part = np.ascontiguousarray(view[tile.rows, tile.columns])
        predicted = runtime.perturb(part)
        if predicted.shape != part.shape or not np.isfinite(predicted).all():
            raise RidError(f"{runtime.name} returned no perturbation; export the model again")
        unit[tile.rows, tile.columns] += tile.weight * predicted
    return unit.clip(-1, 1, out=unit)


def protect_photo(pixels: np.ndarray, runtime: Runtime, budget: Budget | None = None) -> np.ndarray:
    """Protect a photo of any size.

    Args:
        pixels: uint8 RGB [H, W, 3], upright.
        runtime: the defender.
        budget: the bound; without one, the bound the defender was made for at full strength.

    Returns:
        uint8 [H, W, 3]; no value differs from ``pixels`` by more than ``budget.levels``.

    Raises:
        RidError: see :func:`working_perturbation`.
    """
    budget = budget or Budget(runtime.levels)
    unit = working_perturbation(pixels, runtime)
    if min(pixels.shape[:2]) > min(unit.shape[:2]):
        unit = tiling.sharpen(unit)
    spill.release(pixels)
    result = spill.empty(*pixels.shape)
    for rows, strip in tiling.resample_strips(unit, *pixels.shape[:2]):
        result[rows] = budget.apply_uint8(pixels[rows], strip)
        spill.release(pixels, result)
    return result


def protect_checked(
    pixels: np.ndarray, runtime: Runtime, budget: Budget
) -> tuple[np.ndarray, Verdict]:
    """:func:`protect_photo`, and how much it changed.

    Raises:
        RidError: as there, or no value changed: such a photo is not called protected.
    """
    protected = protect_photo(pixels, runtime, budget)
    verdict = _verify(pixels, protected, budget.levels)
    if verdict.max_levels == 0:
        raise RidError(
            "not one value changed, so nothing was protected and nothing written; "
            "raise --levels or --strength, or take a trained model"
        )
    return protected, verdict


def protect_file(
    source: str | Path,
    target: str | Path,
    runtime: Runtime,
    budget: Budget | None = None,
    *,
    quality: int | None = None,
    strip_gps: bool = False,
    comparison: str | Path | None = None,
) -> Outcome:
    """Protect a photo and write it as a whole or not at all.

    The bound is verified on the very pixels that go to the encoder. A lossless file holds exactly
    those; JPEG, HEIC and WebP with a quality add their own small error on top.

    Args:
        source: see :func:`rid_core.image.io.load`.
        target: see :func:`rid_core.image.io.save`.
        runtime: the defender.
        budget: the bound; without one, the bound the defender was made for at full strength.
        quality: of a lossy format.
        strip_gps: leave GPS data out.
        comparison: a second file to write, with :func:`rid_core.image.compare.sheet`; no metadata
            but the colour profile.

    Raises:
        RidError: the photo cannot be read, protected or written, or no value of it would change.
    """
    source, target = Path(source), Path(target)
    budget = budget or Budget(runtime.levels)
    begin = time.perf_counter()
    photo.format_of(target)
    if comparison is not None:
        photo.format_of(comparison)
    try:
        original = photo.load(source, strip_gps=strip_gps)
        try:
            pixels, verdict = protect_checked(original.pixels, runtime, budget)
        except RidError as error:
            raise RidError(f"{source}: {error}") from None
        protected = replace(original, pixels=pixels)
        sheet = None if comparison is None else compare.sheet(original.pixels, pixels)
        del original  # free while the encoder works
        photo.save(protected, target, quality=quality)
        if comparison is not None and sheet is not None:
            photo.save(photo.Photo(sheet, icc=protected.icc), comparison)
    except MemoryError:
        raise LowMemoryError(f"{source}: not enough memory; scale it down first") from None
    height, width = pixels.shape[:2]
    return Outcome(
        source=source,
        target=target,
        width=width,
        height=height,
        seconds=time.perf_counter() - begin,
        max_levels=verdict.max_levels,
        psnr=verdict.psnr,
        notes=protected.notes,
    )


def _verify(original: np.ndarray, protected: np.ndarray, levels: int) -> Verdict:
    """:func:`rid_core.budget.verify` in strips: a whole photo would take 10 bytes a value."""
    peak, squares = 0, 0.0
    for top in range(0, len(original), _STRIP):
        rows = slice(top, top + _STRIP)
        part = verify(original[rows], protected[rows], levels)
        peak = max(peak, part.max_levels)
        squares += part.rms_levels**2 * original[rows].size
        spill.release(original, protected)
    if peak > levels:  # never seen; a bound that is promised is also checked
        raise RidError(f"a value would change by {peak} levels, more than {levels}; not written")
    rms = (squares / original.size) ** 0.5
    psnr = 20 * float(np.log10(255 / rms)) if rms else float("inf")
    return Verdict(peak, rms, psnr, within=True)
