"""A sheet per target: photos, what stands on them, and what the attacker gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rid_core.files import replacing
from rid_eval.personalization.records import read_samples
from rid_eval.personalization.subjects import AttackTarget

_SHOWN = 8
_GAP = 8
_LABEL = 96
_LARGEST = 192  # side of a picture on the sheet, pixels


def write_sheet(
    folder: Path,
    target: AttackTarget,
    labels: Sequence[str],
    published: Callable[[str, AttackTarget], np.ndarray],
) -> Path | None:
    """Draw a row for each finished condition: its name, the attacker's photos, samples.

    The first row is the model before any tuning. Nothing is drawn before an attack is finished.

    Args:
        folder: of the study.
        target: whose.
        labels: conditions, in order.
        published: photos of a condition as the attacker has them.
    """
    untouched = read_samples(folder, "untuned", "untuned")
    rows: list[tuple[str, np.ndarray | None, np.ndarray]] = []
    for label in labels:
        samples = read_samples(folder, target.key, label)
        if samples is not None:
            rows.append((label, published(label, target), samples[:_SHOWN]))
    if not rows:
        return None
    if untouched is not None:
        rows.insert(0, ("untuned", None, untouched[:_SHOWN]))
    side = min(_LARGEST, target.photos.shape[1])
    count = len(target.photos)
    width = _LABEL + (count + _SHOWN) * side + 2 * _GAP
    sheet = Image.new("RGB", (width, len(rows) * (side + _GAP)), "white")
    drawing, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=13)
    for number, (label, photos, samples) in enumerate(rows):
        top = number * (side + _GAP)
        drawing.text((4, top + side // 2 - 8), label, fill="black", font=font)
        for place, picture in enumerate([] if photos is None else photos):
            sheet.paste(_small(picture, side), (_LABEL + place * side, top))
        for place, picture in enumerate(samples):
            left = _LABEL + _GAP + (count + place) * side
            sheet.paste(_small(picture, side), (left, top))
    file = folder / "sheets" / f"{target.key}.png"
    with replacing(file) as fresh:
        sheet.save(fresh)
    return file


def _small(picture: np.ndarray, side: int) -> Image.Image:
    image = Image.fromarray(picture)
    if image.width == side:
        return image
    return image.resize((side, side), Image.Resampling.LANCZOS)
