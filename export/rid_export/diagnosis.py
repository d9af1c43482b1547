"""Why does an artefact disagree? Try the usual mistakes on the reference and see which one fits."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from rid_core.budget import Budget
from rid_core.errors import RidError

Array = np.ndarray
Change = Callable[[Array], Array]

_FITS_DB = 20.0
"""A mistake is named if it explains the output at least this well, and 6 dB better than none."""

_FITS_ROUNDED_DB = 14.0
"""The same for an image of 8 bits, whose rounding is a large share of a small change."""

_TO_PLANES = "axes are mixed: planes (NCHW) are read as pixels (NHWC)"
_TO_PIXELS = "axes are mixed: pixels (NHWC) are read as planes (NCHW)"


def _as_planes(x: Array) -> Array:
    return x.transpose(2, 0, 1).reshape(x.shape)


def _as_pixels(x: Array) -> Array:
    height, width, colours = x.shape
    return x.reshape(colours, height, width).transpose(1, 2, 0)


def _same(x: Array) -> Array:
    return x


def _swapped(x: Array) -> Array:
    return x[..., ::-1]


def _transposed(x: Array) -> Array:
    return x.transpose(1, 0, 2)


def _blurred(x: Array) -> Array:
    """The mean over 3 x 3 pixels."""
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    mean: Array = (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9
    return mean


_MISTAKES: tuple[tuple[str, Change, Change], ...] = (
    # what it is, what it does to the input, what it does to the output
    ("red and blue are swapped in the output", _same, _swapped),
    ("red and blue are swapped in the input", _swapped, _same),
    ("red and blue are swapped, in input and output", _swapped, _swapped),
    ("the sign of delta is reversed", _same, lambda x: -x),
    ("height and width are swapped in the output", _same, _transposed),
    ("height and width are swapped, in input and output", _transposed, _transposed),
    (f"{_TO_PLANES}, in the output", _same, _as_planes),
    (f"{_TO_PIXELS}, in the output", _same, _as_pixels),
    (f"{_TO_PLANES}, in the input", _as_planes, _same),
    (f"{_TO_PIXELS}, in the input", _as_pixels, _same),
    ("the output is mirrored", _same, lambda x: x[:, ::-1]),
    ("the output is upside down", _same, lambda x: x[::-1]),
    ("the output is rotated by 90 degrees", _same, lambda x: np.rot90(x)),
    ("the output is rotated by 180 degrees", _same, lambda x: np.rot90(x, 2)),
    ("the output is rotated by 270 degrees", _same, lambda x: np.rot90(x, 3)),
    ("the output is blurred", _same, _blurred),
    ("the network sees 0..255 instead of 0..1", lambda x: x * 255, _same),
    ("the network sees 0..1 divided by 255 once more", lambda x: x / 255, _same),
    ("the network sees -1..1 instead of 0..1", lambda x: x * 2 - 1, _same),
    ("the network sees linear light instead of sRGB (gamma)", lambda x: x**2.2, _same),
    ("the network sees a gamma of 2.2 applied once more", lambda x: x ** (1 / 2.2), _same),
    ("the network sees an inverted image", lambda x: 1 - x, _same),
    ("tanh is applied twice", _same, np.tanh),
)


def _sqnr(reference: Array, measured: Array) -> float:
    error = float(np.square(measured - reference, dtype=np.float64).mean())
    signal = float(np.square(reference, dtype=np.float64).mean())
    return 10 * float(np.log10((signal + 1e-30) / (error + 1e-30)))


def _candidates(
    portrait: Array, truth: Array, predict: Callable[[Array], Array]
) -> Iterator[tuple[str, Array]]:
    for text, before, after in _MISTAKES:
        try:
            if before is _same:
                unit = truth
            else:
                unit = predict(np.ascontiguousarray(before(portrait), dtype=np.float32))
            guess = after(unit)
        except (RidError, ValueError):  # a mistake that this size or network cannot make
            continue
        if guess.shape == truth.shape:  # not a quarter turn of an oblong
            yield text, guess


def explain_delta(
    portrait: Array, truth: Array, delta: Array, predict: Callable[[Array], Array]
) -> str:
    """Name what would turn ``truth`` into ``delta``, in a few words that point the right way.

    Args:
        portrait: float32 [H, W, 3] in [0, 1].
        truth: unit perturbation of the float32 network.
        delta: what the artefact gave.
        predict: the float32 network.
    """
    if not delta.any():
        return "delta is zero everywhere: its last layer or its scale is lost"
    if float(np.ptp(delta)) < 1e-6:
        return "delta is the same everywhere: the network's input is not connected"
    if _sqnr(portrait, delta) > _FITS_DB:
        return "delta holds protected: the outputs are swapped"
    plain = _sqnr(truth, delta)
    ranked = sorted(
        ((_sqnr(guess, delta), text) for text, guess in _candidates(portrait, truth, predict)),
        reverse=True,
    )
    best, text = ranked[0]
    if best >= max(_FITS_DB, plain + 6):
        return text
    free = np.abs(delta) < 0.999  # undoing a tanh is exact where nothing was clamped
    if free.any() and _sqnr(truth[free], np.tanh(delta[free])) >= max(2 * _FITS_DB, plain + 6):
        return "tanh at the end is missing, or a clamp stands in its place"
    top = float(np.abs(delta).max())
    if top < 0.98 and _sqnr(truth.clip(-top, top), delta) >= max(2 * _FITS_DB, plain + 6):
        return f"delta is clipped at {top:.3g} instead of 1"
    gain = float((truth * delta).sum() / np.square(truth).sum())
    fitted = _sqnr(truth * gain, delta)
    if fitted >= max(_FITS_DB, plain + 6):
        return f"delta is scaled by {gain:.4g} (is eps multiplied into it, or a scale wrong?)"
    errors = np.abs(delta - truth)
    by_colour = errors.mean(axis=(0, 1))
    if by_colour.max() > 20 * (np.sort(by_colour)[1] + 1e-9):
        return f"only the {('red', 'green', 'blue')[int(by_colour.argmax())]} channel is wrong"
    if (np.abs(delta) >= 0.999).mean() > 2 * (np.abs(truth) >= 0.999).mean() + 0.05:
        return "delta saturates at its bounds: a scale or a layer before tanh is wrong"
    return (
        "none of the usual mistakes explains it: the weights differ from the checkpoint's, a layer "
        "is missing, or the precision is too low for it"
    )


def explain_protected(portrait: Array, delta: Array, protected: Array, levels: int) -> str:
    """Name what is wrong with ``protected`` when ``delta`` is right.

    Args:
        portrait: float32 [H, W, 3] in [0, 1].
        delta: the artefact's unit perturbation.
        protected: the artefact's image.
        levels: the bound.
    """
    budget = Budget(levels)
    if float(np.abs(protected).max()) > 1.5:
        return "protected is not in 0..1: a factor (255?) is left in the graph"
    if float(protected.max()) < 1.5 / 255 < 0.1 < float(portrait.max()):
        return "protected is black: the factor 255 of an image type is missing"
    change = protected - portrait
    if not change.any():
        return "protected is the image itself: delta is not added"
    if np.array_equal(protected, delta) or _sqnr(delta, protected) > _FITS_DB:
        return "protected holds delta: the outputs are swapped"
    if _sqnr(budget.apply(_swapped(portrait), delta), protected) > 40:
        return "protected has red and blue swapped"
    step = delta * budget.eps
    reach = 4 * np.abs(step)
    free = (portrait - reach > 0) & (portrait + reach < 1)
    gain = float((change * step)[free].sum() / (np.square(step)[free].sum() + 1e-30))
    if abs(gain - 1) > 0.01 and _sqnr((step * gain)[free], change[free]) > _FITS_ROUNDED_DB:
        return f"protected adds {gain:.3g} times eps: the graph was made for another bound"
    outside = (protected < 0) | (protected > 1)
    if outside.any():
        return "protected leaves 0..1: the clamp at the end is missing"
    return "protected is not clamp(image + eps * delta, 0, 1)"
