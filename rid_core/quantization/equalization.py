"""Make the channels of a network's activations alike, so that one scale of 256 steps fits them all.

In a network of convolutions and ReLUs a channel may be divided by any positive number if whatever
reads it multiplies by the same number: the function stays what it is. Integer activations have one
scale per tensor, and a channel that never exceeds a tenth of it uses a tenth of the steps
(cross-layer equalization: Nagel et al., arXiv 1906.04721). In a residual stream several tensors
share the channels and cannot all be made alike; there, the scales are those that make the noise in
the perturbation least, as a first order estimate tells it: a step squared over 12 for every value,
times what the perturbation's derivative makes of it, summed over the channels and the tensors.

Going all the way moves the disparity into the weights of the readers, whose rows have one scale
each (the argument of SmoothQuant, arXiv 2211.10438), so it stops a little before.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rid_core.defenders import Defender
from rid_core.defenders.mobile import MobileDefender, PositionalEncoding
from rid_core.quantization.grids import derivatives, window

_SHARE = 0.8
"""Of the way, in decibels."""
_TAIL = 1e-3
"""Share of a channel's values that may lie outside of what counts as its range."""
_LEAST = 0.03
"""Of the largest scale of a tensor's channels."""
_IMAGES = 6
_STEPS, _RATE = 150, 0.05
_SHARPNESS = 16


@dataclass(frozen=True)
class Channels:
    """Channels that may be rescaled.

    Attributes:
        writers: convolutions whose rows make them, each with how many rows make one channel: more
            than one in front of a shuffle, ordered (place, channel).
        readers: convolutions that read them.
        constants: convolutions without bias that add a constant to them.
    """

    writers: tuple[tuple[nn.Conv2d, int], ...]
    readers: tuple[nn.Conv2d, ...]
    constants: tuple[nn.Conv2d, ...] = ()


def _free(network: MobileDefender) -> Iterator[Channels]:
    """All channels of the network whose scale is free."""
    outer: tuple[Any, ...] = (*network.encoder, *network.decoder)
    inner: tuple[Any, ...] = tuple(network.inner)
    fine: tuple[Any, ...] = tuple(network.detail)
    for block in (*outer, *inner, *fine):
        yield Channels(((block.depthwise, 1),), (block.expand,))
        yield Channels(((block.expand, 1),), (block.project,))
    yield Channels(  # at 1/4
        (
            (network.stem, 1),
            (network.leave.conv, network.leave.factor**2),
            *((block.project, 1) for block in fine),
        ),
        (network.enter, *(block.depthwise for block in fine), network.to_image.conv),
        _codes(network.fine_places),
    )
    yield Channels(  # at 1/8
        (
            (network.enter, 1),
            (network.up.conv, network.up.factor**2),
            *((block.project, 1) for block in outer),
        ),
        (*(block.depthwise for block in outer), network.down, network.leave.conv),
    )
    yield Channels(  # at 1/16
        ((network.down, 1), *((block.project, 1) for block in inner)),
        (*(block.depthwise for block in inner), network.up.conv),
        _codes(network.places),
    )


def _codes(places: PositionalEncoding) -> tuple[nn.Conv2d, nn.Conv2d]:
    """What makes the constants that are added to tell a cell its place."""
    assert isinstance(places.of_row, nn.Conv2d), "equalize before folding"
    assert isinstance(places.of_column, nn.Conv2d), "equalize before folding"
    return places.of_row, places.of_column


def equalized(defender: Defender, images: Iterable[np.ndarray]) -> Defender:
    """A copy that computes the same with channels that are more alike.

    Args:
        defender: as loaded, neither lowered nor folded.
        images: uint8 [H, W, 3] to see ranges on; the first few are enough.

    Returns:
        The copy; ``defender`` itself where it has no channels that are free, as in the DiT, whose
        layers are separated by GELU and normalisation.
    """
    if not isinstance(defender, MobileDefender):
        return defender
    network = copy.deepcopy(defender).eval().requires_grad_(False)
    names = {module: name for name, module in network.named_modules()}
    seen = _look(network, images)
    for channels in _free(network):
        tensors = [names[writer] for writer, _ in channels.writers]
        tensors += [f"{names[reader]}.input" for reader in channels.readers]
        found = [seen[name] for name in dict.fromkeys(tensors) if name in seen]
        _rescale(channels, _least_noise(found).pow(_SHARE))
    return network


@dataclass
class _ChannelRange:
    """Of one tensor, by channel.

    Attributes:
        low: how far values reach below 0.
        high: how far above.
        weight: sum of squares of the perturbation's derivative.
    """

    low: Tensor
    high: Tensor
    weight: Tensor


def _look(network: Defender, images: Iterable[np.ndarray]) -> dict[str, _ChannelRange]:
    found: dict[str, _ChannelRange] = {}
    random = torch.Generator().manual_seed(0)
    for number, image in enumerate(images):
        if number == _IMAGES:
            break
        inside, slopes = derivatives(network, window(image, network.stride, number), random)
        for name, slope in slopes.items():
            values = inside.tensors[name].detach()[0].flatten(1)
            count = max(int(values.shape[1] * _TAIL), 1)
            high = values.topk(count, 1).values[:, -1].clamp_min(0)
            low = (-values).topk(count, 1).values[:, -1].clamp_min(0)
            weight = slope.square().sum((0, 2, 3))
            if name in found:
                before = found[name]
                low, high = torch.maximum(before.low, low), torch.maximum(before.high, high)
                weight = before.weight + weight
            found[name] = _ChannelRange(low, high, weight)
    return found


def _least_noise(tensors: list[_ChannelRange]) -> Tensor:
    """Scale of every channel, the largest 1: what the tensors' values are divided by."""
    low, high, weight = (
        torch.stack([getattr(seen, field) for seen in tensors])
        for field in ("low", "high", "weight")
    )
    reach = low + high
    reach = torch.maximum(reach, _LEAST * reach.amax(1, keepdim=True)).clamp_min(1e-12)
    chosen = reach.log().mean(0).requires_grad_()
    if len(tensors) > 1:
        optimizer = torch.optim.Adam([chosen], _RATE)
        for _ in range(_STEPS):
            optimizer.zero_grad()
            scale = chosen.exp()
            step = _peak(high / scale) + _peak(low / scale)
            noise = (step.square() * (weight * scale.square()).sum(1)).sum()
            noise.clamp_min(1e-30).log().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    scale = (chosen.detach() - chosen.detach().max()).exp()
    return scale.clamp_min(_LEAST)


def _peak(reach: Tensor) -> Tensor:
    """A smooth maximum over channels: the gradient reaches all that are near it."""
    peak = reach.detach().amax(1, keepdim=True).clamp_min(1e-12)
    near = (reach / peak).clamp_min(1e-9).pow(_SHARPNESS).sum(1).pow(1 / _SHARPNESS)
    return near * peak[:, 0]


@torch.no_grad()
def _rescale(channels: Channels, scale: Tensor) -> None:
    """Divide where channels are written, multiply where they are read."""
    for writer, rows in channels.writers:
        repeated = scale.repeat(rows)
        writer.weight.div_(repeated.view(-1, 1, 1, 1))
        if writer.bias is not None:
            writer.bias.div_(repeated)
    for constant in channels.constants:
        constant.weight.div_(scale.view(-1, 1, 1, 1))
    for reader in channels.readers:
        depthwise = reader.groups > 1
        reader.weight.mul_(scale.view(-1, 1, 1, 1) if depthwise else scale.view(1, -1, 1, 1))
