r"""The first picture of the README: a photo, the same protected, what a tuned model makes of them.

  python research/first_picture.py photos runs/astronaut           # twelve crops of one portrait
  rid-eval personalize --surrogate weights/face-ldm --people runs/astronaut --sets 1 \
      --against none --force -o runs/astronaut-study
  python research/first_picture.py draw runs/astronaut-study docs/images/rid-s.jpg
  python research/first_picture.py samples runs/astronaut-study docs/images/attack.jpg

The portrait is the bundled one of Eileen Collins (NASA, public domain); four of the crops are the
attacker's photos, the others are the reference of the judge.
"""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

PORTRAIT = Path(str(resources.files("rid_core"))) / "assets" / "portraits" / "astronaut.jpg"
FACE = (224, 130)
SIDE, SAMPLE, GAP, LINE = 316, 128, 6, 26
AMPLIFIED = 16


def photos(folder: Path) -> None:
    """Write twelve crops that differ in turn, size, place, light and colour."""
    portrait, rng = Image.open(PORTRAIT).convert("RGB"), np.random.default_rng(1)
    (folder / "astronaut").mkdir(parents=True, exist_ok=True)
    for number in range(12):
        angle, side = rng.uniform(-7, 7), rng.uniform(230, 330)
        x, y = FACE[0] + rng.uniform(-12, 12), FACE[1] + rng.uniform(-10, 14)
        turned = portrait.rotate(angle, Image.Resampling.BICUBIC, center=FACE)
        left, top = max(0, x - side / 2), max(0, y - side / 2)
        side = min(side, 512 - left)
        box = (round(left), round(top), round(left + side), round(top + side))
        crop = turned.crop(box).resize((512, 512), Image.Resampling.LANCZOS)
        if number % 3 == 2:
            crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        crop = ImageEnhance.Brightness(crop).enhance(rng.uniform(0.88, 1.12))
        crop = ImageEnhance.Color(crop).enhance(rng.uniform(0.85, 1.15))
        crop.save(folder / "astronaut" / f"{number:02d}.png")


def draw(study: Path, output: Path) -> None:
    """Photo, protected and amplified change in one row; samples of both attacks below."""
    from rid_core.protection import protect_photo
    from rid_core.runtimes import load_runtime

    original = np.array(Image.open(PORTRAIT).convert("RGB"))
    protected = protect_photo(original, load_runtime("rid-s"))
    change = 128 + AMPLIFIED * (protected.astype(np.int16) - original)
    left, top = FACE[0] - SIDE // 2, 10
    width = 3 * SIDE + 2 * GAP
    count = width // SAMPLE
    sheet = Image.new("RGB", (width, LINE + SIDE + 2 * (LINE + SAMPLE)), "white")
    drawing, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=16)
    words = ("photo", "the same, protected by rid-s", f"the change, {AMPLIFIED} times")
    for place, picture in enumerate((original, protected, change.clip(0, 255).astype(np.uint8))):
        x = place * (SIDE + GAP)
        drawing.text((x + 2, 3), words[place], fill="black", font=font)
        sheet.paste(Image.fromarray(picture[top : top + SIDE, left : left + SIDE]), (x, LINE))
    y = LINE + SIDE
    for condition, text in (("clean", "photos"), ("rid-s", "protected photos")):
        words_of = f"a face model, tuned on four {text}, draws"
        drawing.text((2, y + 3), words_of, fill="black", font=font)
        samples = drawn(study, condition, count)
        sheet.paste(samples, ((width - samples.width) // 2, y + LINE))
        y += LINE + SAMPLE
    output.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(output, quality=82)


def samples(study: Path, output: Path) -> None:
    """Samples of both attacks for the page: of clean photos above, of protected ones below."""
    sheet = Image.new("RGB", (6 * SAMPLE, 2 * SAMPLE))
    for row, condition in enumerate(("clean", "rid-s")):
        sheet.paste(drawn(study, condition, 6), (0, row * SAMPLE))
    sheet.save(output, quality=85)


def drawn(study: Path, condition: str, count: int) -> Image.Image:
    """The first samples of an attack, side by side."""
    strip = study / "dreambooth" / "plain" / "attacks" / "astronaut-0" / f"{condition}.png"
    return Image.open(strip).crop((0, 0, count * SAMPLE, SAMPLE))


if __name__ == "__main__":
    {"photos": photos, "draw": draw, "samples": samples}[sys.argv[1]](*map(Path, sys.argv[2:]))
