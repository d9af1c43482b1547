"""Figures of a quantized network against its float form, for converters that choose by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from rid_export.parity import FIDELITY, compare


def least_figures(precision: str) -> dict[str, float]:
    """What each figure must reach at this precision."""
    return {t.name: t.bound for t in FIDELITY[precision] if t.sense == "min"}


def judge(
    predict: Callable[[np.ndarray], np.ndarray],
    images: Sequence[np.ndarray],
    truth: Sequence[np.ndarray],
    levels: int,
) -> Mapping[str, float]:
    """The gate's figures of ``delta``, each the worst over the images.

    Args:
        predict: image [H, W, 3] -> unit perturbation, of the quantized network.
        images: float32 [H, W, 3] in [0, 1].
        truth: what the float network predicts for them.
        levels: the bound in 8-bit levels; one level is what counts as visible.
    """
    found = [
        compare(wanted, predict(image), 1 / levels)
        for image, wanted in zip(images, truth, strict=True)
    ]
    return {
        "delta_sqnr_db": min(row.sqnr_db for row in found),
        "delta_cosine": min(row.cosine for row in found),
        "delta_sign_agreement": min(row.sign_agreement for row in found),
    }
