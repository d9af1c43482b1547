"""How far an array is from its reference: statistics of the export gate and of the benchmark.

Packed into bundles for boards: numpy and Python 3.9 are enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SQNR_LIMIT = 200.0
"""dB; stands for "equal", since JSON has no infinity."""


@dataclass(frozen=True)
class ErrorStatistics:
    """How far one array is from its reference.

    Attributes:
        sqnr_db: signal-to-quantization-noise ratio, ``10 log10(sum ref^2 / sum err^2)``, in dB, at
            most :data:`SQNR_LIMIT`.
        cosine: of the angle between the two arrays as vectors; 1 for equal direction.
        sign_agreement: share of equal signs among values whose reference is visible (see
            :func:`compare`); 1 if there are none.
        max_error: largest absolute error, in the unit of the arrays.
        rms_error: root mean square of the error.
    """

    sqnr_db: float
    cosine: float
    sign_agreement: float
    max_error: float
    rms_error: float


def compare(reference: np.ndarray, measured: np.ndarray, visible: float = 0.0) -> ErrorStatistics:
    """Statistics of ``measured`` against ``reference``.

    Args:
        reference: float, any shape.
        measured: same shape.
        visible: signs count where ``|reference|`` is above this.
    """
    ref = reference.astype(np.float64).ravel()
    got = measured.astype(np.float64).ravel()
    error = got - ref
    signal, noise = float(ref @ ref), float(error @ error)
    floor = signal * 10 ** (-SQNR_LIMIT / 10)
    sqnr = 10 * float(np.log10(signal / max(noise, floor))) if signal else -SQNR_LIMIT
    length = float(np.sqrt(signal * (got @ got)))
    seen = np.abs(ref) > visible
    agree = float((np.sign(got[seen]) == np.sign(ref[seen])).mean()) if seen.any() else 1.0
    return ErrorStatistics(
        sqnr_db=max(sqnr, -SQNR_LIMIT),
        cosine=float(ref @ got) / length if length else 0.0,
        sign_agreement=agree,
        max_error=float(np.abs(error).max(initial=0)),
        rms_error=float(np.sqrt(noise / max(ref.size, 1))),
    )
