"""Artefacts against the float32 reference, photo by photo: the perturbation, and what it does."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rid_bench.artefacts import Artefact
from rid_bench.portable.records import Bound, Fidelity, Figures, judge
from rid_bench.reference import Reference, find
from rid_core.budget import Budget, verify
from rid_core.errors import RidError
from rid_core.fidelity import SQNR_LIMIT, compare
from rid_export.parity import FIDELITY, worst_of

if TYPE_CHECKING:
    import torch

    from rid_core.surrogates import Surrogate

    Encode = Callable[[np.ndarray], torch.Tensor]


def measure(
    artefacts: Sequence[Artefact],
    references: Sequence[Reference],
    surrogate: Surrogate | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> list[Fidelity]:
    """One row per artefact.

    Args:
        artefacts: what to hold against the references.
        references: one per checkpoint.
        surrogate: to measure how much of the latent shift is retained; nothing if None.
        notify: called with a line per artefact.

    Raises:
        RidError: an artefact of other weights than the references, or of another size.
    """
    pairs = [(artefact, find(artefact, references)) for artefact in artefacts]
    encode = encoder(surrogate) if surrogate else None
    rows = []
    for artefact, reference in pairs:
        notify(f"running {artefact.path.name}")
        row = Fidelity(**vars(artefact.labels()), reference=reference.device, floor=reference.floor)
        try:
            row = _filled(row, artefact, reference, encode)
        except RidError as error:
            row = replace(row, error=str(error))
        rows.append(row)
    return rows


def encoder(surrogate: Surrogate) -> Encode:
    """An encoder that remembers: photos and what the reference makes of them come once per file."""
    import torch

    known: dict[bytes, torch.Tensor] = {}

    def encode(picture: np.ndarray) -> torch.Tensor:
        key = hashlib.sha256(picture.tobytes()).digest()
        if key not in known:
            with torch.inference_mode():
                known[key] = surrogate.encode(_batch(picture))
        return known[key]

    return encode


def _filled(
    row: Fidelity, artefact: Artefact, reference: Reference, encode: Encode | None
) -> Fidelity:
    from rid_core.output import suppress_output
    from rid_export.loading import load_any

    with suppress_output():
        runtime = load_any(artefact.path).runner
    images = []
    for name, image, truth in zip(reference.names, reference.images, reference.deltas, strict=True):
        delta = runtime.run(image)["delta"]
        if not np.isfinite(delta).all():
            raise RidError(f"{artefact.path}: its perturbation is not finite")
        images.append(image_figures(image, truth, delta, reference.levels, encode, name))
    numbers = [image.numbers() for image in images]
    bounds = [Bound(**vars(bound)) for bound in FIDELITY[artefact.metadata.precision]]
    return replace(
        row,
        runtime=runtime.name,
        images=tuple(images),
        worst=Figures.of(worst_of(numbers)),
        mean=Figures.of({n: float(np.mean([row[n] for row in numbers])) for n in numbers[0]}),
        gate=judge(images, bounds),
    )


def image_figures(
    image: np.ndarray,
    truth: np.ndarray,
    delta: np.ndarray,
    levels: int,
    encode: Encode | None = None,
    name: str = "",
) -> Figures:
    """Figures of one photo.

    Args:
        image: uint8 RGB [H, W, 3].
        truth: the reference's unit perturbation, float32 [H, W, 3].
        delta: the artefact's.
        levels: the bound.
        encode: gives the surrogate's latent of an 8-bit picture; no shift is measured if None.
        name: of the photo.
    """
    budget = Budget(levels)
    wanted, got = budget.apply_uint8(image, truth), budget.apply_uint8(image, delta)
    against_photo = verify(image, got, levels)
    return Figures(
        **vars(compare(truth, delta, 1 / levels)),
        photo=name,
        psnr_db=min(verify(wanted, got, 255).psnr, SQNR_LIMIT),
        ssim=ssim(wanted, got),
        photo_psnr_db=min(against_photo.psnr, SQNR_LIMIT),
        photo_ssim=ssim(image, got),
        change_levels=float(against_photo.max_levels),
        retained_shift=(
            _retained(encode(image), encode(wanted), encode(got)) if encode is not None else None
        ),
    )


def ssim(one: np.ndarray, other: np.ndarray) -> float:
    """Structural similarity of two 8-bit images (Wang et al. 2004, 11 x 11 Gaussian window)."""
    from kornia.metrics import ssim as similarity

    found = similarity(_batch(one), _batch(other), window_size=11, padding="valid")
    return float(found.mean().item())


def _batch(image: np.ndarray) -> torch.Tensor:
    import torch

    return torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None]


def _retained(clean: torch.Tensor, wanted: torch.Tensor, got: torch.Tensor) -> float:
    from rid_core.surrogates import relative_shift

    full = relative_shift(clean, wanted).item()
    return float(relative_shift(clean, got).item() / max(full, 1e-12))


def open_surrogate(path: str | Path) -> Surrogate:
    """The encoder of a tiny autoencoder (see ``docs/training.md``).

    Raises:
        RidError: missing or unfit file.
    """
    from rid_core.surrogates import load_surrogate

    return load_surrogate("tiny-autoencoder", path=path)
