"""Defenders and what they are held against, random signs and slow methods, ready to measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rid_core.assignments import read_assignments
from rid_core.attacks.registry import first_attackable, method_settings
from rid_core.budget import Budget
from rid_core.checkpoint import ModelCard, find_checkpoint, load_checkpoint, weights_digest
from rid_core.defenders import Defender
from rid_core.errors import RidError
from rid_core.surrogates import Surrogate
from rid_eval.latent_shift import (
    FLOOR,
    Protection,
    defender_protection,
    random_signs,
    slow_protection,
)
from rid_eval.results import MethodRun, exact

DIGEST_DIGITS = 16
"""Of a digest of weights, in measurements."""


@dataclass(frozen=True)
class LoadedDefender:
    """A defender that is measured.

    Attributes:
        name: as it was given: a file or a bundled preset.
        label: of it in tables, see :func:`labels_of`.
        network: the defender.
        card: its model card.
    """

    name: str
    label: str
    network: Defender
    card: ModelCard

    @property
    def digest(self) -> str:
        """Of its weights."""
        return weights_digest(self.network)[:DIGEST_DIGITS]


def labels_of(names: Sequence[str]) -> dict[str, str]:
    """Labels of defenders by their names: the file's stem, or its path where two have the same."""
    stems = [Path(name).stem for name in names]
    return {name: stem if stems.count(stem) == 1 else name
            for name, stem in zip(names, stems, strict=True)}  # fmt: skip


def load_defenders(names: Sequence[str], levels: int | None) -> tuple[list[LoadedDefender], Budget]:
    """Load defenders, and the bound that all of them share.

    Args:
        names: files or bundled presets.
        levels: the bound instead of the checkpoints'.

    Raises:
        RidError: one cannot be loaded, or their bounds differ and none is given.
    """
    found = [LoadedDefender(name, label, *load_checkpoint(find_checkpoint(name)))
             for name, label in labels_of(names).items()]  # fmt: skip
    bounds = {levels or one.card.levels for one in found} or {levels or Budget().levels}
    if len(bounds) > 1:
        raise RidError(f"the checkpoints have different bounds, {sorted(bounds)}; give --levels")
    return found, Budget(bounds.pop())


@dataclass(frozen=True)
class ProtectionSet:
    """Protections that are measured side by side.

    Attributes:
        budget: the bound of all.
        protections: by label; random signs first, then slow methods, then defenders.
        defenders: those that were loaded.
        against: what each slow method is, by label.
    """

    budget: Budget
    protections: dict[str, Protection]
    defenders: list[LoadedDefender]
    against: dict[str, MethodRun]

    @property
    def weights(self) -> dict[str, str]:
        """Digests of the defenders' weights by label."""
        return {one.label: one.digest for one in self.defenders}


def prepare_protections(
    defenders: Sequence[str],
    levels: int | None,
    methods: Sequence[str],
    changes: Sequence[str],
    surrogates: Sequence[Surrogate],
) -> ProtectionSet:
    """Load defenders and make ready what they are held against.

    Args:
        defenders: files or bundled presets.
        levels: the bound instead of the checkpoints'.
        methods: slow methods by name, each on the first surrogate that it can attack.
        changes: their settings, as ``METHOD.KEY=VALUE``.
        surrogates: what slow methods may attack.

    Raises:
        RidError: one cannot be loaded, their bounds differ and none is given, or a slow method is
            unknown or has nothing to attack.
    """
    loaded, budget = load_defenders(defenders, levels)
    protections: dict[str, Protection] = {FLOOR: random_signs}
    against = {}
    for name, settings in method_settings(methods, read_assignments(changes)).items():
        if not surrogates:
            raise RidError(f"--against {name} needs a --surrogate to attack")
        surrogate = first_attackable(name, surrogates)
        label = f"{name}-{settings['steps']}" if "steps" in settings else name
        protections[label] = slow_protection(name, surrogate, budget, settings)
        against[label] = MethodRun(name, exact(settings), surrogate.name)
    for one in loaded:
        protections[one.label] = defender_protection(one.network)
    return ProtectionSet(budget, protections, loaded, against)
