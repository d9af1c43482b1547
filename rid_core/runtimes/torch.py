"""A checkpoint in torch, on the CPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rid_core.artifact import TensorInfo
from rid_core.budget import Budget
from rid_core.runtimes.base import ModelRuntime

if TYPE_CHECKING:
    import torch

_SHAPE = (1, 1, 1, 3)
"""The network takes any size; what a tensor of it looks like is given by its image."""
_IMAGE = TensorInfo("image", "float32", _SHAPE, 0, 1)
_OUTPUTS = (
    TensorInfo("protected", "float32", _SHAPE, 0, 1),
    TensorInfo("delta", "float32", _SHAPE, -1, 1),
)


@contextlib.contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Let torch work with ``count`` threads in the block; as before if None.

    It has one setting per process, which is put back.
    """
    import torch

    before = torch.get_num_threads()
    if count in (None, before):
        yield
        return
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class TorchSession:
    """A module in evaluation; see :class:`rid_core.runtimes.base.Session`."""

    def __init__(self, network: torch.nn.Module, levels: int, threads: int | None = None) -> None:
        import torch

        # Depthwise and 1x1 convolutions are several times faster with channels last in memory.
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.name = f"torch {torch.__version__}"
        self._levels, self._threads = levels, threads
        self._batch: torch.Tensor
        self._unit: torch.Tensor

    def feed(self, stored: np.ndarray) -> None:
        """[1, H, W, 3] in memory, seen as [1, 3, H, W], is channels last already."""
        import torch

        self._batch = torch.from_numpy(stored).permute(0, 3, 1, 2)

    def infer(self) -> None:
        """The forward pass."""
        import torch

        with torch.inference_mode(), torch_threads(self._threads):
            self._unit = self.network(self._batch)

    def fetch(self, name: str) -> np.ndarray:
        """``delta``, or ``protected`` as an exported file computes it."""
        unit: np.ndarray = self._unit.permute(0, 2, 3, 1).contiguous().numpy()
        if name == "delta":
            return unit
        return Budget(self._levels).apply(self._batch.permute(0, 2, 3, 1).numpy(), unit)


class TorchRuntime(ModelRuntime):
    """The float32 reference; see :class:`rid_core.runtimes.base.ModelRuntime`.

    Attributes:
        card: what the checkpoint says of itself.
        defender: the network.
    """

    def __init__(self, path: str | Path, *, threads: int | None = None) -> None:
        """Load a checkpoint.

        Args:
            path: of the checkpoint.
            threads: of torch while it runs this; unchanged if None.

        Raises:
            RidError: missing, damaged or foreign file.
        """
        from rid_core.checkpoint import load_checkpoint

        self.defender, self.card = load_checkpoint(path)
        super().__init__(
            path,
            TorchSession(self.defender, self.card.levels, threads),
            image=_IMAGE,
            outputs=_OUTPUTS,
            layout="nhwc",
            preset=self.card.preset,
            levels=self.card.levels,
            stride=self.defender.stride,
            fixed_size=self.defender.fixed_size,
        )
