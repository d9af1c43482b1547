"""Pictures for the report, without any plotting library: JPEG data URIs and inline SVG."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np

_QUALITY = 88
# Dark to bright, so that a stronger error is a brighter one in print and to any eye.
_RAMP = np.array(
    [(6, 4, 24), (66, 16, 104), (150, 38, 103), (220, 80, 57), (251, 160, 30), (252, 250, 170)],
    dtype=np.float64,
)
LOW, HIGH = -6.0, 1.0
"""Range of the error scales: powers of ten, in 8-bit levels."""
_BINS = 70
_BASE = 72


def data_uri(pixels: np.ndarray, side: int | None = None) -> str:
    """A JPEG data URI of uint8 RGB [H, W, 3], scaled down to ``side`` pixels if it is larger."""
    from PIL import Image

    image = Image.fromarray(pixels)
    if side is not None and max(image.size) > side:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def to_pixels(image: np.ndarray) -> np.ndarray:
    """Float RGB in [0, 1] to uint8."""
    levels: np.ndarray = np.rint(image.clip(0, 1) * 255).astype(np.uint8)
    return levels


def amplified(delta: np.ndarray) -> np.ndarray:
    """A unit perturbation as a picture: grey is no change, white and black are the bound."""
    return to_pixels(0.5 + 0.5 * delta)


def error_levels(truth: np.ndarray, delta: np.ndarray, levels: int) -> np.ndarray:
    """Absolute error of a unit perturbation, in 8-bit levels."""
    error: np.ndarray = np.abs(delta.astype(np.float64) - truth) * levels
    return error


def error_map(error: np.ndarray) -> np.ndarray:
    """Errors [H, W, 3] in levels as colours, on a logarithmic scale from LOW to HIGH."""
    strongest = error.max(axis=2)
    position = (np.log10(np.maximum(strongest, 10**LOW)) - LOW) / (HIGH - LOW)
    return ramp(position)


def ramp(position: np.ndarray) -> np.ndarray:
    """Positions in [0, 1] to uint8 colours of the ramp."""
    place = position.clip(0, 1) * (len(_RAMP) - 1)
    index = np.minimum(place.astype(int), len(_RAMP) - 2)
    share = (place - index)[..., None]
    colours: np.ndarray = _RAMP[index] * (1 - share) + _RAMP[index + 1] * share
    levels: np.ndarray = np.rint(colours).astype(np.uint8)
    return levels


def colour_bar() -> str:
    """The ramp with its decades, as SVG."""
    strip = data_uri(np.tile(ramp(np.linspace(0, 1, 256)), (8, 1, 1)))
    labels = "".join(
        f'<text x="{_x(decade):.1f}" y="30" text-anchor="{_anchor(decade)}">{_power(decade)}</text>'
        for decade in range(int(LOW), int(HIGH) + 1)
    )
    return (
        '<svg class="bar" viewBox="0 0 640 36" role="img" aria-label="colours of errors in levels">'
        f'<image href="{strip}" x="20" y="2" width="600" height="12" preserveAspectRatio="none"/>'
        f"{labels}</svg>"
    )


def histogram(error: np.ndarray, label: str) -> str:
    """Distribution of errors in levels over the scale from LOW to HIGH, as SVG.

    Where a network reaches its bound there is no error at all. That first bar is cut off, if it
    would leave nothing to see of the others.
    """
    tops, edges = np.histogram(
        np.log10(error.clip(10**LOW, 10**HIGH)), bins=_BINS, range=(LOW, HIGH)
    )
    peak = int(tops[1:].max()) or int(tops[0])
    share = (tops / max(peak, 1)).clip(max=1)
    width = 300 / _BINS - 0.6
    bars = "".join(
        f'<rect x="{_x(left) / 2:.1f}" y="{_BASE * (1 - part):.1f}" width="{width:.1f}" '
        f'height="{_BASE * part:.1f}"/>'
        for left, part in zip(edges, share, strict=False)
        if part > 0.004
    )
    ticks = "".join(
        f'<line x1="{_x(d) / 2:.1f}" y1="{_BASE}" x2="{_x(d) / 2:.1f}" y2="{_BASE + 4}"/>'
        for d in range(int(LOW), int(HIGH) + 1)
    )
    names = "".join(
        f'<text x="{_x(d) / 2:.1f}" y="{_BASE + 19}" text-anchor="{_anchor(d)}">{_power(d)}</text>'
        for d in range(int(LOW), int(HIGH), 2)
    )
    half = _x(float(np.log10(0.5))) / 2
    return (
        f'<svg class="histogram" viewBox="0 0 320 {_BASE + 24}" role="img" aria-label="{label}">'
        f'<line class="half" x1="{half:.1f}" y1="0" x2="{half:.1f}" y2="{_BASE}"/>'
        f'{bars}<line x1="10" y1="{_BASE}" x2="310" y2="{_BASE}"/>{ticks}{names}</svg>'
    )


def quantiles(error: np.ndarray, shares: Sequence[float] = (0.5, 0.99, 1.0)) -> tuple[float, ...]:
    """Quantiles of the errors, in levels."""
    return tuple(float(value) for value in np.quantile(error, shares))


def _x(decade: float) -> float:
    return 20 + 600 * (decade - LOW) / (HIGH - LOW)


def _anchor(decade: int) -> str:
    return "start" if decade == LOW else "end" if decade == HIGH else "middle"


def _power(decade: int) -> str:
    """A power of ten as people read it, the ends of the scale with what lies beyond."""
    text = f"{10.0**decade:g}" if decade > -4 else f"1e{decade}"
    return f"≤ {text}" if decade == LOW else f"≥ {text}" if decade == HIGH else text
