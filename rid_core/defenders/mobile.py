"""The phone networks: a small U of convolutions that every phone runtime runs natively.

Only convolutions (dense 4x4/4, 2x2/2 and 1x1; depthwise 5x5), additions, ReLU, tanh and space
shuffles: LiteRT's CPU and GPU delegates, Core ML's Neural Engine and ONNX Runtime run all of
them without falling back. There is no normalisation layer, so nothing has to be folded at export.

Where the time goes decides the shape. Nearly all multiply-adds are 1x1 convolutions on maps of
64 x 64 and 32 x 32 (for a 512 x 512 photo), which reach most of a CPU's matrix-product peak.
The last block works at 1/4 and sees the photo's own detail there, so that the perturbation can
follow hair and edges. And at 1/4 and at 1/16 a :class:`PositionalEncoding` tells each cell its
place, so that nothing need repeat where a photo is flat.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rid_core.defenders.base import Defender, check_sizes
from rid_core.errors import RidError

_PATCH = 4
_CODE = 8
_CELLS = 128


@dataclass(frozen=True)
class MobileConfig:
    """Size of a :class:`MobileDefender`.

    Attributes:
        width: channels at 1/8 of the resolution; at 1/16 there are twice as many.
        detail_width: channels at 1/4 of the resolution.
        outer_blocks: residual blocks at 1/8 before going down, and again after coming up.
        inner_blocks: residual blocks at 1/16.
        expansion: hidden channels of a block as a multiple of its width.
        kernel: size of a block's depthwise convolution; sets the context.
        detail_blocks: residual blocks at 1/4, after everything coarser has come up.
        detail_kernel: size of their depthwise convolutions, which cost most per multiply-add.
    """

    width: int = 64
    detail_width: int = 32
    outer_blocks: int = 1
    inner_blocks: int = 2
    expansion: int = 2
    kernel: int = 5
    detail_blocks: int = 1
    detail_kernel: int = 5

    def __post_init__(self) -> None:
        check_sizes(self, may_be_zero=("outer_blocks", "inner_blocks"))
        for kernel in (self.kernel, self.detail_kernel):
            if kernel % 2 == 0:
                raise RidError(f"a depthwise kernel must be odd, not {kernel}")

    @property
    def stride(self) -> int:
        """Multiple of pixels that height and width must be."""
        return 4 * _PATCH

    @property
    def fixed_size(self) -> int | None:
        """Any multiple of the stride will do."""
        return None

    @property
    def context(self) -> int:
        """Side, in pixels, of the square of input that one output pixel can depend on."""
        reach = self.kernel - 1
        # How many cells in a row, wherever they lie on the next coarser grid.
        fourths = 1 + self.detail_blocks * (self.detail_kernel - 1)
        eighths = fourths // 2 + 1 + self.outer_blocks * reach
        sixteenths = eighths // 2 + 1 + self.inner_blocks * reach
        return (2 * sixteenths + self.outer_blocks * reach) * 2 * _PATCH

    def _layers(self) -> list[tuple[int, int, int]]:
        """(scale, weights, biases) of every convolution, by its output's share of pixels."""

        def block(width: int, scale: int, kernel: int) -> list[tuple[int, int, int]]:
            hidden = self.expansion * width
            return [
                (scale, width * kernel**2, width),
                (scale, width * hidden, hidden),
                (scale, hidden * width, width),
            ]

        detail, w, inner = self.detail_width, self.width, 2 * self.width
        return [
            (4, 3 * _PATCH**2 * detail, detail),
            (8, 4 * detail * w, w),
            *(2 * self.outer_blocks) * block(w, 8, self.kernel),
            (16, 4 * w * inner, inner),
            *self.inner_blocks * block(inner, 16, self.kernel),
            (16, inner * 4 * w, 4 * w),
            (8, w * 4 * detail, 4 * detail),
            *self.detail_blocks * block(detail, 4, self.detail_kernel),
            (4, detail * 3 * _PATCH**2, 3 * _PATCH**2),
        ]

    def parameters(self) -> int:
        """Trainable parameters."""
        places = 2 * _CODE * (self.detail_width + 2 * self.width)
        return places + sum(weights + biases for _, weights, biases in self._layers())

    def multiply_adds(self, height: int = 512, width: int = 512) -> int:
        """Multiply-adds of one forward pass."""
        places = sum(
            _CODE * channels * (height // scale + width // scale)
            for channels, scale in ((self.detail_width, _PATCH), (2 * self.width, self.stride))
        )
        layers = self._layers()
        return places + sum(weights * (height // s) * (width // s) for s, weights, _ in layers)

    def build(self) -> MobileDefender:
        """The network, freshly initialised."""
        return MobileDefender(self)


class _Block(nn.Module):
    """Residual block: depthwise convolution for context, then a two-layer perceptron per pixel."""

    def __init__(self, width: int, expansion: int, kernel: int) -> None:
        super().__init__()
        hidden = expansion * width
        self.depthwise = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
        self.expand = nn.Conv2d(width, hidden, 1)
        self.project = nn.Conv2d(hidden, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = F.relu(self.expand(self.depthwise(x)))
        out: Tensor = x + self.project(hidden)
        return out


class ShuffleUp(nn.Module):
    """A 1x1 convolution and a depth-to-space shuffle: [B, C, H, W] -> [B, C', H*f, W*f].

    Channels before the shuffle are ordered (row, column, channel). In memory that is channels-last,
    the shuffle is then ONE rank-4 transpose between two reshapes: LiteRT keeps it inside a single
    XNNPACK partition, and torch copies once. Lowered to "nchw", the convolution's rows are permuted
    to (channel, row, column), torch's own pixel shuffle, which ONNX and Core ML have natively.
    """

    def __init__(self, channels: int, out_channels: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.layout = "nhwc"
        self.conv = nn.Conv2d(channels, out_channels * factor**2, 1)

    def project(self, x: Tensor) -> Tensor:
        """The convolution alone: [B, C' * f * f, H, W]."""
        out: Tensor = self.conv(x)
        return out

    def shuffle(self, x: Tensor) -> Tensor:
        """The shuffle alone. Elementwise functions commute with it."""
        f = self.factor
        if self.layout == "nchw":
            return F.pixel_shuffle(x, f)
        batch, channels, height, width = x.shape
        out = channels // f**2
        x = x.permute(0, 2, 3, 1).reshape(batch * height, width, f, f * out)
        x = x.transpose(1, 2).reshape(batch, height * f, width * f, out)
        return x.permute(0, 3, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H * f, W * f]."""
        return self.shuffle(self.project(x))

    @torch.no_grad()
    def lower(self, layout: str) -> None:
        """Switch to ``layout`` and reorder the convolution's rows to match."""
        if layout == self.layout:
            return
        rows = self.conv.out_channels
        square = self.factor**2
        order = torch.arange(rows).reshape(square, -1).T.flatten()  # for (channel, row, column)
        if layout == "nhwc":
            order = order.argsort()
        self.conv.weight.copy_(self.conv.weight[order])
        if self.conv.bias is not None:
            self.conv.bias.copy_(self.conv.bias[order])
        self.layout = layout


def _stretch(codes: Tensor, dim: int, length: int) -> Tensor:
    """The first ``length`` codes; they start over where there are more cells than codes."""
    if isinstance(length, torch.SymInt):
        # Traced for any size: no branch below may be decided by the size of the example.
        return codes.index_select(dim, torch.arange(length) % _CELLS)
    if length > _CELLS:
        repeats = [1, 1, 1, 1]
        repeats[dim] = -(-length // _CELLS)
        codes = codes.repeat(repeats)
    # Not even a slice of everything: converters do not know the alias that it is traced as.
    return codes if codes.shape[dim] == length else codes.narrow(dim, 0, length)


class PositionalEncoding(nn.Module):
    """Positional encoding: [B, C, h, w] plus a frozen random code of each row and column.

    A convolutional network draws the same cell again and again where a photo is flat, on walls and
    on skin: a lattice that is easy to see and to subtract. With a code of its own, each cell can
    draw something else. The codes are random, not learned, so that every stretch of them is as good
    as another; in training a new stretch is drawn at every pass.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        for name, shape in (("rows", (1, _CODE, _CELLS, 1)), ("columns", (1, _CODE, 1, _CELLS))):
            self.register_buffer(name, torch.randn(shape, generator=generator))
        self.of_row: nn.Module = nn.Conv2d(_CODE, channels, 1, bias=False)
        self.of_column: nn.Module = nn.Conv2d(_CODE, channels, 1, bias=False)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Add the codes: [B, C, h, w], same shape."""
        height, width = x.shape[2:]
        rows, columns = self.rows, self.columns
        if self.training:
            rows = rows.roll(int(torch.randint(_CELLS, (), generator=generator)), 2)
            columns = columns.roll(int(torch.randint(_CELLS, (), generator=generator)), 3)
        rows, columns = _stretch(rows, 2, height), _stretch(columns, 3, width)
        out: Tensor = x + self.of_row(rows) + self.of_column(columns)
        return out

    @torch.no_grad()
    def fold(self) -> None:
        """Apply the two convolutions to the codes once and for all."""
        self.rows, self.of_row = self.of_row(self.rows), nn.Identity()
        self.columns, self.of_column = self.of_column(self.columns), nn.Identity()


class MobileDefender(Defender):
    """A small U: 1/4 -> 1/8 -> 1/16 -> 1/8 -> 1/4 -> full resolution."""

    config: MobileConfig

    def __init__(self, config: MobileConfig) -> None:
        super().__init__()
        self.config = config
        self.stride = config.stride
        detail, width = config.detail_width, config.width

        def blocks(count: int, channels: int, kernel: int = config.kernel) -> nn.Sequential:
            return nn.Sequential(
                *(_Block(channels, config.expansion, kernel) for _ in range(count))
            )

        self.stem = nn.Conv2d(3, detail, _PATCH, stride=_PATCH)
        self.fine_places = PositionalEncoding(detail)
        self.enter = nn.Conv2d(detail, width, 2, stride=2)
        self.encoder = blocks(config.outer_blocks, width)
        self.down = nn.Conv2d(width, 2 * width, 2, stride=2)
        self.places = PositionalEncoding(2 * width)
        self.inner = blocks(config.inner_blocks, 2 * width)
        self.up = ShuffleUp(2 * width, width, 2)
        self.decoder = blocks(config.outer_blocks, width)
        self.leave = ShuffleUp(width, detail, 2)
        self.detail = blocks(config.detail_blocks, detail, config.detail_kernel)
        self.to_image = ShuffleUp(detail, 3, _PATCH)
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            if isinstance(module, _Block):
                # Depthwise convolutions start as the identity plus a little noise, and blocks add
                # little to their input: without normalisation layers this keeps the scale.
                nn.init.normal_(module.depthwise.weight, std=0.1 / module.depthwise.kernel_size[0])
                centre = module.depthwise.kernel_size[0] // 2
                module.depthwise.weight[:, 0, centre, centre] += 1
        for module in self.modules():
            if isinstance(module, _Block):
                module.project.weight.mul_(0.3)
        # The first layer sees [0, 1]; start it as if the image were normalised to mean 0, deviation
        # 1/2. Written into weights and bias there is no operation to fold at export.
        self.stem.weight.mul_(2)
        assert self.stem.bias is not None
        self.stem.bias.copy_(-0.5 * self.stem.weight.sum(dim=(1, 2, 3)))
        # The perturbation starts at zero.
        nn.init.zeros_(self.to_image.conv.weight)

    def forward(self, image: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """[B, 3, H, W] in [0, 1] -> unit perturbation, same shape, in [-1, 1]."""
        detail = F.relu(self.fine_places(self.stem(image), generator))
        fine = self.encoder(self.enter(detail))
        coarse = self.inner(self.places(self.down(fine), generator))
        x = self.decoder(fine + self.up(coarse))
        x = self.detail(detail + self.leave(x))
        # tanh before the shuffle: the values are the same, and an exported channels-last graph ends
        # in the shuffle's own transpose instead of one more.
        return self.to_image.shuffle(torch.tanh(self.to_image.project(x)))

    def lower(self, layout: str) -> None:
        """Rewrite the three shuffles for ``layout``; exact."""
        super().lower(layout)
        for module in self.modules():
            if isinstance(module, ShuffleUp):
                module.lower(layout)

    def fold(self) -> None:
        """Make constants of the codes of rows and columns."""
        self.fine_places.fold()
        self.places.fold()
