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
    import numpy as np

    from rid_export.calibration import CalibrationData


class ExportGraph(nn.Module):
    """``forward(image) -> {"protected": ..., "delta": ...}`` for a batch of one.

    ``image`` is float32 RGB in [0, 1], [1, H, W, 3] in ``nhwc`` or [1, 3, H, W] in ``nchw``; the
    outputs have its shape. ``delta`` is the unit perturbation in [-1, 1], ``protected`` is
    ``clamp(image + eps * delta, 0, 1)`` times ``protected_scale``.

    Attributes:
        calibration: images that a converter needs; None if it needs none, or has to fetch its own.
    """

    calibration: CalibrationData | None = None

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

    def weights(self) -> dict[str, np.ndarray]:
        """The network's tensors by name."""
        return {name: value.numpy() for name, value in self.defender.state_dict().items()}

    def example(self, height: int, width: int | None = None) -> Tensor:
        """An input to trace with, square if ``width`` is None; grey, but values do not matter."""
        size = (height, width or height)
        shape = (1, *size, 3) if self.layout == "nhwc" else (1, 3, *size)
        return torch.full(shape, 0.5)


class LevelsGraph(nn.Module):
    """The contract in levels, for Core ML's image types: image and protected in 0..255.

    ``image`` is [1, 3, H, W] and holds whole numbers; ``protected`` does as well. ``delta`` is the
    unit perturbation.

    An image feature holds whole levels, 0 to 255, and half precision holds every whole number up to
    2048. So the image stays in levels: only the network sees it divided by 255, and the head is

        protected = clamp(image + round(levels * delta), 0, 255)

    Every term but delta is a whole number. The bound therefore holds exactly whatever the
    precision, whatever the hardware rounds to, and however Core ML turns the result into 8 bits,
    which Apple does not document. Adding eps * delta to an image in [0, 1] instead would round the
    sum to steps of 0.12 levels in half precision.
    """

    def __init__(self, graph: ExportGraph) -> None:
        """Wrap ``graph``; of its outputs only delta is used."""
        super().__init__()
        self.contract = graph  # a GraphModule has a graph of its own
        self.levels = round(graph.eps * 255)
        self.outputs = graph.outputs
        self.eval()

    def protect(self, image: Tensor, delta: Tensor) -> Tensor:
        """The head: see the class."""
        return torch.clamp(image + torch.round(delta * float(self.levels)), 0, 255)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """See the class."""
        delta = self.contract(image * (1 / 255))["delta"]
        both = {"protected": self.protect(image, delta), "delta": delta}
        return {name: both[name] for name in self.outputs}
