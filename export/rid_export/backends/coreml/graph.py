"""The graph that Core ML gets, and its conversion to an ML program.

An image feature holds whole levels, 0 to 255, and half precision holds every whole number up to
2048. So the image stays in levels: only the network sees it divided by 255, and the head is

    protected = clamp(image + round(levels * delta), 0, 255)

Every term but delta is a whole number. The bound therefore holds exactly whatever the precision,
whatever the hardware rounds to, and however Core ML turns the result into 8 bits, which Apple does
not document. Adding eps * delta to an image in [0, 1] instead would round the sum to steps of 0.12
levels in half precision.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from rid_export.graph import ExportGraph

FEATURES = {
    "image": "Portrait, RGB, upright",
    "protected": "The portrait with the perturbation added",
    "delta": "Unit perturbation in [-1, 1], [1, 3, height, width]; times eps it is what was added",
}
_ABOUT = (
    "Adds a bounded perturbation to a portrait that hinders its use in personalizing diffusion "
    "models"
)


class LevelsGraph(nn.Module):
    """``forward(image) -> {"protected": ..., "delta": ...}``, image and protected in 0..255.

    ``image`` is [1, 3, H, W] and holds whole numbers; ``protected`` does as well. ``delta`` is the
    unit perturbation.
    """

    def __init__(self, graph: ExportGraph) -> None:
        """Wrap ``graph``; of its outputs only delta is used."""
        super().__init__()
        self.contract = graph  # a GraphModule has a graph of its own
        self.levels = round(graph.eps * 255)
        self.outputs = graph.outputs
        self.eval()

    def protect(self, image: Tensor, delta: Tensor) -> Tensor:
        """The head: see the module."""
        return torch.clamp(image + torch.round(delta * float(self.levels)), 0, 255)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """See the class."""
        delta = self.contract(image * (1 / 255))["delta"]
        both = {"protected": self.protect(image, delta), "delta": delta}
        return {name: both[name] for name in self.outputs}


def _gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    """GELU in elementary operations, which coremltools joins to its own gelu again.

    Its converter of exported programs ignores ``approximate`` and writes the exact function
    (apple/coremltools#2863); of these spellings it recognises both forms.
    """
    if approximate == "tanh":
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + torch.erf(x * math.sqrt(0.5)))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep coremltools' notices about libraries that only a Mac has out of the way."""
    logger = logging.getLogger("coremltools")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def to_program(graph: ExportGraph, resolution: int, *, half: bool) -> Any:
    """Convert to an ML program for iOS 17.

    ``delta`` is an fp16 multi-array in every precision, so that an app can change the model without
    changing a line: at 8 levels its rounding is below 0.002 levels.

    Args:
        graph: the contract; what it multiplies ``protected`` by does not matter.
        resolution: height and width in pixels.
        half: whether the program computes in fp16 (as the Neural Engine does), or in fp32.

    Returns:
        coremltools' ``MLModel``, not loaded into Core ML.
    """
    import coremltools as ct

    shape = (1, 3, resolution, resolution)
    levels = LevelsGraph(graph)
    program = torch.export.export(levels, (torch.full(shape, 128.0),)).run_decompositions(
        {torch.ops.aten.gelu.default: _gelu}
    )
    rgb = ct.colorlayout.RGB
    kinds = {
        "protected": ct.ImageType("protected", color_layout=rgb),
        "delta": ct.TensorType("delta", dtype=np.float16),
    }
    with quiet():
        return ct.convert(
            program,
            convert_to="mlprogram",
            inputs=[ct.ImageType("image", shape=shape, color_layout=rgb)],
            outputs=[kinds[name] for name in graph.outputs],
            minimum_deployment_target=ct.target.iOS17,
            compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
            skip_model_load=True,
        )


def describe(model: Any, outputs: tuple[str, ...]) -> None:
    """Set the texts that Xcode shows."""
    model.input_description["image"] = FEATURES["image"]
    for name in outputs:
        model.output_description[name] = FEATURES[name]
    model.short_description = _ABOUT
