"""What every surrogate promises, and the measure that all of them share."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Surrogate(Protocol):
    """A frozen image encoder, differentiable with respect to its input.

    Attributes:
        name: for reports and model cards, such as ``"taef2"``.
        stride: multiple of pixels that height and width must be.
    """

    name: str
    stride: int

    def encode(self, image: Tensor) -> Tensor:
        """[B, 3, H, W] RGB in [0, 1] -> latent [B, C, H / stride, W / stride], with gradient."""


def relative_shift(reference: Tensor, shifted: Tensor) -> Tensor:
    """Relative latent shift ``mean((E(x') - E(x))**2) / mean(E(x)**2)`` of each image.

    Args:
        reference: latents of the reference images, [B, ...].
        shifted: latents of the changed images, same shape.

    Returns:
        [B]; 0 is no effect, 1 a change as large as the latent itself.
    """
    dims = tuple(range(1, reference.ndim))
    change = (shifted - reference).square().mean(dim=dims)
    return change / reference.square().mean(dim=dims)
