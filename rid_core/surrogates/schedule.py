"""Noise schedules: how much of a latent is left at a timestep, and what a network predicts of it.

Every family mixes ``z_t = signal_t * z + sigma_t * e``. They differ in the two shares and in what
the network is trained to say, which the following turns into one another.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rid_core.errors import RidError

PREDICTIONS = ("epsilon", "v_prediction", "sample", "flow")


@dataclass(frozen=True)
class Schedule:
    """A noise schedule with the meaning of the network's output.

    Attributes:
        signal: share of the latent at each timestep, float32 [T].
        sigma: share of the noise at each timestep, float32 [T].
        time: what the network is told at each timestep, float32 [T].
        prediction: ``epsilon`` (the noise), ``v_prediction`` (``signal * e - sigma * z``, Salimans
            and Ho, arXiv 2202.00512), ``sample`` (the latent) or ``flow`` (``e - z``, Lipman et
            al., arXiv 2210.02747).
    """

    signal: Tensor
    sigma: Tensor
    time: Tensor
    prediction: str

    def __post_init__(self) -> None:
        if self.prediction not in PREDICTIONS:
            raise RidError(
                f"prediction type {self.prediction!r} is unknown; known: {', '.join(PREDICTIONS)}"
            )

    @classmethod
    def variance_preserving(cls, alphas_cumprod: Tensor, prediction: str) -> Schedule:
        """From ``alphabar_t``, [T] falling from almost 1: Stable Diffusion 1, 2 and XL."""
        kept = alphas_cumprod.float()
        time = torch.arange(len(kept), dtype=torch.float32)
        return cls(kept.sqrt(), (1 - kept).sqrt(), time, prediction)

    @classmethod
    def flow(cls, sigmas: Tensor, scale: float) -> Schedule:
        """From ``sigma_t``, [T] rising to 1, for a network that is told ``sigma * scale``."""
        sigma = sigmas.float()
        return cls(1 - sigma, sigma, sigma * scale, "flow")

    def __len__(self) -> int:
        return len(self.sigma)

    def _shares(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        t = t.cpu()
        shape = (-1, *[1] * (like.ndim - 1))
        return self.signal[t].reshape(shape).to(like), self.sigma[t].reshape(shape).to(like)

    def add_noise(self, latent: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """``signal_t * latent + sigma_t * noise``."""
        signal, sigma = self._shares(t, latent)
        return signal * latent + sigma * noise

    def target(self, latent: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What a perfect network would put out."""
        signal, sigma = self._shares(t, latent)
        return {
            "epsilon": lambda: noise,
            "v_prediction": lambda: signal * noise - sigma * latent,
            "sample": lambda: latent,
            "flow": lambda: noise - latent,
        }[self.prediction]()

    def to_noise(self, output: Tensor, noisy: Tensor, t: Tensor) -> Tensor:
        """The noise that a network's output implies, given its input ``noisy``."""
        signal, sigma = self._shares(t, noisy)
        return {
            "epsilon": lambda: output,
            "v_prediction": lambda: signal * output + sigma * noisy,
            "sample": lambda: (noisy - signal * output) / sigma,
            # noisy = (1 - sigma) z + sigma e and output = e - z, so e = noisy + (1 - sigma) output.
            "flow": lambda: noisy + signal * output,
        }[self.prediction]()
