"""How a protection looks: JOD at two viewing distances, SSIMULACRA2, FLIP, PSNR; and equal look.

Levels say how far a value may move, not how much is seen. So protections are compared at the
strength at which they look the same: at one mean JOD over the same photos.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rid_core.budget import Budget
from rid_core.channel import round_to_levels
from rid_core.data import to_batch, to_pixels
from rid_core.errors import MissingExtraError
from rid_core.protection import WORKING_SIDE, protect_photo
from rid_core.visibility import ENLARGED, JOD, PIXELS_PER_DEGREE, psnr, ssimulacra2
from rid_eval.results import Measurement, MethodRun, Number, PhotoSet

EQUAL_LOOK = 9.8
"""JOD at which protections are compared unless another is asked for."""

PHONE_COLUMNS = 1179
"""Of a phone's screen; the photo fills them and is seen from 30 cm."""

_TOLERANCE = 0.005  # JOD
_MOST_TRIES = 8
_WEAKEST = 0.01
"""Strength below which nothing is tried: no bound of a hundred levels changes a pixel by it."""


@dataclass(frozen=True)
class Look:
    """How visible a change of one photo is.

    Attributes:
        jod: ColorVideoVDP at 38 pixels per degree of the photo's own pixels: as wide as a phone,
            at 30 cm. 10 is no visible difference; one less, and 75 % prefer the original.
        jod_enlarged: the same at 19 pixels per degree, the photo enlarged twice.
        ssimulacra2: 90 is not to be told apart, 70 high quality, 50 medium, 30 low.
        flip: mean FLIP error (Andersson et al. 2020), 0 to 1; no network is trained with it.
        psnr: in dB; 100 for no change.
        colour: the largest mean change of a colour channel over the photo, in 8-bit levels.
    """

    jod: float
    jod_enlarged: float
    ssimulacra2: float
    flip: float
    psnr: float
    colour: float


@dataclass(frozen=True)
class LookRow:
    """One protection over several photos.

    Attributes:
        mean: of every figure.
        worst_jod: of the photo that looks worst.
        phone_jod: JOD of large photos fitted to a phone's screen, mean; NaN where none was made.
    """

    mean: Look
    worst_jod: float
    phone_jod: Number = math.nan


@dataclass(frozen=True, kw_only=True)
class LookResult(Measurement):
    """How visible protections are.

    Attributes:
        images: what was measured on.
        levels: the bound.
        large: how many photos were also measured at 12 megapixels.
        floor: label of the random signs.
        against: slow methods by label.
        weights: digests of the defenders' weights by label.
        rows: by label of the protection.
    """

    what: ClassVar[str] = "look"
    images: PhotoSet
    levels: int
    large: int
    floor: str
    against: dict[str, MethodRun]
    weights: dict[str, str]
    rows: dict[str, LookRow]


def row_of(looks: Sequence[Look], phone: Sequence[float] = ()) -> LookRow:
    """Means over photos, one or more."""
    means = {f.name: float(np.mean([getattr(one, f.name) for one in looks])) for f in fields(Look)}
    phone_jod = float(np.mean(phone)) if phone else math.nan
    return LookRow(Look(**means), min(one.jod for one in looks), phone_jod)


def look_of(clean: Tensor, changed: Tensor) -> Look:
    """Measure a changed photo against the original.

    Args:
        clean: [1, 3, H, W] in [0, 1], sides of 32 or more.
        changed: the same photo, in whole 8-bit levels.

    Raises:
        MissingExtraError: ``cvvdp`` or ``flip-evaluator`` is not installed.
        RidError: pictures of different sizes.
    """
    with torch.inference_mode():
        change = changed - clean
        return Look(
            jod=JOD()(clean, changed).item(),
            jod_enlarged=JOD(ENLARGED)(clean, changed).item(),
            ssimulacra2=ssimulacra2(clean, changed).item(),
            flip=_flip(clean, changed),
            psnr=psnr(clean, changed).item(),
            colour=(change.mean(dim=(0, 2, 3)).abs().max() * 255).item(),
        )


def _flip(clean: Tensor, changed: Tensor) -> float:
    try:
        import flip_evaluator
    except ModuleNotFoundError:
        raise MissingExtraError("flip-evaluator", "eval") from None
    pair = (x[0].permute(1, 2, 0).float().contiguous().cpu().numpy() for x in (clean, changed))
    return float(flip_evaluator.evaluate(*pair, "LDR")[1])


def protected_at(image: Tensor, unit: Tensor, budget: Budget, strength: float = 1.0) -> Tensor:
    """The photo with its perturbation: at full strength in whole levels, as it is saved.

    At less strength, where protections are compared, nothing is rounded: random signs of a few
    levels would jump from one whole level to the next, and few looks could be had.

    Args:
        image: [B, 3, H, W] in [0, 1].
        unit: perturbation in [-1, 1], same shape.
        budget: the bound at full strength.
        strength: in (0, 1].
    """
    changed = budget.apply(image, unit * strength)
    return round_to_levels(changed) if strength == 1 else changed


