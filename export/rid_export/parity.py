"""Hold an artefact's outputs against the float32 network's, and judge.

What is compared is ``delta``, the perturbation itself. An image hides everything: at 8 levels a
perturbation lost altogether still leaves 31 dB between the images.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rid_core.artifact import Check, Parity
from rid_core.budget import Budget
from rid_core.errors import RidError
from rid_core.fidelity import ErrorStatistics, compare
from rid_core.runtimes import ModelRuntime
from rid_export.diagnosis import explain_delta, explain_protected

_HIGH_IS_GOOD = frozenset(
    ("sqnr_db", "cosine", "sign_agreement", "retained_shift", "psnr_db", "ssim")
)


def worst_row(rows: Sequence[Mapping[str, float]], name: str) -> int:
    """Number of the image whose figure is the worst, of those that have it."""
    pick = min if name.removeprefix("delta_") in _HIGH_IS_GOOD else max
    return pick((i for i, row in enumerate(rows) if name in row), key=lambda i: rows[i][name])


def worst_of(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Each figure the worst over several images.

    Args:
        rows: figures of each image, ``delta_`` before their names or not; the first has them all.
    """
    return {name: rows[worst_row(rows, name)][name] for name in rows[0]}


def compare_worst(
    references: Iterable[np.ndarray], measured: Iterable[np.ndarray], visible: float = 0.0
) -> ErrorStatistics:
    """:func:`compare` image by image; each figure the worst over them."""
    found = [compare(*pair, visible) for pair in zip(references, measured, strict=True)]
    return ErrorStatistics(**worst_of([dataclasses.asdict(row) for row in found]))


@dataclass(frozen=True)
class Threshold:
    """A bound on one figure of :func:`measure`.

    Attributes:
        name: of the figure.
        sense: ``min`` or ``max``.
        bound: value that must be reached, or not exceeded.
    """

    name: str
    sense: str
    bound: float


FIDELITY = {
    "fp32": (
        Threshold("delta_sqnr_db", "min", 60),
        Threshold("delta_cosine", "min", 0.99999),
        Threshold("delta_sign_agreement", "min", 0.9999),
        Threshold("delta_max_error", "max", 0.01),
    ),
    "fp16": (
        Threshold("delta_sqnr_db", "min", 40),
        Threshold("delta_cosine", "min", 0.9999),
        Threshold("delta_sign_agreement", "min", 0.999),
    ),
    "w8": (Threshold("delta_sqnr_db", "min", 28), Threshold("delta_cosine", "min", 0.999)),
    "pal8": (Threshold("delta_sqnr_db", "min", 28), Threshold("delta_cosine", "min", 0.999)),
    "w8a16": (Threshold("delta_sqnr_db", "min", 28), Threshold("delta_cosine", "min", 0.999)),
    "int8": (
        Threshold("delta_sqnr_db", "min", 22),
        Threshold("delta_cosine", "min", 0.997),
        Threshold("delta_sign_agreement", "min", 0.97),
    ),
}
"""How faithful ``delta`` must be, by precision."""

RETAINED = {"fp32": 0.999, "fp16": 0.99, "w8": 0.97, "pal8": 0.97, "w8a16": 0.97, "int8": 0.97}
"""How much of the shift of a surrogate's latent must be left, if a surrogate is at hand."""

_OF_PROTECTED = frozenset(("change_levels", "protected_error_levels"))
"""Figures of ``protected``; all others are of ``delta``."""


def thresholds(precision: str, levels: int, *, rounded: bool) -> tuple[Threshold, ...]:
    """All bounds for one artefact: fidelity by precision, and the budget, which is hard.

    Args:
        precision: of the artefact.
        levels: its bound in 8-bit levels.
        rounded: whether ``protected`` comes back as an 8-bit image.
    """
    # Float rounding of image + eps * delta is some 1e-5 levels; an 8-bit image is off by a half.
    slack = 1e-3
    return (
        *FIDELITY[precision],
        Threshold("retained_shift", "min", RETAINED[precision]),
        Threshold("delta_peak", "max", 1 + 1e-6),
        Threshold("change_levels", "max", levels + slack),
        Threshold("protected_error_levels", "max", (0.5 if rounded else 0) + 0.01),
    )


