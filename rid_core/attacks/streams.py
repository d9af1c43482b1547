"""Random draws of an optimisation, one stream per photo and surrogate.

So what becomes of a photo does not depend on the photos that share its batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class RandomStreams:
    """Streams of random numbers.

    Args:
        seeds: one per photo of the batch.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.seeds = list(seeds)
        self._streams: dict[int, list[torch.Generator]] = {}

    def _of(self, member: int) -> list[torch.Generator]:
        if member not in self._streams:
            # Far apart for every member; the start, member -1, has the bare seed.
            offset = (member + 1) * 1_000_003
            self._streams[member] = [
                torch.Generator().manual_seed(seed + offset) for seed in self.seeds
            ]
        return self._streams[member]

    def start(self, image: Tensor) -> Tensor:
        """Uniform in [-1, 1], like ``image``."""
        drawn = [torch.rand(image.shape[1:], generator=stream) for stream in self._of(-1)]
        return (torch.stack(drawn) * 2 - 1).to(image)

    def noise(self, latent: Tensor, member: int, timesteps: int) -> tuple[Tensor, Tensor]:
        """Standard normal like ``latent``, and timesteps in [0, timesteps), int64 [B]."""
        streams = self._of(member)
        noise = torch.stack([torch.randn(latent.shape[1:], generator=s) for s in streams])
        t = [int(torch.randint(timesteps, (), generator=s)) for s in streams]
        return noise.to(latent), torch.tensor(t)
