"""The RID paper's defender (arXiv 2412.09844): an unconditional diffusion transformer, folded.

The published network is a DiT (Peebles and Xie, arXiv 2212.09748) whose condition is always zero.
Each block's adaLN-Zero modulation is then a constant, the bias of its modulation layer, and folds
exactly into the linear layers around it:

* ``norm(x) * (1 + scale) + shift`` followed by a linear layer W, b is a linear layer
  ``W * (1 + scale)``, ``b + W @ shift`` on ``norm(x)``;
* ``gate * (W x + b)`` is a linear layer ``gate * W``, ``gate * b``.

What is left is a plain pre-norm transformer: 225 M parameters instead of 343 M at full size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rid_core.defenders.base import Defender, check_sizes
from rid_core.errors import RidError

_EPS = 1e-6
_MAX_TOKENS = 128**2


@dataclass(frozen=True)
class DiTConfig:
    """Size of a :class:`DiTDefender`; the defaults are the paper's.

    Attributes:
        image_size: height and width of the image in pixels; the network accepts no other.
        patch: side of a token in pixels.
        width: channels of a token.
        depth: transformer blocks.
        heads: attention heads.
        mlp_ratio: hidden channels of a block's perceptron as a multiple of ``width``.
    """

    image_size: int = 512
    patch: int = 16
    width: int = 1152
    depth: int = 14
    heads: int = 8
    mlp_ratio: int = 4

    def __post_init__(self) -> None:
        check_sizes(self)
        if self.image_size % self.patch:
            raise RidError(f"image_size {self.image_size} is no multiple of patch {self.patch}")
        if self.tokens > _MAX_TOKENS:
            raise RidError(f"{self.tokens} tokens are too many to attend to; enlarge the patch")
        if self.width % self.heads or self.width % 4:
            raise RidError(f"width {self.width} must be a multiple of 4 and of heads {self.heads}")

    @property
    def stride(self) -> int:
        """Side of a token in pixels."""
        return self.patch

    @property
    def fixed_size(self) -> int | None:
        """The positions are those of one grid."""
        return self.image_size

    @property
    def tokens(self) -> int:
        """Length of the sequence."""
        return (self.image_size // self.patch) ** 2

    @property
    def patch_values(self) -> int:
        """Colour values in a patch."""
        return 3 * self.patch**2

    def parameters(self) -> int:
        """Trainable parameters of the folded network."""
        w, hidden = self.width, self.mlp_ratio * self.width
        block = (w + 1) * 3 * w + (w + 1) * w + (w + 1) * hidden + (hidden + 1) * w
        ends = (self.patch_values + 1) * w + (w + 1) * self.patch_values
        return self.depth * block + ends

    def multiply_adds(self, height: int = 512, width: int = 512) -> int:
        """Multiply-adds of one forward pass; ``height`` and ``width`` must be ``image_size``."""
        if (height, width) != (self.image_size, self.image_size):
            raise RidError(f"this defender works at {self.image_size} x {self.image_size} only")
        w = self.width
        linear = (4 + 2 * self.mlp_ratio) * w * w
        attention = 2 * self.tokens * w
        return self.tokens * (self.depth * (linear + attention) + 2 * self.patch_values * w)

    def build(self) -> DiTDefender:
        """The network, freshly initialised."""
        return DiTDefender(self)


def sincos_positions(width: int, side: int) -> Tensor:
    """Two-dimensional sine-cosine position embeddings, [side * side, width], float32.

    The first half of the channels encodes the column, the second the row (as DiT does); each half
    is sines, then cosines, of the position at frequencies 10000 ** (-i / (width / 4)).
    """
    quarter = width // 4
    frequency = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    angle = torch.outer(torch.arange(side, dtype=torch.float64), frequency)
    axis = torch.cat([angle.sin(), angle.cos()], dim=1)
    column = axis.repeat(side, 1)
    row = axis.repeat_interleave(side, dim=0)
    return torch.cat([column, row], dim=1).float()


class _Block(nn.Module):
    """Pre-norm transformer block; modulation and gates already folded into the linear layers."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.fc1 = nn.Linear(width, config.mlp_ratio * width)
        self.fc2 = nn.Linear(config.mlp_ratio * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(F.layer_norm(x, (width,), eps=_EPS))
        q, k, v = qkv.reshape(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v)
        x = x + self.proj(mixed.transpose(1, 2).reshape(batch, tokens, width))
        hidden = F.gelu(self.fc1(F.layer_norm(x, (width,), eps=_EPS)), approximate="tanh")
        out: Tensor = x + self.fc2(hidden)
        return out


class DiTDefender(Defender):
    """The paper's network: patches -> tokens -> transformer -> patches of the perturbation."""

    config: DiTConfig
    positions: Tensor

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        self.stride = config.patch
        self.fixed_size = config.image_size
        self.embed = nn.Conv2d(3, config.width, config.patch, stride=config.patch)
        side = config.image_size // config.patch
        self.register_buffer(
            "positions", sincos_positions(config.width, side)[None], persistent=False
        )
        self.blocks = nn.Sequential(*(_Block(config) for _ in range(config.depth)))
        self.head = nn.Linear(config.width, config.patch_values)
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.embed.weight.view(self.config.width, -1))
        assert self.embed.bias is not None
        nn.init.zeros_(self.embed.bias)
        for module in self.blocks:
            assert isinstance(module, _Block)
            # adaLN-Zero: gates start at zero, and so do the layers they are folded into.
            nn.init.zeros_(module.proj.weight)
            nn.init.zeros_(module.fc2.weight)
        nn.init.zeros_(self.head.weight)

    def forward(self, image: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """[B, 3, S, S] in [0, 1] -> unit perturbation, same shape, in [-1, 1]."""
        config = self.config
        batch = image.shape[0]
        side = config.image_size // config.patch
        x = self.embed(image * 2 - 1).flatten(2).transpose(1, 2) + self.positions
        x = self.blocks(x)
        x = torch.tanh(self.head(F.layer_norm(x, (config.width,), eps=_EPS)))
        # A token's values are ordered (row, column, colour).
        x = x.reshape(batch * side, side, config.patch, 3 * config.patch).transpose(1, 2)
        return x.reshape(batch, config.image_size, config.image_size, 3).permute(0, 3, 1, 2)
