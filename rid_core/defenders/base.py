"""What every defender promises."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from rid_core.errors import RidError

LAYOUTS = ("nhwc", "nchw")
_MAX_SIZE = 8192


def check_sizes(config: Any, may_be_zero: tuple[str, ...] = ()) -> None:
    """Refuse a config dataclass whose fields are not whole numbers from 1 to 8192.

    Configs also come out of files, so nothing about their fields may be taken for granted. The
    fields named in ``may_be_zero`` start at 0.

    Raises:
        RidError: names the field.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        least = 0 if field.name in may_be_zero else 1
        if type(value) is not int or not least <= value <= _MAX_SIZE:
            raise RidError(
                f"{field.name} must be a whole number from {least} to {_MAX_SIZE}, not {value!r}"
            )


class DefenderConfig(Protocol):
    """Size of a defender: a frozen dataclass whose costs are known without building it."""

    @property
    def stride(self) -> int:
        """Height and width of an input must be multiples of this."""

    @property
    def fixed_size(self) -> int | None:
        """The only height and width accepted, or None for any multiple of ``stride``."""

    def parameters(self) -> int:
        """Trainable parameters."""

    def multiply_adds(self, height: int = 512, width: int = 512) -> int:
        """Multiply-adds of one forward pass (convolutions, matrix products)."""

    def build(self) -> Defender:
        """The network, freshly initialised: its perturbation is zero everywhere."""


class Defender(nn.Module):
    """Base of all defenders: ``forward(image) -> unit``.

    ``image`` is float32 RGB in [0, 1], shape [B, 3, H, W] with H and W multiples of ``stride``;
    ``unit`` has the same shape and lies in [-1, 1]. Multiplying by eps, adding and clamping are
    the business of :mod:`rid_core.budget`.
    """

    config: DefenderConfig
    stride: int
    fixed_size: int | None = None
    layout: str = "nhwc"
    """Order of the channels inside, as last :meth:`lower`-ed; checkpoints always hold "nhwc"."""

    def forward(self, image: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the unit perturbation of ``image``.

        Args:
            image: see the class.
            generator: of what is random in training, on the CPU; torch's own by default.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forward pass of its own")

    def lower(self, layout: str) -> None:
        """Rewrite the network in place for a runtime of ``layout`` ("nhwc" or "nchw").

        The function computed stays the same; only the order of channels inside may change, so
        that an exported graph needs no transposes. A network without such places does nothing.

        Raises:
            RidError: no such layout.
        """
        if layout not in LAYOUTS:
            raise RidError(f"a layout is one of {', '.join(LAYOUTS)}, not {layout!r}")
        self.layout = layout

    def fold(self) -> None:
        """Replace in place what does not depend on the image by constants, for export.

        The function computed stays the same, but the network can no longer be saved or trained. A
        network without such places does nothing.
        """

    def check_input(self, image: Tensor) -> None:
        """Refuse what the network was not made for.

        Raises:
            RidError: wrong rank, channels, dtype or size.
        """
        if image.ndim != 4 or image.shape[1] != 3 or not torch.is_floating_point(image):
            raise RidError(
                "a defender takes float RGB images of shape [B, 3, H, W] in [0, 1], not "
                f"{list(image.shape)} of {image.dtype}"
            )
        height, width = image.shape[2:]
        if self.fixed_size is not None and (height, width) != (self.fixed_size, self.fixed_size):
            raise RidError(
                f"this defender works at {self.fixed_size} x {self.fixed_size} only, "
                f"not {height} x {width}"
            )
        if height % self.stride or width % self.stride or not height or not width:
            raise RidError(
                f"height and width must be multiples of {self.stride}, not {height} x {width}"
            )
