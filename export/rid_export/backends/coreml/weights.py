"""Compressed weights: 8-bit linear, and palettes.

Only the weights of layers are compressed, not constants that are added: those are small, and what
is added to every pixel should be exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from rid_export.backends.coreml.graph import quiet

if TYPE_CHECKING:
    from numpy.typing import NDArray

LAYERS = ("conv", "linear")
_STEPS = 40


def _settings(operation: Any, spared: Iterable[str]) -> Any:
    from coremltools.optimize import coreml as optimize

    return optimize.OptimizationConfig(
        op_type_configs=dict.fromkeys(LAYERS, operation),
        op_name_configs=dict.fromkeys(spared),
    )


def linear_weights(model: Any, spared: Iterable[str] = ()) -> Any:
    """Weights to 8 bits: symmetric, one scale per output channel.

    They are written as uint8 around 127, the same numbers as int8 around 0: users have seen Core
    ML misread signed weights on GPU and Neural Engine (apple/coremltools#2114, #2675).

    Args:
        model: a float ``MLModel``.
        spared: names of operations whose weights stay as they are.
    """
    from coremltools.optimize import coreml as optimize

    operation = optimize.OpLinearQuantizerConfig(
        mode="linear_symmetric", dtype="uint8", weight_threshold=0
    )
    with quiet():
        return optimize.linear_quantize_weights(model, _settings(operation, spared))


def palettized_weights(model: Any, spared: Iterable[str] = (), bits: int = 8) -> Any:
    """Weights as indices into a palette of ``2**bits`` values per layer.

    Args:
        model: a float ``MLModel``.
        spared: names of operations whose weights stay as they are.
        bits: 1, 2, 4, 6 or 8.
    """
    from coremltools.optimize import coreml as optimize

    operation = optimize.OpPalettizerConfig(
        mode="custom", lut_function=lambda weight: palette(weight, bits), weight_threshold=0
    )
    with quiet():
        return optimize.palettize_weights(model, _settings(operation, spared))


def palette(
    weight: NDArray[np.floating[Any]], bits: int
) -> tuple[NDArray[np.floating[Any]], NDArray[np.uint8]]:
    """The palette of least square error, and the index of every weight.

    Lloyd's algorithm in one dimension (Lloyd 1982, "Least squares quantization in PCM"): on sorted
    values a cluster is a slice, so that its mean is a difference of running sums. It starts half
    from an even grid, which serves the few large weights, and half from quantiles, which serve the
    many small ones. coremltools' own k-means would need scikit-learn.

    Args:
        weight: any shape.
        bits: of an index.

    Returns:
        ``2**bits`` values in rising order, of the weight's type, and uint8 indices, flat.
    """
    values = np.sort(weight.reshape(-1).astype(np.float64))
    size = 2**bits
    grid = np.linspace(values[0], values[-1], size - size // 2)
    quantiles = np.quantile(values, (np.arange(size // 2) + 0.5) / (size // 2))
    centres = np.sort(np.concatenate([grid, quantiles]))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    for _ in range(_STEPS):
        cuts = np.searchsorted(values, (centres[1:] + centres[:-1]) / 2)
        edges = np.concatenate([[0], cuts, [values.size]])
        counts = np.diff(edges)
        means = np.diff(sums[edges]) / np.maximum(counts, 1)
        moved = np.sort(np.where(counts > 0, means, centres))
        if np.array_equal(moved, centres):
            break
        centres = moved
    entries = centres.astype(weight.dtype)
    steps = entries.astype(np.float64)
    indices = np.searchsorted((steps[1:] + steps[:-1]) / 2, weight.reshape(-1).astype(np.float64))
    return entries, indices.astype(np.uint8)
