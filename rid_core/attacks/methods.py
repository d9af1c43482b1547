"""Published image-wise protections, on any surrogates and at any bound.

Steps and step sizes are those of the authors' code, the step as a share of their own bound, so
that a method takes the same way through a smaller or larger budget. Each was written anew on the
surrogates and objectives of this package.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from rid_core import objectives
from rid_core.attacks.pgd import Attack, Loss
from rid_core.attacks.registry import method
from rid_core.attacks.streams import RandomStreams
from rid_core.checkpoint import find_checkpoint, load_checkpoint
from rid_core.data import load_rgb, to_tensor
from rid_core.surrogates import DiffusionSurrogate, Ensemble, Surrogate
from rid_core.surrogates.ensemble import MemberLoss


def combined(ensemble: Ensemble, function: MemberLoss) -> Loss:
    """A loss of protected images over the ensemble, [B]; each call draws another member if so."""
    calls = iter(range(2**31))

    def loss(protected: Tensor) -> Tensor:
        return ensemble.losses(protected, {"loss": function}, drawn=next(calls))["loss"]

    return loss


def _shift(attack: Attack) -> Loss:
    """Untargeted encoder shift, the clean latents encoded once."""
    clean: dict[int, Tensor] = {}

    def function(member: Surrogate, number: int, protected: Tensor) -> Tensor:
        if number not in clean:
            with torch.no_grad():
                clean[number] = member.encode(attack.image)
        return objectives.log_shift(clean[number], member.encode(protected))

    return combined(attack.ensemble, function)


def denoising(streams: RandomStreams) -> MemberLoss:
    """Minus the training loss of a member, with fresh noise and timesteps at every call."""

    def function(member: Surrogate, number: int, protected: Tensor) -> Tensor:
        assert isinstance(member, DiffusionSurrogate)
        latent = member.encode(protected)
        noise, t = streams.noise(latent, number, member.timesteps)
        return objectives.denoising_failure(member, latent, noise, t)

    return function


@method("pgd")
def encoder_shift(attack: Attack, *, steps: int = 40, step: float = 1 / 8) -> Tensor:
    """PGD on the encoders, untargeted: the reference of this package's figures."""
    return attack.descend(_shift(attack), steps, step)


@method("photoguard")
def photoguard(attack: Attack, *, steps: int = 1000, step: float = 1 / 3) -> Tensor:
    """PhotoGuard's encoder attack (arXiv 2302.06588): pull the latent to zero.

    1,000 steps of 0.02 at a bound of 0.06 on [-1, 1], falling to a hundredth, as in the notebook
    ``demo_simple_attack_img2img`` of github.com/MadryLab/photoguard.
    """

    def function(member: Surrogate, number: int, protected: Tensor) -> Tensor:
        latent = member.encode(protected)
        return objectives.targeted_latent(latent, torch.zeros_like(latent))

    loss = combined(attack.ensemble, function)
    return attack.descend(loss, steps, step, last_step=step / 100)


@method("momentum")
def momentum(
    attack: Attack, *, steps: int = 10, step: float = 1 / 10, decay: float = 1.0
) -> Tensor:
    """Momentum ensemble (MI-FGSM, arXiv 1710.06081) on the encoders.

    10 steps of a tenth of the bound with decay 1.0, as in the paper; from a random start, since
    without any perturbation the shift has no gradient.
    """
    loss = _shift(attack)
    return attack.descend(loss, steps, step, momentum=decay)


@method("advdm", diffusion=True)
def advdm(attack: Attack, *, steps: int = 100, step: float = 1 / 16) -> Tensor:
    """AdvDM (arXiv 2302.04578): raise the training loss, a new timestep at every step.

    100 steps of 1 at a bound of 16, as in the semantic mode of the same authors' ``mist_v3.py``
    (github.com/psyker-team/mist).
    """
    loss = combined(attack.ensemble, denoising(attack.streams))
    return attack.descend(loss, steps, step)


@method("mist", diffusion=True)
def mist(
    attack: Attack, *, steps: int = 100, step: float = 1 / 16, rate: float = 1e4, target: str = ""
) -> Tensor:
    """Mist, fused mode (arXiv 2305.12683): AdvDM, and the latent pulled to a picture's.

    100 steps of 1 at a bound of 16; ``rate`` weighs the training loss against the squared latent
    distance, summed over the latent, as in ``mist_v3.py`` of github.com/psyker-team/mist. The
    default target is a checkerboard of ours; the authors' is ``MIST.png`` in that repository.
    """
    picture = (
        to_tensor(load_rgb(Path(target)))[None]
        if target
        else _checkerboard(*attack.image.shape[2:])
    )
    size = tuple(attack.image.shape[2:])
    aim = F.interpolate(picture, size, mode="bilinear", antialias=True).to(attack.image)
    semantic, aims = denoising(attack.streams), dict[int, Tensor]()

    def function(member: Surrogate, number: int, protected: Tensor) -> Tensor:
        if number not in aims:
            with torch.no_grad():
                aims[number] = member.encode(aim)
        latent = member.encode(protected)
        distance = objectives.targeted_latent(latent, aims[number]) * latent[0].numel()
        return distance + rate * semantic(member, number, protected)

    loss = combined(attack.ensemble, function)
    return attack.descend(loss, steps, step)


@method("defender")
def defender(attack: Attack, *, checkpoint: str = "rid-s") -> Tensor:
    """A trained defender's forward pass: stored, it teaches another one."""
    network, _ = load_checkpoint(find_checkpoint(checkpoint))
    with torch.no_grad():
        unit: Tensor = network.to(attack.image.device)(attack.image)
    return unit


def _checkerboard(height: int, width: int, side: int = 32) -> Tensor:
    """Black and white squares of ``side`` pixels, [1, 3, height, width]."""
    rows, columns = (torch.arange(n) // side for n in (height, width))
    return ((rows[:, None] + columns) % 2).float().expand(1, 3, -1, -1)
