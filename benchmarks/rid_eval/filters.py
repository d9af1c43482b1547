"""Classical ways to clean a photo, written in torch so that they run on any device.

Each takes an image batch [B, 3, H, W] RGB in [0, 1] and returns the same shape and range; none has
a use for gradients. The tests hold them against scikit-image's.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F


def median(image: Tensor, side: int = 3) -> Tensor:
    """The median of ``side`` x ``side`` pixels of each colour, borders reflected."""
    reach = side // 2
    padded = F.pad(image, (reach,) * 4, mode="reflect")
    windows = padded.unfold(2, side, 1).unfold(3, side, 1).flatten(4)
    return windows.median(dim=4).values


def bilateral(image: Tensor, space: float = 2.0, colour: float = 0.1) -> Tensor:
    """Bilateral filter (Tomasi and Manduchi, ICCV 1998): a blur that stops at edges.

    Args:
        image: [B, 3, H, W] in [0, 1].
        space: deviation of the weight over distance, pixels; it reaches two of them far.
        colour: deviation of the weight over the Euclidean distance of colours.
    """
    reach = round(2 * space)
    total, weights = torch.zeros_like(image), torch.zeros_like(image[:, :1])
    for down, right, moved in _moved(image, reach):
        near = -(down**2 + right**2) / (2 * space**2)
        apart = (moved - image).square().sum(dim=1, keepdim=True)
        weight = torch.exp(near - apart / (2 * colour**2))
        total += weight * moved
        weights += weight
    return total / weights


def non_local_means(
    image: Tensor, deviation: float = 6 / 255, strength: float = 0.8, patch: int = 5, reach: int = 5
) -> Tensor:
    """Non-local means (Buades et al., CVPR 2005): the mean of places whose surroundings are alike.

    Args:
        image: [B, 3, H, W] in [0, 1].
        deviation: of the noise to be removed, on [0, 1].
        strength: at which deviation of two surroundings they count little, in deviations of noise.
        patch: side of the surroundings that are compared, pixels.
        reach: how far alike places are looked for, pixels.
    """
    total, weights = torch.zeros_like(image), torch.zeros_like(image[:, :1])
    for _, _, moved in _moved(image, reach):
        apart = (moved - image).square().mean(dim=1, keepdim=True)
        padded = F.pad(apart, (patch // 2,) * 4, mode="reflect")
        apart = F.avg_pool2d(padded, patch, stride=1)
        # Two noisy copies of one patch differ by twice the noise's variance: that much is no sign.
        beyond = (apart - 2 * deviation**2).clamp_min(0)
        weight = torch.exp(-beyond / (strength * deviation) ** 2)
        total += weight * moved
        weights += weight
    return total / weights


def total_variation(image: Tensor, weight: float = 0.03, steps: int = 60) -> Tensor:
    """Total variation denoising by Chambolle's projection (J. Math. Imaging Vis. 20, 2004).

    Minimises ``|gradient of u| + |u - image|^2 / (2 weight)``, each colour for itself.

    Args:
        image: [B, 3, H, W] in [0, 1].
        weight: the more, the flatter.
        steps: of the projection.
    """
    dual = torch.zeros(2, *image.shape, dtype=image.dtype, device=image.device)
    for _ in range(steps):
        smooth = image + weight * _divergence(dual)
        slope = torch.stack(
            [
                F.pad(smooth[:, :, 1:] - smooth[:, :, :-1], (0, 0, 0, 1)),
                F.pad(smooth[:, :, :, 1:] - smooth[:, :, :, :-1], (0, 1)),
            ]
        )
        size = slope.square().sum(dim=0).sqrt()
        # A quarter is the largest step that is sure to converge in two dimensions.
        pace = 0.25 / weight
        dual = (dual + pace * slope) / (1 + pace * size)
    return (image + weight * _divergence(dual)).clamp(0, 1)


def _divergence(dual: Tensor) -> Tensor:
    """Of a field [2, B, 3, H, W] by rows and columns: minus the adjoint of the forward slope."""
    down, right = dual[0], dual[1]
    result = down.clone()
    result[:, :, 1:] -= down[:, :, :-1]
    result += right
    result[:, :, :, 1:] -= right[:, :, :, :-1]
    return result


def _moved(image: Tensor, reach: int) -> Iterator[tuple[int, int, Tensor]]:
    """The image shifted by every offset up to ``reach``, borders reflected."""
    height, width = image.shape[2:]
    padded = F.pad(image, (reach,) * 4, mode="reflect")
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            top, left = reach + down, reach + right
            yield down, right, padded[:, :, top : top + height, left : left + width]
