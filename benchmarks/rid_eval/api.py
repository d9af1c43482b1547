"""Measurements as functions: what the commands ``rid-eval look`` and ``rid-eval shift`` do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from rid_core.devices import device_named
from rid_core.files import replacing
from rid_core.surrogates import distils, moved, open_surrogate
from rid_eval import appearance, latent_shift
from rid_eval.appearance import EQUAL_LOOK, LookResult
from rid_eval.comparison import ProtectionSet, prepare_protections
from rid_eval.latent_shift import ShiftResult
from rid_eval.photos import PhotoFolder

Progress = Callable[[int, int], None]
"""Told how many photos of how many are done."""

_ON_SHEET = 4  # photos


def look(
    defenders: Sequence[str],
    photos: PhotoFolder | Path | str,
    *,
    size: int = 512,
    levels: int | None = None,
    large: int = 4,
    against: Sequence[str] = (),
    surrogates: Sequence[str | Path] = (),
    settings: Sequence[str] = (),
    sheet: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> LookResult:
    """Measure how visible protections are: JOD, SSIMULACRA2, FLIP and PSNR, beside random signs.

    Args:
        defenders: checkpoints or bundled presets.
        photos: a folder of portraits.
        size: side to which they are scaled and cropped, pixels.
        levels: bound in 8-bit levels instead of the checkpoints'.
        large: so many photos also at 12 megapixels, fitted to a phone's screen.
        against: slow methods to look at beside them, such as ``pgd``.
        surrogates: files or folders that slow methods attack.
        settings: of slow methods, as ``METHOD.KEY=VALUE``.
        sheet: PNG to write, with faces at 1:1 and enlarged three times.
        progress: told how far it is.

    Raises:
        RidError: a checkpoint, photo, method or surrogate is missing or unfit.
    """
    folder = photos if isinstance(photos, PhotoFolder) else PhotoFolder(Path(photos))
    opened = [open_surrogate(path) for path in surrogates]
    comparison = prepare_protections(defenders, levels, against, settings, opened)
    images = list(folder.load(size).values())
    total = len(comparison.protections) * (len(images) + min(large, len(images)))
    done, rows, sheets = 0, {}, [[image] for image in images]
    for label, protection in comparison.protections.items():
        looks, phone = [], []
        for number, image in enumerate(images):
            changed = appearance.protected_at(image, protection(image), comparison.budget)
            sheets[number].append(changed)
            looks.append(appearance.look_of(image, changed))
            done += 1
            progress(done, total)
        for image in images[:large]:
            phone.append(appearance.phone_jod(image, protection, comparison.budget))
            done += 1
            progress(done, total)
        rows[label] = appearance.row_of(looks, phone)
    if sheet is not None:
        panels = [appearance.face_sheet(pictures[0], pictures[1:]) for pictures in sheets]
        with replacing(sheet) as fresh:
            Image.fromarray(np.concatenate(panels[:_ON_SHEET])).save(fresh, "PNG")
    return LookResult(
        images=folder.describe(len(images), size),
        levels=comparison.budget.levels,
        large=min(large, len(images)),
        floor=latent_shift.FLOOR,
        against=comparison.against,
        weights=comparison.weights,
        rows=rows,
    )


def shift(
    defenders: Sequence[str],
    photos: PhotoFolder | Path | str,
    surrogates: Sequence[str | Path],
    *,
    size: int = 512,
    levels: int | None = None,
    look: float = EQUAL_LOOK,
    against: Sequence[str] = (),
    settings: Sequence[str] = (),
    device: str = "cpu",
    progress: Progress = lambda done, total: None,
) -> ShiftResult:
    """Measure the relative latent shift of protections, and their effect at equal look.

    Args:
        defenders: checkpoints or bundled presets.
        photos: a folder of portraits.
        surrogates: encoders, or whole diffusion models, whose training loss is measured too.
        size: side to which photos are scaled and cropped, pixels.
        levels: bound in 8-bit levels instead of the checkpoints'.
        look: JOD at which protections are compared.
        against: slow methods to measure beside them, such as ``pgd``.
        settings: of slow methods, as ``METHOD.KEY=VALUE``.
        device: where to compute.
        progress: told how far it is.

    Raises:
        RidError: a checkpoint, photo, method, surrogate or device is missing or unfit.
    """
    folder = photos if isinstance(photos, PhotoFolder) else PhotoFolder(Path(photos))
    place = device_named(device)
    opened = [moved(open_surrogate(path), place) for path in surrogates]
    comparison: ProtectionSet = prepare_protections(defenders, levels, against, settings, opened)
    images = [image.to(place) for image in folder.load(size).values()]
    total, done = len(comparison.protections) * len(images), 0

    def on_image() -> None:
        nonlocal done
        done += 1
        progress(done, total)

    rows = latent_shift.measure(
        comparison.protections, images, opened, comparison.budget, look, on_image
    )
    return ShiftResult(
        images=folder.describe(len(images), size),
        levels=comparison.budget.levels,
        look=look,
        device=str(place),
        encoders={one.name: distils(one.name) for one in opened},
        against=comparison.against,
        weights=comparison.weights,
        rows=rows,
    )
