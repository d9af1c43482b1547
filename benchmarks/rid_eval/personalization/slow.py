"""Slow methods beside the defenders: one gradient after another, on surrogates that each names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch

from rid_core.assignments import Setting
from rid_core.attacks.registry import attackable
from rid_core.surrogates import Ensemble, Surrogate, has_denoiser, open_surrogate
from rid_core.surrogates.tiny_autoencoder import distils
from rid_eval.personalization.model import model_digest
from rid_eval.results import Sparse

TRANSFER = "-transfer"
"""After the name of a method that attacks other surrogates than the attacker's model."""


@dataclass(frozen=True)
class ModelIdentity:
    """What identifies a surrogate, for reports and to notice that it changed.

    Attributes:
        name: of the surrogate.
        digest: of its files.
        prompt: of a diffusion model.
        distils: what a tiny autoencoder is a distillation of.
    """

    name: str
    digest: str | None = None
    prompt: str | None = None
    distils: str | None = None


Models = list[Annotated[ModelIdentity, Sparse]]

Named = tuple[Surrogate, ModelIdentity]
"""A surrogate, and what identifies it."""


@dataclass(frozen=True)
class AttackedSurrogates:
    """Surrogates that a slow method attacks together, the mean of their losses.

    Attributes:
        models: what identifies each.
        open: makes the ensemble; called when a method has to run.
    """

    models: Models
    open: Callable[[], Ensemble]

    @classmethod
    def of(cls, surrogates: Sequence[Named], device: torch.device) -> AttackedSurrogates:
        """Surrogates that are open already."""
        members = [surrogate for surrogate, _ in surrogates]
        return cls([about for _, about in surrogates], lambda: Ensemble(members).to(device))


@dataclass(frozen=True)
class SlowMethod:
    """An image-wise method with all of its settings, and what it attacks."""

    name: str
    settings: Mapping[str, Setting]
    attacked: AttackedSurrogates


def open_transfer(paths: Sequence[str], prompt: str) -> list[Named]:
    """Surrogates of somebody who does not know the attacker's model.

    Args:
        paths: encoders of the TAESD family, or diffusion models.
        prompt: of the latter.

    Raises:
        RidError: one that is missing, damaged, or neither of the two.
    """
    found = []
    for path in paths:
        folder = (Path(path) / "model_index.json").is_file()
        surrogate = open_surrogate(path, **({"prompt": prompt} if folder else {}))
        whole = folder and has_denoiser(surrogate)
        identity = ModelIdentity(surrogate.name, model_digest(path), prompt if whole else None,
                                 distils(surrogate.name))  # fmt: skip
        found.append((surrogate, identity))
    return found


def slow_methods(
    methods: Mapping[str, Mapping[str, Setting]],
    white_box: AttackedSurrogates,
    transfer: Sequence[Named],
    device: torch.device,
) -> tuple[dict[str, SlowMethod], list[str]]:
    """Each method on the attacked model itself, and on the other surrogates where it can.

    Args:
        methods: settings by name.
        white_box: the attacked model.
        transfer: other surrogates, attacked at once; none for no such condition.
        device: where these are attacked.

    Returns:
        Methods by the label of their condition, and a line for each that is left out.
    """
    found = {name: SlowMethod(name, values, white_box) for name, values in methods.items()}
    left_out = []
    for name, values in methods.items() if transfer else ():
        able = attackable(name, [surrogate for surrogate, _ in transfer])
        if able:
            chosen = [pair for pair in transfer if pair[0] in able]
            found[name + TRANSFER] = SlowMethod(name, values, AttackedSurrogates.of(chosen, device))
        else:
            names = ", ".join(surrogate.name for surrogate, _ in transfer)
            left_out.append(
                f"{name}{TRANSFER} is left out: {name} needs a whole diffusion model, and "
                f"--transfer names none ({names})"
            )
    return found, left_out