def mean_jod(
    images: Sequence[Tensor], units: Sequence[Tensor], budget: Budget, strength: float = 1.0
) -> float:
    """Mean JOD over photos, each [1, 3, H, W] in [0, 1] with its unit perturbation."""
    measure = JOD()
    with torch.inference_mode():
        found = [
            measure(image, protected_at(image, unit, budget, strength)).item()
            for image, unit in zip(images, units, strict=True)
        ]
    return float(np.mean(found))


def strength_at(
    jod: float, images: Sequence[Tensor], units: Sequence[Tensor], budget: Budget
) -> float:
    """The strength at which perturbations have a mean JOD over photos.

    ``log(10 - JOD)`` is nearly a line in ``log(strength)``, so a few secant steps are enough; where
    one leaves what is known to lie around the answer, that is halved instead.

    Args:
        jod: wanted, below 10.
        images: [1, 3, H, W] in [0, 1] each.
        units: their perturbations in [-1, 1].
        budget: the bound at strength 1.

    Returns:
        In (0, 1]; 1 where the full strength looks better than what is wanted.
    """
    loss, goal = 10 - mean_jod(images, units, budget), 10 - jod
    if loss <= goal:
        return 1.0
    strength, slope, low, high, seen = 1.0, 1.0, _WEAKEST, 1.0, {1.0: loss}
    for _ in range(_MOST_TRIES):
        new = strength * (max(goal, 0.0) / loss) ** (1 / slope)
        if not low < new < high:
            new = math.sqrt(low * high)
        new_loss = max(10 - mean_jod(images, units, budget, new), 1e-6)
        seen[new] = new_loss
        if abs(new_loss - goal) < _TOLERANCE:
            break
        low, high = (new, high) if new_loss < goal else (low, new)
        # Rounding to levels makes steps of it: a slope out of all proportion is not believed.
        measured = math.log(new_loss / loss) / math.log(new / strength)
        slope = min(3.0, max(0.5, measured))
        strength, loss = new, new_loss
    return min(seen, key=lambda one: abs(seen[one] - goal))


@dataclass(frozen=True)
class _ProtectionRuntime:
    """A protection as :func:`rid_core.protection.protect_photo` takes it, at the working scale."""

    perturbation: Callable[[Tensor], Tensor]
    levels: int
    stride: int = 1
    fixed_size: int | None = None
    preset: str = "protection"
    name: str = "protection"

    def perturb(self, image: np.ndarray) -> np.ndarray:
        """Float32 [H, W, 3] in [0, 1] -> unit perturbation, same shape."""
        batch = torch.from_numpy(image).permute(2, 0, 1)[None]
        return self.perturbation(batch)[0].permute(1, 2, 0).contiguous().cpu().numpy()


def phone_jod(
    image: Tensor, protection: Callable[[Tensor], Tensor], budget: Budget, megapixels: float = 12
) -> float:
    """JOD of a large photo on a phone's screen, protected as ``rid-protect`` does it.

    The photo is enlarged to ``megapixels`` (there are no larger portraits to test with), protected,
    and both are fitted to the screen's columns; at one width on the screen, a pixel of the screen
    is so much smaller than one of the working scale.

    Args:
        image: [1, 3, H, W] in [0, 1].
        protection: [1, 3, H, W] in [0, 1] -> unit perturbation.
        budget: the bound.
        megapixels: of the large photo.
    """
    height, width = image.shape[2:]
    scale = math.sqrt(megapixels * 1e6 / (height * width))
    large = _resized(to_pixels(image)[0], round(width * scale), round(height * scale))
    protected = protect_photo(large, _ProtectionRuntime(protection, budget.levels), budget)  # type: ignore[arg-type]
    rows = round(PHONE_COLUMNS * height / width)
    views = [to_batch(_resized(photo, PHONE_COLUMNS, rows)[None]) for photo in (large, protected)]
    with torch.inference_mode():
        return JOD(PIXELS_PER_DEGREE * PHONE_COLUMNS / WORKING_SIDE)(*views).item()


def _resized(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


def face_sheet(image: Tensor, changed: Sequence[Tensor], side: int = 160) -> np.ndarray:
    """Pictures to look at: the middle of a portrait at 1:1, and a third of that enlarged 3 times.

    Args:
        image: [1, 3, H, W] in [0, 1], sides of ``side`` or more.
        changed: protected forms of it, shown to the right of the original.
        side: of a panel, in pixels.

    Returns:
        uint8 [2 * side, n * side, 3]: 1:1 above, enlarged below.
    """
    height, width = image.shape[2:]
    # Official portraits have the eyes at about two fifths of the height.
    top, left = max(0, int(0.4 * height) - side // 2), (width - side) // 2
    columns = []
    for one in (image, *changed):
        crop = to_pixels(one)[0, top : top + side, left : left + side]
        third = side // 3
        part = crop[side // 3 : side // 3 + third, side // 4 : side // 4 + third]
        enlarged = np.array(Image.fromarray(part).resize((side, side), Image.Resampling.NEAREST))
        columns.append(np.concatenate([crop, enlarged]))
    return np.concatenate(columns, axis=1)