@dataclass(frozen=True)
class Reference:
    """What the float32 network says.

    Attributes:
        portraits: float32 [H, W, 3] in [0, 1], the first at the working size; of a file that takes
            any size, H and W differ from one to another.
        deltas: its unit perturbation of each.
        predict: the network itself, for images that are not among them.
        levels: its bound.
        shift: how far a surrogate's latent moves when a perturbation is added to a portrait (see
            :mod:`rid_export.shift`); None if no surrogate is at hand.
    """

    portraits: Sequence[np.ndarray]
    deltas: Sequence[np.ndarray]
    predict: Callable[[np.ndarray], np.ndarray]
    levels: int
    shift: Callable[[np.ndarray, np.ndarray], float] | None = None

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of the portraits, each pair once, in order."""
        return tuple(dict.fromkeys((p.shape[0], p.shape[1]) for p in self.portraits))


def make_reference(
    predict: Callable[[np.ndarray], np.ndarray], portraits: Sequence[np.ndarray], levels: int
) -> Reference:
    """Run the float32 network on all portraits.

    Raises:
        RidError: its perturbation is not finite, or zero (an untrained network): nothing could be
            proved against it.
    """
    deltas = [predict(portrait) for portrait in portraits]
    if not all(np.isfinite(delta).all() for delta in deltas):
        raise RidError("the checkpoint's own perturbation is not finite; train it again")
    if max(float(np.abs(delta).max()) for delta in deltas) * levels < 0.5:
        raise RidError(
            "the checkpoint is untrained: its perturbation changes no pixel of the portrait; "
            "train it first (rid-train) or choose another with --checkpoint"
        )
    return Reference(portraits, deltas, predict, levels)


def measure(runner: ModelRuntime, reference: Reference, outputs: Iterable[str]) -> dict[str, float]:
    """All figures of one runtime, each the worst over the portraits.

    Raises:
        RidError: it cannot run a portrait, or an output is missing, has another shape, or holds NaN
            or infinity.
    """
    rows = _rows(runner, reference, outputs)
    return worst_of(rows)


def _rows(
    runner: ModelRuntime, reference: Reference, outputs: Iterable[str]
) -> list[dict[str, float]]:
    """The figures of each portrait; the first has them all."""
    budget = Budget(reference.levels)
    visible = 1 / reference.levels  # |delta| above one level
    names = sorted(outputs)  # delta first: protected only follows it
    rows: list[dict[str, float]] = []
    for portrait, truth in zip(reference.portraits, reference.deltas, strict=True):
        got = _run(runner, portrait)
        for name in names:
            _check_output(got, name, portrait.shape, runner.name)
        delta = got["delta"]
        found = compare(truth, delta, visible)
        row = {
            "delta_sqnr_db": found.sqnr_db,
            "delta_cosine": found.cosine,
            "delta_sign_agreement": found.sign_agreement,
            "delta_max_error": found.max_error,
            "delta_peak": float(np.abs(delta).max()),
        }
        # A surrogate is slow, and a claim about it is about the working size.
        if reference.shift is not None and portrait.shape == reference.portraits[0].shape:
            row["retained_shift"] = reference.shift(portrait, delta) / reference.shift(
                portrait, truth
            )
        if "protected" in got:
            change = got["protected"] - portrait
            wrong = got["protected"] - budget.apply(portrait, delta)
            row["change_levels"] = float(np.abs(change).max()) * 255
            row["protected_error_levels"] = float(np.abs(wrong).max()) * 255
        rows.append(row)
    return rows


def _run(runner: ModelRuntime, portrait: np.ndarray) -> dict[str, np.ndarray]:
    """What a runtime gives.

    Raises:
        RidError: one line of whatever it raises over a file that it opened and cannot run.
    """
    try:
        return runner.run(portrait)
    except RidError:
        raise
    except Exception as error:  # noqa: BLE001 - runtimes raise all kinds
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise RidError(
            f"{runner.name} cannot run it at {_size(portrait)}, so its metadata (sizes, types) are "
            f"not about this network, or it is damaged: {reason}"
        ) from None


def _size(portrait: np.ndarray) -> str:
    return f"{portrait.shape[0]} x {portrait.shape[1]} pixels"


def _check_output(
    got: dict[str, np.ndarray], name: str, shape: tuple[int, ...], runtime: str
) -> None:
    if name not in got:
        raise RidError(f"{runtime}: the output {name} is missing; there are {', '.join(got)}")
    if got[name].shape != shape:
        raise RidError(
            f"{runtime}: {name} has shape {list(got[name].shape)} instead of {list(shape)}; "
            "is the layout (NHWC, NCHW) the one the metadata states?"
        )
    broken = int((~np.isfinite(got[name])).sum())
    if broken:
        raise RidError(f"{runtime}: {name} holds NaN or infinity in {broken} places")


def gate(
    runner: ModelRuntime,
    reference: Reference,
    bounds: Sequence[Threshold],
    outputs: Iterable[str] = ("protected", "delta"),
) -> Parity:
    """Measure and judge.

    Raises:
        RidError: a figure breaks its bound; the text names the worst, and the likely cause.
    """
    rows = _rows(runner, reference, outputs)
    checks = tuple(
        Check(
            bound.name,
            _short(rows[worst_row(rows, bound.name)][bound.name]),
            bound.bound,
            bound.sense,
        )
        for bound in bounds
        if bound.name in rows[0]
    )
    failed = [check for check in checks if not check.passed]
    if failed:
        number = worst_row(rows, failed[0].name)
        where = f" at {_size(reference.portraits[number])}" if len(reference.sizes) > 1 else ""
        cause = _cause(runner, reference, rows, number, failed)
        raise RidError(f"{runner.name}: {_complaint(failed)}{where}: {cause}")
    return Parity(runner.name, len(reference.portraits), checks)


def _short(value: float) -> float:
    """Seven digits are enough for a report, and keep the metadata short."""
    return float(f"{value:.7g}")


def _complaint(failed: Sequence[Check]) -> str:
    words = {"min": "at least", "max": "at most"}
    parts = (f"{c.name} is {c.value:.6g}, {words[c.sense]} {c.bound:g} needed" for c in failed[:3])
    return "; ".join(parts)


def _cause(
    runner: ModelRuntime,
    reference: Reference,
    rows: Sequence[dict[str, float]],
    number: int,
    failed: Sequence[Check],
) -> str:
    """Explain the failure on the portrait where it is worst, whose number is given."""
    portrait, truth = reference.portraits[number], reference.deltas[number]
    working = reference.portraits[0]
    if portrait.shape != working.shape and all(
        dataclasses.replace(check, value=row[check.name]).passed
        for check in failed
        for row, each in zip(rows, reference.portraits, strict=True)
        if each.shape == working.shape
    ):
        return f"at {_size(working)} it agrees: is a size baked into its graph?"
    got = runner.run(portrait)
    if all(check.name in _OF_PROTECTED for check in failed):
        return explain_protected(portrait, got["delta"], got["protected"], reference.levels)
    return explain_delta(portrait, truth, got["delta"], reference.predict)
