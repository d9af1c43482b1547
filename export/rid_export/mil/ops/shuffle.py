"""Exchanges between channels and space.

Two orders of a block's channels exist. ``pixel_shuffle`` is torch's: (channel, row, column), the
channel slowest. ``depth_to_space`` is TensorFlow's: (row, column, channel), the channel fastest;
coremltools lowers both this op and TensorFlow's to the same layer, and the specification's
``ReorganizeDataLayerParams`` shows an example of each.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from rid_export.mil.ops.params import to_int
from rid_export.mil.registry import mil_op


@mil_op("pixel_shuffle")
def pixel_shuffle(x: Tensor, upscale_factor: Tensor) -> Tensor:
    """[N, C * f * f, H, W] -> [N, C, H * f, W * f], channels as (channel, row, column)."""
    return F.pixel_shuffle(x, to_int(upscale_factor))


@mil_op("pixel_unshuffle")
def pixel_unshuffle(x: Tensor, downscale_factor: Tensor) -> Tensor:
    """The inverse of ``pixel_shuffle``."""
    return F.pixel_unshuffle(x, to_int(downscale_factor))


@mil_op("depth_to_space")
def depth_to_space(x: Tensor, block_size: Tensor) -> Tensor:
    """[N, b * b * C, H, W] -> [N, C, H * b, W * b], channels as (row, column, channel)."""
    block = to_int(block_size)
    batch, channels, height, width = x.shape
    out = channels // block**2
    x = x.reshape(batch, block, block, out, height, width).permute(0, 3, 4, 1, 5, 2)
    return x.reshape(batch, out, height * block, width * block)


@mil_op("space_to_depth")
def space_to_depth(x: Tensor, block_size: Tensor) -> Tensor:
    """The inverse of ``depth_to_space``."""
    block = to_int(block_size)
    batch, channels, height, width = x.shape
    rows, columns = height // block, width // block
    x = x.reshape(batch, channels, rows, block, columns, block).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(batch, block * block * channels, rows, columns)
