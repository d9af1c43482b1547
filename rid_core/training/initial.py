"""With what weights a run begins: fresh ones, a checkpoint's, a mean, or a smaller network's."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from rid_core.checkpoint import ModelCard, find_checkpoint, load_checkpoint
from rid_core.defenders import Defender, create_defender
from rid_core.defenders.mobile import MobileDefender, ShuffleUp
from rid_core.errors import RidError
from rid_core.training.config import DefenderSection

_SAME = ("kernel", "detail_kernel")


def initial_defender(section: DefenderSection) -> tuple[Defender, dict[str, Any]]:
    """The network that a run begins with, and how it differs from its preset.

    A checkpoint goes on with what it was built with, unless the section says otherwise; then it is
    grown to that.

    Raises:
        RidError: no such checkpoint, several that were built differently, or one that does not fit
            into what is to be trained.
    """
    if section.init is None:
        fresh = create_defender(section.preset, **section.overrides)
        _start_beside_zero(fresh)
        return fresh, dict(section.overrides)
    files = section.init if isinstance(section.init, list) else [section.init]
    defender, card = mean_of(files)
    overrides = section.overrides
    if not overrides and card.preset == section.preset:
        overrides = card.config
    wanted = create_defender(section.preset, **overrides)
    if wanted.config != defender.config:
        try:
            grow(defender, wanted)
        except RidError as error:
            raise RidError(
                f"{files[0]} holds {card.preset}, but the config trains {section.preset}: {error}"
            ) from None
        defender = wanted
    return defender.requires_grad_(True), dict(overrides)


@torch.no_grad()
def _start_beside_zero(defender: Defender) -> None:
    """A perturbation of exactly zero moves no latent, and a square has no gradient there."""
    for parameter in defender.parameters():
        if parameter.ndim >= 2 and not parameter.any():
            nn.init.normal_(parameter, std=1e-3)


@torch.no_grad()
def mean_of(files: list[Path]) -> tuple[Defender, ModelCard]:
    """One network with the mean of all weights (model soups: Wortsman et al., arXiv 2203.05482).

    It makes sense for networks that were trained on from the same one.

    Returns:
        The network, and the card of the first.

    Raises:
        RidError: networks that were built differently.
    """
    loaded = [load_checkpoint(find_checkpoint(path)) for path in files]
    first, card = loaded[0]
    for path, (defender, _) in zip(files, loaded, strict=True):
        if defender.config != first.config:
            raise RidError(f"{path} is built otherwise than {files[0]}; they have no mean")
    states = [defender.state_dict() for defender, _ in loaded]
    for name, value in first.state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.stack([state[name] for state in states]).mean(dim=0))
    return first, card


@torch.no_grad()
def grow(small: Defender, large: Defender) -> None:
    """Make ``large``, freshly initialised, compute what ``small`` computes (Net2Net: Chen et al.,
    arXiv 1511.05641).

    The first channels of every layer are those of ``small`` and hear nothing of the new ones, whose
    weights stay random; blocks that ``small`` does not have add nothing yet. All of it can learn.

    Raises:
        RidError: not both of them phone networks, or ``large`` is not at least as large in
            everything.
    """
    if not isinstance(small, MobileDefender) or not isinstance(large, MobileDefender):
        raise RidError("only a phone network grows, and only to another")
    for field in dataclasses.fields(small.config):
        old, new = (getattr(network.config, field.name) for network in (small, large))
        if new < old or (field.name in _SAME and new != old):
            raise RidError(f"a network of {field.name} {old} does not grow to one of {new}")
    sources = dict(_convolutions(small))
    for name, (conv, squares) in _convolutions(large):
        if name in sources:
            _embed(sources[name][0], conv, squares)
        elif name.endswith(".project"):
            for parameter in conv.parameters():
                parameter.zero_()
    for name, value in small.named_buffers():
        large.get_buffer(name).copy_(value)


def _convolutions(network: nn.Module) -> Iterator[tuple[str, tuple[nn.Conv2d, int]]]:
    """(name, (convolution, in how many equal parts its rows fall))."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            parent = network.get_submodule(name.rpartition(".")[0])
            yield name, (module, parent.factor**2 if isinstance(parent, ShuffleUp) else 1)


def _embed(source: nn.Conv2d, conv: nn.Conv2d, squares: int) -> None:
    """Copy ``source`` into the first rows and columns of ``conv``, part by part."""

    def parts(values: Tensor) -> Tensor:
        return cast(Tensor, values.unflatten(0, (squares, -1)))  # type: ignore[no-untyped-call]

    old, new = parts(source.weight), parts(conv.weight)
    rows, columns = old.shape[1:3]
    new[:, :rows] = 0
    new[:, :rows, :columns] = old
    if source.bias is not None and conv.bias is not None:
        parts(conv.bias)[:, :rows] = parts(source.bias)
