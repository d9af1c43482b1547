"""LPIPS, where its weights can be had (Zhang et al., arXiv 1801.03924, version 0.1, AlexNet).

No package of this project brings the weights. They are two files: torchvision's AlexNet
(``alexnet-owt-7be5be79.pth``) and the linear layers, ``lpips/weights/v0.1/alex.pth`` of
github.com/richzhang/PerceptualSimilarity, which the PyPI package ``lpips`` holds too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from rid_core.errors import RidError
from rid_core.surrogates.tiny_autoencoder import read_state_dict

UNAVAILABLE = (
    "LPIPS is left out: its weights are not part of this package; give --lpips-backbone "
    "alexnet-owt-7be5be79.pth (torchvision) and --lpips-heads alex.pth (PyPI package lpips)"
)
"""Said where no weights were given."""

# Number of the convolution in torchvision's AlexNet, its layer, and whether a pooling goes before.
_LAYERS = (
    (0, (3, 64, 11, 4, 2), False),
    (3, (64, 192, 5, 1, 2), True),
    (6, (192, 384, 3, 1, 1), True),
    (8, (384, 256, 3, 1, 1), False),
    (10, (256, 256, 3, 1, 1), False),
)


class Lpips(nn.Module):
    """Distance of images in the features of AlexNet, weighed channel by channel.

    Args:
        backbone: AlexNet's weights by torchvision's names (``features.0.weight`` ...).
        heads: the linear layers (``lin0.model.1.weight`` ...).

    Raises:
        RidError: weights of another network.
    """

    def __init__(self, backbone: Mapping[str, Tensor], heads: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        self.weights = nn.ParameterList()
        for number, (place, shape, _) in enumerate(_LAYERS):
            inputs, outputs, kernel, stride, padding = shape
            layer = nn.Conv2d(inputs, outputs, kernel, stride, padding)
            try:
                layer.load_state_dict({
                    part: backbone[f"features.{place}.{part}"] for part in ("weight", "bias")
                })  # fmt: skip
                self.weights.append(heads[f"lin{number}.model.1.weight"].reshape(1, outputs, 1, 1))
            except (KeyError, RuntimeError):
                raise RidError(f"{UNAVAILABLE}; the files given are of other networks") from None
            self.layers.append(layer)
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188])[:, None, None])
        self.register_buffer("spread", torch.tensor([0.458, 0.448, 0.450])[:, None, None])
        self.eval().requires_grad_(False)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [0, 1], sides of 32 or more -> distance [B], 0 for equal."""
        total = one.new_zeros(len(one))
        shift, spread = self.get_buffer("shift"), self.get_buffer("spread")
        features = [(x * 2 - 1 - shift) / spread for x in (one, other)]
        for layer, weight, (_, _, pooled) in zip(self.layers, self.weights, _LAYERS, strict=True):
            if pooled:
                features = [nn.functional.max_pool2d(x, 3, 2) for x in features]
            features = [torch.relu(layer(x)) for x in features]
            lengths = [x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10 for x in features]
            change = (features[0] / lengths[0] - features[1] / lengths[1]).square()
            total = total + (change * weight).sum(dim=1).mean(dim=(1, 2))
        return total


def load_lpips(backbone: Path | None, heads: Path | None) -> Lpips:
    """Open the two files; nothing in them is executed.

    Raises:
        RidError: not given, missing, damaged, or of other networks.
    """
    if backbone is None or heads is None:
        raise RidError(UNAVAILABLE)
    return Lpips(read_state_dict(backbone), read_state_dict(heads))
