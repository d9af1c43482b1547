"""The contract wrapped around a defender: the graph that every target converts.

Input ``image``, outputs ``protected`` and ``delta``, in the layout of the target. Scaling by eps,
adding and clamping happen here, in float, at the very end: a quantizer that leaves these operations
alone cannot lose the perturbation in the image's own rounding.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from rid_core.budget import Budget
from rid_core.defenders import Defender

if TYPE_CHECKING:
    from rid_export.calibration import Material


class ExportGraph(nn.Module):
    """``forward(image) -> {"protected": ..., "delta": ...}`` for a batch of one.

    ``image`` is float32 RGB in [0, 1], [1, H, W, 3] in ``nhwc`` or [1, 3, H, W] in ``nchw``; the
    outputs have its shape. ``delta`` is the unit perturbation in [-1, 1], ``protected`` is
    ``clamp(image + eps * delta, 0, 1)`` times ``protected_scale``.

    Attributes:
        material: images that a converter needs; None if it needs none, or has to fetch its own.
    """

    material: Material | None = None

    def __init__(
        self,
        defender: Defender,
        levels: int,
        layout: str,
        *,
        outputs: tuple[str, ...] = ("protected", "delta"),
        protected_scale: float = 1.0,
        io_layout: str = "",
    ) -> None:
        """Copy ``defender`` and lower the copy for ``layout``; the original is left alone.

        Args:
            defender: the network.
            levels: the bound in 8-bit levels.
            layout: that the network works in inside.
            outputs: what the graph gives.
            protected_scale: what ``protected`` is multiplied by.
            io_layout: of inputs and outputs, if it is not ``layout``.
        """
        super().__init__()
        self.defender = copy.deepcopy(defender).eval().requires_grad_(False)
        self.defender.lower(layout)
        self.defender.fold()
        self.layout = io_layout or layout
        self.outputs = outputs
        self.eps = Budget(levels).eps
        self.protected_scale = protected_scale
        self.eval()

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """See the class."""
        if self.layout == "nhwc":
            delta = self.defender(image.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        else:
            delta = self.defender(image)
        protected = torch.clamp(image + delta * self.eps, 0, 1)
        if self.protected_scale != 1:
            protected = protected * self.protected_scale
        both = {"protected": protected, "delta": delta}
        return {name: both[name] for name in self.outputs}

    def example(self, height: int, width: int | None = None) -> Tensor:
        """An input to trace with, square if ``width`` is None; grey, but values do not matter."""
        size = (height, width or height)
        shape = (1, *size, 3) if self.layout == "nhwc" else (1, 3, *size)
        return torch.full(shape, 0.5)
