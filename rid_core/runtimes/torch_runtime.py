"""A checkpoint in torch, on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rid_core.budget import Budget
from rid_core.checkpoint import load_checkpoint
from rid_core.runtimes._exported import check_image, checked_unit


class TorchRuntime:
    """The float32 reference; see :class:`rid_core.runtimes.base.Runtime`."""

    def __init__(self, path: str | Path, *, threads: int | None = None) -> None:
        """Load a checkpoint.

        Args:
            path: of the checkpoint.
            threads: for torch as a whole (it has one setting per process); unchanged if None.

        Raises:
            RidError: missing, damaged or foreign file.
            MissingExtraError: torch is not installed.
        """
        self.path = Path(path)
        defender, self.card = load_checkpoint(path)
        import torch

        if threads is not None:
            torch.set_num_threads(threads)
        # Depthwise and 1x1 convolutions are several times faster with channels last in memory.
        self.defender = defender.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.name = f"torch {torch.__version__}"
        self.preset = self.card.preset
        self.levels = self.card.levels
        self.stride = defender.stride
        self.fixed_size = defender.fixed_size

    def _delta(self, image: np.ndarray) -> np.ndarray:
        import torch

        check_image(image, self.stride, self.fixed_size)
        with torch.inference_mode():
            # [H, W, 3] in memory, seen as [1, 3, H, W], is channels last already.
            batch = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
            unit: np.ndarray = self.defender(batch)[0].permute(1, 2, 0).contiguous().numpy()
        return unit

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """``protected`` and ``delta`` of one image, as an exported file gives them.

        Args:
            image: float32 RGB in [0, 1], shape [H, W, 3].

        Raises:
            RidError: the size does not fit.
        """
        unit = self._delta(image)
        return {"protected": Budget(self.levels).apply(image, unit), "delta": unit}

    def perturb(self, image: np.ndarray) -> np.ndarray:
        """Predict the unit perturbation of one image; see the protocol."""
        return checked_unit(self._delta(image), str(self.path))
