"""Matrix products and attention."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from rid_export.mil.ops.params import to_bool
from rid_export.mil.registry import mil_op


@mil_op("linear")
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply x [*, D_in] by weight [D_out, D_in] transposed, plus bias [D_out]."""
    return F.linear(x, weight, bias)


@mil_op("matmul")
def matmul(
    x: Tensor, y: Tensor, transpose_x: Tensor | None = None, transpose_y: Tensor | None = None
) -> Tensor:
    """Batched matrix product; either side may be transposed in its last two axes first."""
    if to_bool(transpose_x, False) and x.ndim > 1:
        x = x.transpose(-1, -2)
    if to_bool(transpose_y, False) and y.ndim > 1:
        y = y.transpose(-1, -2)
    return x @ y


@mil_op("scaled_dot_product_attention")
def attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    """Compute softmax(Q K^T / sqrt(E) + mask) V; a boolean mask keeps what is true."""
    return F.scaled_dot_product_attention(query, key, value, attn_mask)
