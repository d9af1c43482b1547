"""A network that computes as its int8 form will: fake quantization, for training and for looking.

Where values are rounded is where the exporters to TFLite and ONNX round them: weights to int8, one
symmetric scale per output channel; what a layer reads, and what it gives (behind its ReLU, if it
has one), to 8 bits with one scale and zero point per tensor. Sums of two computed tensors stay
float. Gradients pass straight through a rounding, and are zero where a value was clipped (Jacob et
al., arXiv 1712.05877).

Nothing is changed in the network: what it calls is intercepted while it runs, so its weights, its
checkpoint and its optimiser stay what they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_LAYERS: frozenset[Any] = frozenset((torch.conv2d, F.linear))
_BENDS: frozenset[Any] = frozenset((torch.relu, F.relu, Tensor.relu))
_MOVES: frozenset[Any] = frozenset(
    (
        *(Tensor.permute, Tensor.reshape, Tensor.transpose, Tensor.view, Tensor.flatten),
        *(torch.permute, torch.reshape, torch.transpose, F.pixel_shuffle),
    )
)
_READS: frozenset[Any] = frozenset(
    (
        *(Tensor.add, Tensor.__add__, Tensor.__radd__, Tensor.__iadd__, Tensor.add_, torch.add),
        *(torch.tanh, Tensor.tanh, F.tanh, F.gelu),
        Tensor.unbind,  # of queries, keys and values, which one layer gives
    )
)
_INPUT = ".input"
_STEPS = 127
"""Of a row's largest weight."""


@dataclass(frozen=True)
class Grid:
    """How one tensor is rounded to 8 bits.

    Attributes:
        low: smallest value that is kept, at most 0.
        high: largest, at least 0.
    """

    low: float
    high: float

    @property
    def scale(self) -> float:
        """Distance of two steps."""
        return max(self.high - self.low, 1e-12) / 255

    @property
    def zero_point(self) -> int:
        """Which of the integers 0 to 255 stands for 0."""
        return min(max(round(-self.low / self.scale), 0), 255)

    def round(self, x: Tensor) -> Tensor:
        """The nearest values on the grid; gradients pass."""
        rounded: Tensor = torch.fake_quantize_per_tensor_affine(
            x, self.scale, self.zero_point, 0, 255
        )
        return rounded


def round_weights(weight: Tensor) -> Tensor:
    """Weights as int8 with one scale per row holds them; gradients pass."""
    peak = weight.detach().abs().flatten(1).amax(1)
    scale = torch.where(peak > 0, peak / _STEPS, torch.ones_like(peak))
    zero = torch.zeros_like(scale, dtype=torch.int32)
    rounded: Tensor = torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -127, 127)
    return rounded


def corrected_bias(
    bias: np.ndarray, weight: np.ndarray, mean: np.ndarray, steps: float
) -> np.ndarray:
    """The bias that keeps the mean of a convolution's output when its weights are rounded.

    The rounding errors of a row, summed up and multiplied by the mean of what it reads, shift its
    output. Depthwise layers have few weights for the errors to cancel in, and what stands behind a
    ReLU has a mean far from zero: together they cost the weights of rid-s 2.3 dB (Nagel et al.,
    arXiv 1906.04721, section 4.2). Zeros around the border are taken for pixels like any other.

    Args:
        bias: [O].
        weight: [O, I, ...], or [O, 1, ...] of a depthwise convolution; rounded with one symmetric
            scale per row.
        mean: of every channel that is read, [I], or [O].
        steps: of the largest weight of a row: 127, or 127.5 where integers run from -128 to 127.
    """
    peak = np.abs(weight).max(axis=tuple(range(1, weight.ndim)), keepdims=True)
    scale = np.where(peak > 0, peak / steps, 1)
    stored = np.clip(np.rint(weight / scale), -np.ceil(steps), 127)
    error = stored * scale - weight
    taps = error.reshape(*error.shape[:2], -1).sum(axis=2)
    shift = taps[:, 0] * mean if taps.shape[1] == 1 and len(mean) == len(taps) else taps @ mean
    corrected: np.ndarray = (bias - shift).astype(np.float32)
    return corrected


