"""What a training step computes: one forward pass and all terms of the loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rid_core import visibility
from rid_core.budget import Budget
from rid_core.channel import pass_through, round_to_levels, sample_step
from rid_core.errors import RidError
from rid_core.surrogates import Ensemble, load_surrogate
from rid_core.training.config import TrainConfig, VisibilitySection
from rid_core.training.terms import (
    Inputs,
    MemberTerm,
    ObjectiveSection,
    UnitTerm,
    Weight,
    check_surrogate,
    get_objective,
    is_positive,
    weight_at,
)

if TYPE_CHECKING:
    from rid_core.surrogates.ensemble import MemberLoss

Losses = dict[str, Tensor]
"""Terms of the loss by name, each a scalar; ``total`` is what is minimised."""


@dataclass(frozen=True)
class Batch:
    """Samples of one process.

    Attributes:
        image: [B, 3, H, W] in [0, 1].
        index: [B], numbers of the samples; everything random follows them.
        target: stored perturbations, [B, 3, H, W] in [-1, 1], or None without regression.
        paired: which samples have one, [B] of 0 and 1.
    """

    image: Tensor
    index: Tensor
    target: Tensor | None = None
    paired: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """Move what the network sees; the numbers stay on the CPU."""
        target = None if self.target is None else self.target.to(device)
        paired = None if self.paired is None else self.paired.to(device)
        image = self.image.to(device, memory_format=torch.channels_last)
        return Batch(image, self.index, target, paired)


class Recipe:
    """Everything frozen that a defender is trained with."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.budget = Budget(config.defender.levels)
        # Regression alone needs no surrogate: its config names them for whoever makes the pairs.
        needed = any(get_objective(o.kind).needs is not None for o in config.objective)
        self.surrogates = Ensemble(
            [load_surrogate(s.kind, **(s.model_extra or {})) for s in config.surrogate if needed],
            config.ensemble.mode,
            config.ensemble.offload,
        )
        self._visibility = _visibility_terms(config.visibility)
        self._sections = dict(zip(_names(config.objective), config.objective, strict=True))
        self._on_members: dict[str, MemberTerm] = {}
        self._on_units: dict[str, UnitTerm] = {}
        self._members: dict[str, list[int]] = {}
        for name, section in self._sections.items():
            kind = get_objective(section.kind)
            if kind.needs is None:
                self._on_units[name] = kind.build(section)
                continue
            self._members[name] = self._numbers(section)
            for number in self._members[name]:
                check_surrogate(section.kind, self.surrogates.members[number])
            self._on_members[name] = kind.build(section)

    def _numbers(self, section: ObjectiveSection) -> list[int]:
        """Of the surrogates that an objective is for."""
        names = self.surrogates.names
        for name in section.on or ():
            if name not in names:
                raise RidError(
                    f"objective {section.kind} is on {name!r}, but the surrogates are "
                    f"{', '.join(names)}"
                )
        return [n for n, name in enumerate(names) if section.on is None or name in section.on]

    def to(self, device: torch.device) -> Recipe:
        """Move every frozen network, or have them moved when they are used."""
        self.surrogates.to(device)
        return self

    def losses(self, defender: torch.nn.Module, batch: Batch, step: int = 0) -> Losses:
        """One forward pass and all terms of the loss.

        Args:
            defender: the network in training.
            batch: on the network's device.
            step: optimiser steps done, for the schedules of the weights.
        """
        image, index = batch.image, batch.index
        # What is random inside the network follows the samples too: a resumed run draws the same.
        generator = torch.Generator().manual_seed(int(self._rng(4, int(index[0])).integers(2**31)))
        unit = defender(image, generator)
        protected = self.budget.apply(image, unit)
        if self.config.defender.rounding:
            protected = round_to_levels(protected, self._dither(image, index))
        clean_view, protected_view = self._through_channel(image, protected, index)
        inputs = Inputs(image, unit, clean_view, self._noise_rng, index, batch.target, batch.paired)

        # A term whose weight is 0 for now is not computed.
        weights = {name: weight_at(s.weight, step) for name, s in self._sections.items()}
        weights = {name: weight for name, weight in weights.items() if weight > 0}
        functions: dict[str, MemberLoss] = {
            name: partial(term, inputs)
            for name, term in self._on_members.items()
            if name in weights
        }
        drawn = int(self._rng(6, int(index[0])).integers(2**31))
        values = self.surrogates.losses(protected_view, functions, drawn, self._members)
        values |= {n: term(inputs) for n, term in self._on_units.items() if n in weights}
        terms: Losses = {name: values[name].mean() for name in weights}
        total = image.new_zeros(())
        for name, value in terms.items():
            total = total + weights[name] * value
        for name, (weight, measure) in self._visibility.items():
            now = weight_at(weight, step)
            if now > 0:
                terms[name] = measure(image, protected).mean()
                total = total + now * terms[name]
        return {"total": total, **terms}

    def _rng(self, purpose: int, number: int) -> np.random.Generator:
        """Random numbers that depend on the seed and the sample alone."""
        return np.random.default_rng([self.config.optim.seed, purpose, number])

    def _noise_rng(self, member: int, number: int) -> np.random.Generator:
        return np.random.default_rng([self.config.optim.seed, 5, number, member])

    def _dither(self, image: Tensor, index: Tensor) -> Tensor:
        """Offsets before rounding to 8 bits, in levels, like ``image``; drawn where it lies."""
        generator = torch.Generator(image.device)
        draws = []
        for number in index.tolist():
            generator.manual_seed(int(self._rng(3, number).integers(2**31)))
            draws.append(torch.rand(image.shape[1:], generator=generator, device=image.device))
        return torch.stack(draws) - 0.5

    def _through_channel(
        self, clean: Tensor, protected: Tensor, index: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Send each pair through one step of the channel, the same for both."""
        draws = [sample_step(self.config.channel, self._rng(2, n)) for n in index.tolist()]
        clean_view, protected_view = pass_through(2 * draws, torch.cat([clean, protected])).chunk(2)
        return clean_view.detach(), protected_view


VisibilityTerm = Callable[[Tensor, Tensor], Tensor]
"""(clean, protected), [B, 3, H, W] in [0, 1] -> what seeing the difference costs, [B]."""


def _visibility_terms(section: VisibilitySection) -> dict[str, tuple[Weight, VisibilityTerm]]:
    """Weight and measure of each term that is ever asked for, by its name in the config."""

    def jod(pixels_per_degree: float) -> VisibilityTerm:
        quality = visibility.JOD(pixels_per_degree)
        return lambda clean, protected: 10 - quality(clean, protected)

    makers: dict[str, Callable[[], VisibilityTerm]] = {
        "jod": lambda: jod(visibility.PIXELS_PER_DEGREE),
        "jod_enlarged": lambda: jod(visibility.ENLARGED),
        "ssimulacra2": lambda: lambda *pair: 1 - visibility.ssimulacra2(*pair) / 100,
        "colour": lambda: visibility.colour_change,
    }
    weights: dict[str, Weight] = {name: getattr(section, name) for name in makers}
    return {
        name: (weight, makers[name]()) for name, weight in weights.items() if is_positive(weight)
    }


def _names(sections: list[ObjectiveSection]) -> list[str]:
    """The kind of each, numbered from the second of its kind on."""
    kinds = [section.kind for section in sections]
    counts = [kinds[:place].count(kind) for place, kind in enumerate(kinds)]
    return [k if not n else f"{k}-{n + 1}" for k, n in zip(kinds, counts, strict=True)]
