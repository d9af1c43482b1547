"""Figures of a quantized network against its float form, for converters that choose by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from rid_export.parity import FIDELITY, compare_worst


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
    worst = compare_worst(truth, map(predict, images), 1 / levels)
    return {
        "delta_sqnr_db": worst.sqnr_db,
        "delta_cosine": worst.cosine,
        "delta_sign_agreement": worst.sign_agreement,
    }