class _Interception(TorchFunctionMode):
    """Calls :meth:`read` for all that layers, sums and bends read, under the name of its tensor.

    A tensor is called ``name`` after the layer that gives it, or ``name.input`` after the layer
    that reads it first if it is none of these (the image, a sum).

    Attributes:
        sources: name of the tensor that each layer reads, by the layer's name.
        products: multiply-adds of each layer.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        # Tensors are equal as keys if they are the same object; while a key is kept, it lives.
        self._names: dict[Tensor, str] = {
            parameter: name.rpartition(".")[0]
            for name, parameter in network.named_parameters()
            if parameter.ndim >= 2
        }
        self._given: dict[Tensor, str] = {}
        self._read: dict[Tensor, Tensor] = {}
        self.sources: dict[str, str] = {}
        self.products: dict[str, int] = {}

    def read(self, name: str, x: Tensor) -> Tensor:
        """What is read instead of ``x``."""
        raise NotImplementedError

    def layer(self, name: str, source: str, weight: Tensor, bias: Any) -> tuple[Tensor, Any]:
        """Weights and bias that are used instead."""
        return weight, bias

    def __exit__(self, *error: Any) -> None:
        self._given.clear()
        self._read.clear()
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def _once(self, name: str, x: Tensor) -> Tensor:
        if x not in self._read:
            self._read[x] = self.read(name, x)
        return self._read[x]

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = ""
        if func in _LAYERS and args[1] in self._names:
            name = self._names[args[1]]
            source = self._given.setdefault(args[0], f"{name}{_INPUT}")
            x = self._once(source, args[0])
            bias = args[2] if len(args) > 2 else kwargs.pop("bias", None)
            weight, bias = self.layer(name, source, args[1], bias)
            out = func(x, weight, bias, *args[3:], **kwargs)
            self.sources[name] = source
            self.products[name] = weight[0].numel() * out.numel()
        elif func in _BENDS or func in _MOVES:
            name = self._given.get(args[0], "")
            out = func(*args, **kwargs)
        elif func in _READS:
            out = func(*(self._summand(x) for x in args), **kwargs)
        else:
            return func(*args, **kwargs)
        if name:
            self._given[out] = name
        return out

    def _summand(self, x: Any) -> Any:
        """What a sum reads: what a layer gave is rounded, another sum or the image is not."""
        name = self._given.get(x, "") if isinstance(x, Tensor) else ""
        return x if not name or name.endswith(_INPUT) else self._once(name, x)


class Derivatives(_Interception):
    """``with Derivatives(network) as inside: out = network(image)``.

    Attributes:
        tensors: what is rounded, by name; ``out`` can be derived by them.
    """

    def __init__(self, network: nn.Module) -> None:
        """Look into a network."""
        super().__init__(network)
        self.tensors: dict[str, Tensor] = {}

    def read(self, name: str, x: Tensor) -> Tensor:
        """Keep it."""
        x = x if x.requires_grad else x.detach().requires_grad_()
        self.tensors[name] = x
        return x


class Rounding(_Interception):
    """``with Rounding(network, grids): network(image)`` computes as the int8 file will."""

    def __init__(
        self,
        network: nn.Module,
        grids: Mapping[str, Grid],
        means: Mapping[str, np.ndarray] | None = None,
        *,
        weights: bool = True,
    ) -> None:
        """Round what a network reads.

        Args:
            network: to be run.
            grids: by tensor; those without one stay float.
            means: of every channel of a tensor, to take from the biases what rounded weights add on
                average, as the exporters do.
            weights: whether to round them.
        """
        super().__init__(network)
        self._grids = grids
        self._means = means or {}
        self._weights = weights

    def read(self, name: str, x: Tensor) -> Tensor:
        """Round it."""
        grid = self._grids.get(name)
        return x if grid is None else grid.round(x)

    def layer(self, name: str, source: str, weight: Tensor, bias: Any) -> tuple[Tensor, Any]:
        """Round the weights, and correct the bias."""
        if not self._weights:
            return weight, bias
        rounded = round_weights(weight)
        if bias is not None and source in self._means:
            with torch.no_grad():
                mean = torch.from_numpy(self._means[source]).to(weight)
                taps = (rounded - weight).flatten(2).sum(2) if weight.ndim > 2 else rounded - weight
                one = taps.shape[1] == 1 and len(mean) == len(taps)
                shift = taps[:, 0] * mean if one else taps @ mean
            bias = bias - shift
        return rounded, bias
