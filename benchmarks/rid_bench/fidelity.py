"""Artefacts against the float32 reference, photo by photo: the perturbation, and what it does."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rid_bench.artefacts import Artefact
from rid_bench.portable.board import judge
from rid_bench.reference import Reference, find
from rid_bench.results import Row
from rid_core.budget import Budget, verify
from rid_core.errors import RidError
from rid_export.parity import FIDELITY, SQNR_LIMIT, compare, worst_of

if TYPE_CHECKING:
    import torch

    from rid_core.surrogates import Surrogate

    Encode = Callable[[np.ndarray], torch.Tensor]


def measure(
    artefacts: Sequence[Artefact],
    references: Sequence[Reference],
    surrogate: Surrogate | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> list[Row]:
    """One row per artefact.

    Args:
        artefacts: what to hold against the references.
        references: one per checkpoint.
        surrogate: to measure how much of the latent shift is retained; nothing if None.
        notify: called with a line per artefact.

    Returns:
        Rows with ``images`` (figures of each photo), ``worst`` and ``mean`` (over the photos),
        ``gate`` (what breaks the export gate's bounds, or None) and ``error`` (why it could not be
        run here, or None).

    Raises:
        RidError: an artefact of other weights than the references, or of another size.
    """
    pairs = [(artefact, find(artefact, references)) for artefact in artefacts]
    encode = encoder(surrogate) if surrogate else None
    rows = []
    for artefact, reference in pairs:
        notify(f"running {artefact.path.name}")
        row: Row = artefact.labels() | {
            "error": None,
            "gate": None,
            "reference": reference.device,
            "floor": reference.floor,
            "images": [],
        }
        rows.append(row)
        try:
            _fill(row, artefact, reference, encode)
        except RidError as error:
            row["error"] = str(error)
            continue
        bounds = [dataclasses.asdict(bound) for bound in FIDELITY[artefact.metadata.precision]]
        row["gate"] = judge(row, bounds)
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


def _fill(row: Row, artefact: Artefact, reference: Reference, encode: Encode | None) -> None:
    from rid_core.output import suppress_output
    from rid_export.loading import load_any

    with suppress_output():
        runner = load_any(artefact.path).runner
    row["runtime"] = runner.name
    for name, image, truth in zip(reference.names, reference.images, reference.deltas, strict=True):
        delta = runner.run(image.astype(np.float32) / np.float32(255))["delta"]
        if not np.isfinite(delta).all():
            raise RidError(f"{artefact.path}: its perturbation is not finite")
        figures = image_figures(image, truth, delta, reference.levels, encode)
        row["images"].append({"photo": name} | figures)
    names = [key for key in row["images"][0] if key != "photo"]
    row["worst"] = worst_of([{key: image[key] for key in names} for image in row["images"]])
    row["mean"] = {key: float(np.mean([i[key] for i in row["images"]])) for key in names}


def image_figures(
    image: np.ndarray,
    truth: np.ndarray,
    delta: np.ndarray,
    levels: int,
    encode: Encode | None = None,
) -> dict[str, float]:
    """Figures of one photo.

    Args:
        image: uint8 RGB [H, W, 3].
        truth: the reference's unit perturbation, float32 [H, W, 3].
        delta: the artefact's.
        levels: the bound.
        encode: gives the surrogate's latent of an 8-bit picture; no shift is measured if None.

    Returns:
        Statistics of delta against the reference's; ``psnr_db`` and ``ssim`` of the protected photo
        against the one the reference gives, in 8 bits (200 dB for equal); ``photo_psnr_db`` and
        ``photo_ssim`` of it against the photo itself, which says how visible it is;
        ``change_levels``, at most the bound; ``retained_shift``, the shift of the surrogate's
        latent as a share of the reference's.
    """
    budget = Budget(levels)
    wanted, got = budget.apply_uint8(image, truth), budget.apply_uint8(image, delta)
    figures = dataclasses.asdict(compare(truth, delta, 1 / levels))
    against_photo = verify(image, got, levels)
    figures |= {
        "psnr_db": min(verify(wanted, got, 255).psnr, SQNR_LIMIT),
        "ssim": ssim(wanted, got),
        "photo_psnr_db": min(against_photo.psnr, SQNR_LIMIT),
        "photo_ssim": ssim(image, got),
        "change_levels": float(against_photo.max_levels),
    }
    if encode is not None:
        figures["retained_shift"] = _retained(encode(image), encode(wanted), encode(got))
    return figures


def ssim(one: np.ndarray, other: np.ndarray) -> float:
    """Structural similarity of two 8-bit images (Wang et al. 2004, 11 x 11 Gaussian window)."""
    from kornia.metrics import ssim as similarity

    found = similarity(_batch(one), _batch(other), window_size=11, padding="valid")
    return float(found.mean().item())


def _batch(image: np.ndarray) -> Any:
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
