"""ASPL, alternating surrogate and perturbation learning (Anti-DreamBooth, arXiv 2303.15433)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from rid_core.attacks.methods import combined, denoising
from rid_core.attacks.pgd import Attack
from rid_core.attacks.registry import method
from rid_core.errors import RidError
from rid_core.surrogates import DiffusionSurrogate

Weights = dict[str, Tensor]


@method("aspl", diffusion=True)
def aspl(
    attack: Attack,
    *,
    rounds: int = 50,
    surrogate_steps: int = 3,
    attack_steps: int = 6,
    step: float = 1 / 10,
    learning_rate: float = 5e-7,
) -> Tensor:
    """ASPL: the surrogate is personalised while it is attacked.

    Each round: fine-tune a copy of the model on the clean photos; take attack steps that raise the
    copy's training loss; go on with the model, fine-tuned on the protected photos. 50 rounds of 3,
    6 and 3 steps, learning rate 5e-7, steps of 5e-3 at a bound of 5e-2 on [-1, 1], as in
    ``attack_with_aspl.sh`` of github.com/VinAIResearch/Anti-DreamBooth. Differences: the batch,
    which should hold photos of one person, is fine-tuned on at once rather than photo by photo; the
    text encoders, dropped here, stay as they are; there is no prior preservation.

    Raises:
        RidError: a surrogate whose weights are not float32, where such small steps vanish.
    """
    members = [m for m in attack.ensemble.members if isinstance(m, DiffusionSurrogate)]
    for member in members:
        if any(p.dtype != torch.float32 for p in _network(member).parameters()):
            raise RidError(f"method aspl fine-tunes {member.name}; load it with dtype = float32")
    published = [_copy(member) for member in members]
    unit = torch.zeros_like(attack.image)
    loss = combined(attack.ensemble, denoising(attack.streams))
    try:
        for _ in range(rounds):
            trained = [_copy(member) for member in members]
            _fine_tune(attack, attack.image, surrogate_steps, learning_rate)
            unit = attack.descend(loss, attack_steps, step, start=unit)
            _restore(members, trained)
            protected = attack.budget.apply(attack.image, unit)
            _fine_tune(attack, protected, surrogate_steps, learning_rate)
    finally:
        _restore(members, published)
    return unit


def _network(member: DiffusionSurrogate) -> nn.Module:
    assert member.denoiser is not None
    return member.denoiser


def _copy(member: DiffusionSurrogate) -> Weights:
    """The weights, in the CPU's memory whatever the device."""
    return {n: t.detach().to("cpu", copy=True) for n, t in _network(member).state_dict().items()}


def _restore(members: list[DiffusionSurrogate], weights: list[Weights]) -> None:
    for member, saved in zip(members, weights, strict=True):
        _network(member).load_state_dict(saved)


@contextmanager
def _trainable(network: nn.Module) -> Iterator[list[nn.Parameter]]:
    """Let the weights move for a while."""
    parameters = list(network.parameters())
    for parameter in parameters:
        parameter.requires_grad_(True)
    try:
        yield parameters
    finally:
        for parameter in parameters:
            parameter.requires_grad_(False)
            parameter.grad = None


def _fine_tune(attack: Attack, image: Tensor, steps: int, learning_rate: float) -> None:
    """Steps of DreamBooth on ``image``, for every member by itself."""
    for number in range(len(attack.ensemble)):
        with attack.ensemble.member(number) as member:
            assert isinstance(member, DiffusionSurrogate)
            with torch.no_grad():
                latent = member.encode(image)
            with _trainable(_network(member)) as parameters:
                optimizer = torch.optim.AdamW(parameters, lr=learning_rate)
                for _ in range(steps):
                    noise, t = attack.streams.noise(latent, number, member.timesteps)
                    optimizer.zero_grad()
                    loss = member.denoising_loss(latent, noise, t).mean()
                    torch.autograd.backward(loss)
                    optimizer.step()
