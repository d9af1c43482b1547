"""What is left of a protection's effect after channels and purifications, on several encoders.

**Effect.** The relative latent shift between what somebody trains on and the *nearest* of the
latents that the clean photo has on the same way: untouched, and after every step of the chain. A
channel happens to every photo, so it is no merit of the protection: the clean photo after the same
step is what counts. A purification is the attacker's choice: if it brings back the untouched photo,
nothing is left, whatever the same filter would have done to a clean one. Of the two the smaller is
taken, which is the one that is better for the attacker.

**Kept.** The effect after a chain as a share of the plain effect, both means over the images.

**Floor.** The same for Gaussian noise of equal norm: each protection has its own, of the root mean
square of its change in each image, measured on the 8-bit picture. It is given on the scale of the
protection's plain effect, so that the two can be read side by side. It is not subtracted: a step
that only removes noise would raise the difference. ``above_floor`` has the difference all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from rid_core.budget import Budget
from rid_core.channel import round_to_levels
from rid_core.errors import RidError
from rid_core.surrogates import Surrogate, moved, open_encoder, relative_shift
from rid_core.visibility import psnr
from rid_eval.comparison import LoadedDefender
from rid_eval.latent_shift import (
    FLOOR,
    Protection,
    defender_protection,
    random_signs,
    slow_protection,
)
from rid_eval.results import Measurement, PhotoSet
from rid_eval.statistics import ratio_over_images
from rid_eval.steps import Chain

_MEANINGFUL = 1.5
"""A plain effect of less than so many times its floor is no effect of its own."""


@dataclass(frozen=True)
class Protected:
    """Photos under one protection.

    Attributes:
        images: float32 [N, 3, H, W] in [0, 1], not rounded, on the CPU.
        noisy: the same photos under noise of the same norm.
        rms_levels: root mean square of the change once rounded, in 8-bit levels.
        psnr: of it, in dB.
        trained_on: names of the encoders that it was made against.
    """

    images: Tensor
    noisy: Tensor
    rms_levels: float
    psnr: float
    trained_on: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cell:
    """One protection, chain and encoder; means over the images.

    Attributes:
        effect: relative latent shift, see above.
        floor: that of noise of equal norm.
        kept: share of the plain effect, per cent.
        low: lower end of its 95 % interval, by bootstrap over the images.
        high: upper end.
        floor_kept: the floor as a share of the protection's plain effect, per cent.
        above_floor: (effect - floor) as a share of the plain (effect - floor), per cent; None where
            the plain effect is hardly more than its floor.
    """

    effect: float
    floor: float
    kept: float
    low: float
    high: float
    floor_kept: float
    above_floor: float | None


@dataclass(frozen=True)
class Matrix:
    """Everything that :func:`measure` found.

    Attributes:
        cells: by protection, encoder and chain.
        alone: shift from the untouched photo by the chain alone, by encoder and chain: what it
            costs the attacker.
    """

    cells: dict[str, dict[str, dict[str, Cell]]] = field(default_factory=dict)
    alone: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class ProtectionRow:
    """What a protection was.

    Attributes:
        defender: whether it is one, and not random signs or a slow method.
        rms_levels: root mean square of the change, in 8-bit levels.
        psnr: of it, in dB.
        trained_on: names of the encoders that it was made against.
        weights: digest of a defender's weights.
    """

    defender: bool
    rms_levels: float
    psnr: float
    trained_on: list[str]
    weights: str = ""


@dataclass(frozen=True)
class StepRow:
    """What happens to a photo in one row of the matrix: its kind, and words for people."""

    kind: str
    text: str


@dataclass(frozen=True, kw_only=True)
class RobustnessResult(Measurement):
    """What is left of effects after channels and purifications.

    Attributes:
        images: what was measured on.
        levels: the bound.
        device: where it was computed.
        protections: by label.
        steps: by name of the chain.
        matrix: the figures.
    """

    what: ClassVar[str] = "robustness"
    images: PhotoSet
    levels: int
    device: str
    protections: dict[str, ProtectionRow]
    steps: dict[str, StepRow]
    matrix: Matrix


def open_encoders(
    paths: Sequence[str], size: int, device: torch.device | str = "cpu"
) -> list[Surrogate]:
    """Encoders to measure on.

    Raises:
        RidError: one cannot be opened or does not take pictures of ``size``, or two of one name.
    """
    found = [moved(open_encoder(path), device) for path in paths]
    for encoder in found:
        if size % encoder.stride:
            raise RidError(f"{encoder.name} takes multiples of {encoder.stride} pixels")
    if len({encoder.name for encoder in found}) < len(found):
        raise RidError("two encoders have the same name; rename one of the files")
    return found


def protections_of(
    defenders: Sequence[LoadedDefender], encoders: Sequence[Surrogate], budget: Budget, steps: int
) -> dict[str, tuple[Protection, list[str]]]:
    """What is measured, by label, with the names of the encoders that each was made against.

    Args:
        defenders: the last of them.
        encoders: PGD attacks the first.
        budget: of PGD.
        steps: of PGD; 0 for none.
    """
    found: dict[str, tuple[Protection, list[str]]] = {
        FLOOR: (lambda image: random_signs(image.cpu()), [])
    }
    if steps:
        pgd = slow_protection("pgd", encoders[0], budget, {"steps": steps})
        found[f"pgd-{steps}"] = pgd, [encoders[0].name]
    for one in defenders:
        found[one.label] = defender_protection(one.network), one.card.surrogates
    return found


def summarize(
    protected: Mapping[str, Protected],
    defenders: Sequence[LoadedDefender],
    chains: Sequence[Chain],
    matrix: Matrix,
    images: PhotoSet,
    budget: Budget,
    device: str,
) -> RobustnessResult:
    """All that was measured, with what it was measured on."""
    weights = {one.label: one.digest for one in defenders}
    return RobustnessResult(
        images=images,
        levels=budget.levels,
        device=device,
        protections={
            name: ProtectionRow(name in weights, one.rms_levels, one.psnr, list(one.trained_on),
                                weights.get(name, ""))
            for name, one in protected.items()
        },
        steps={chain.name: StepRow(chain.kind, chain.text) for chain in (Chain(()), *chains)},
        matrix=matrix,
    )  # fmt: skip


def protect(
    protection: Protection,
    images: Sequence[Tensor],
    budget: Budget,
    device: str | torch.device = "cpu",
    trained_on: Sequence[str] = (),
    on_image: Callable[[], None] = lambda: None,
) -> Protected:
    """Protect photos, and make noise of the same norm.

    Args:
        protection: what makes the perturbation.
        images: [1, 3, H, W] in [0, 1], of one size.
        budget: the bound.
        device: where the protection works.
        trained_on: names of encoders, for the record.
        on_image: called after each image.
    """
    protected, noisy, squares, decibels = [], [], [], []
    for number, image in enumerate(images):
        unit = protection(image.to(device)).to(image)
        result = budget.apply(image, unit).detach()
        saved = round_to_levels(result)
        squares.append((saved - image).square().mean().item())
        decibels.append(psnr(image, saved).item())
        protected.append(result)
        noisy.append(image + equal_noise(image, squares[-1] ** 0.5, number))
        on_image()
    return Protected(
        torch.cat(protected), torch.cat(noisy), 255 * float(np.mean(squares)) ** 0.5,
        float(np.mean(decibels)), tuple(trained_on),
    )  # fmt: skip


def protect_all(
    makers: Mapping[str, tuple[Protection, list[str]]],
    images: Sequence[Tensor],
    budget: Budget,
    device: str | torch.device,
    progress: Callable[[int, int], None],
) -> dict[str, Protected]:
    """:func:`protect` by everything that :func:`protections_of` gives."""
    done, found = 0, {}

    def on_image() -> None:
        nonlocal done
        done += 1
        progress(done, len(makers) * len(images))

    for name, (protection, trained_on) in makers.items():
        found[name] = protect(protection, images, budget, device, trained_on, on_image)
    return found


def equal_noise(image: Tensor, rms: float, seed: int) -> Tensor:
    """Gaussian noise that changes ``image`` by ``rms`` (on [0, 1]) once it is cut to [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(image.shape, generator=generator)
    scale = rms
    for _ in range(4):  # what is cut off at black and white is made up for elsewhere
        change = (image + scale * noise).clamp(0, 1) - image
        scale *= rms / max(change.square().mean().item() ** 0.5, 1e-9)
    return (image + scale * noise).clamp(0, 1) - image


def measure(
    protected: Mapping[str, Protected],
    images: Tensor,
    chains: Sequence[Chain],
    encoders: Sequence[Surrogate],
    *,
    batch: int = 8,
    device: str | torch.device = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Matrix:
    """Measure the matrix.

    Args:
        protected: by name.
        images: the clean photos, float32 [N, 3, H, W] in [0, 1], on the CPU.
        chains: what happens to the photos; the plain effect is always measured.
        encoders: on ``device``.
        batch: photos at a time.
        device: where chains and encoders work.
        progress: told after each chain of each batch.
    """
    plain = Chain(())
    wanted = [plain, *(chain for chain in chains if chain.name != plain.name)]
    effects: dict[tuple[str, str, str], list[np.ndarray]] = {}
    floors: dict[tuple[str, str, str], list[np.ndarray]] = {}
    alone: dict[tuple[str, str], list[np.ndarray]] = {}
    done = 0
    with torch.inference_mode():
        for start in range(0, len(images), batch):
            part = slice(start, start + batch)
            untouched = {e.name: e.encode(images[part].to(device)) for e in encoders}
            for chain in wanted:
                way = chain.states(images[part].to(device))[1:]
                ends = {
                    name: [chain.states(x[part].to(device))[-1] for x in (p.images, p.noisy)]
                    for name, p in protected.items()
                }
                for encoder in encoders:
                    # The photo itself is 8 bits already: rounding it first changes nothing.
                    near = [untouched[encoder.name], *(encoder.encode(state) for state in way)]
                    key = (encoder.name, chain.name)
                    alone.setdefault(key, []).append(
                        relative_shift(near[0], near[-1]).cpu().numpy()
                    )
                    for name, pair in ends.items():
                        for found, end in zip((effects, floors), pair, strict=True):
                            found.setdefault((name, *key), []).append(
                                _nearest(near, encoder.encode(end))
                            )
                done += 1
                progress(done, len(wanted) * -(-len(images) // batch))
    names = [chain.name for chain in wanted]
    matrix = Matrix()
    for encoder in encoders:
        matrix.alone[encoder.name] = {
            chain: float(np.concatenate(alone[encoder.name, chain]).mean()) for chain in names
        }
    for name in protected:
        matrix.cells[name] = {}
        for encoder in encoders:
            keys = [(name, encoder.name, chain) for chain in names]
            rows = [(np.concatenate(effects[k]), np.concatenate(floors[k])) for k in keys]
            matrix.cells[name][encoder.name] = {
                chain: cell(*row, *rows[0]) for chain, row in zip(names, rows, strict=True)
            }
    return matrix


def cell(effect: np.ndarray, floor: np.ndarray, plain: np.ndarray, plain_floor: np.ndarray) -> Cell:
    """Figures of one cell from the shifts of single images, [N] each."""
    whole = max(float(plain.mean()), 1e-12)
    own, own_plain = float(effect.mean() - floor.mean()), float(plain.mean() - plain_floor.mean())
    kept = ratio_over_images(effect, plain)
    return Cell(
        effect=float(effect.mean()),
        floor=float(floor.mean()),
        kept=100 * float(effect.mean()) / whole,
        low=100 * kept.low,
        high=100 * kept.high,
        floor_kept=100 * float(floor.mean()) / whole,
        above_floor=(
            100 * own / own_plain if plain.mean() > _MEANINGFUL * plain_floor.mean() else None
        ),
    )


def _nearest(references: Sequence[Tensor], latent: Tensor) -> np.ndarray:
    """Shift of each image from the nearest of its references, [B]."""
    shifts = torch.stack([relative_shift(reference, latent) for reference in references])
    found: np.ndarray = shifts.min(dim=0).values.cpu().numpy()
    return found
