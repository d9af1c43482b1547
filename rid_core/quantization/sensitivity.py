"""What rounding a single tensor costs at the end of the network, and which layers are worth float.

The signal-to-noise ratio of a layer's own output does not tell how much of its noise arrives: here
one tensor at a time is rounded to 8 bits, and ``delta`` is compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rid_core.defenders import Defender
from rid_core.quantization.grids import Grids, window
from rid_core.quantization.rounding import Rounding

_PORTRAITS = 4
_OVERHEAD = 0.02
"""What it costs to keep a layer in float, however small, as a share of all multiply-adds."""
MOST_IN_FLOAT = 0.75
"""Share of the multiply-adds. With more the file would no longer be what was asked for."""


@dataclass(frozen=True)
class Sensitivity:
    """What rounding costs, and what float costs.

    Attributes:
        noise: noise-to-signal ratio (power) of ``delta`` if one tensor is rounded; tensors have the
            names of :mod:`rid_core.quantization.rounding`.
        sources: name of the tensor that each layer reads, by the layer's name.
        products: multiply-adds of each layer.
    """

    noise: Mapping[str, float]
    sources: Mapping[str, str]
    products: Mapping[str, int]


def sensitivity(
    defender: Defender, calibrated: Grids, portraits: Sequence[np.ndarray]
) -> Sensitivity:
    """Round one tensor at a time.

    Args:
        defender: any, lowered and folded or not.
        calibrated: its grids.
        portraits: uint8 [H, W, 3] to measure on; four of them are used.
    """
    step = max(len(portraits) // _PORTRAITS, 1)
    images = [window(image, defender.stride) for image in portraits[::step]][:_PORTRAITS]
    noise = {}
    with torch.inference_mode():
        truth = [defender(image) for image in images]
        for name, grid in calibrated.grids.items():
            worst = 0.0
            for image, wanted in zip(images, truth, strict=True):
                with Rounding(defender, {name: grid}, weights=False):
                    error = defender(image) - wanted
                worst = max(worst, float(error.square().mean() / wanted.square().mean()))
            noise[name] = worst
    return Sensitivity(noise, calibrated.sources, calibrated.products)


def float_order(measured: Sensitivity, floats: frozenset[str] = frozenset()) -> list[str]:
    """In which order layers should be kept in float, the most worth first.

    What a layer gives is rounded unless it and all layers that read it are in float; what else a
    layer reads is rounded unless all of its readers are. So a layer is tried alone and together
    with those beside it, and what takes away most noise per multiply-add comes first.

    Args:
        measured: of :func:`sensitivity`.
        floats: layers that are in float anyway.

    Returns:
        Layers which, with ``floats``, have at most :data:`MOST_IN_FLOAT` of the multiply-adds.
    """
    total = sum(measured.products.values())
    readers: dict[str, set[str]] = {}
    for layer, source in measured.sources.items():
        readers.setdefault(source, set()).add(layer)

    def noise(kept: frozenset[str]) -> float:
        return sum(
            value
            for name, value in measured.noise.items()
            if not readers.get(name, set()) <= kept
            or (name in measured.products and name not in kept)
        )

    groups = {frozenset((layer,)) for layer in measured.products}
    for name, found in readers.items():
        groups.add(frozenset(found | ({name} & measured.products.keys())))

    def cost(layers: frozenset[str]) -> float:
        return sum(measured.products[name] + _OVERHEAD * total for name in layers)

    order: list[str] = []
    kept = floats & measured.products.keys()
    while True:
        left = noise(kept)
        worth = {
            tuple(sorted(group - kept)): (left - noise(kept | group)) / cost(group - kept)
            for group in groups
            if group - kept
        }
        if not worth or max(worth.values()) <= 0:
            return order
        best = max(sorted(worth), key=lambda group: worth[group])
        kept |= frozenset(best)
        if sum(measured.products[name] for name in kept) > MOST_IN_FLOAT * total:
            return order
        order += best
