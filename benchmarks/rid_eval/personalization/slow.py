"""Slow methods beside the defenders: one gradient after another, on surrogates that each names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rid_core.attacks.registry import attackable
from rid_core.surrogates import Ensemble, Surrogate, has_denoiser, open_surrogate
from rid_core.surrogates.tiny_autoencoder import DISTILS
from rid_eval.personalization.model import model_digest

TRANSFER = "-transfer"
"""After the name of a method that attacks other surrogates than the attacker's model."""

Named = tuple[Surrogate, dict[str, str]]
"""A surrogate, and what identifies it for reports and resuming."""


@dataclass(frozen=True)
class Opponent:
    """Surrogates that a slow method attacks together, the mean of their losses.

    Attributes:
        models: what identifies each: name, digest, the prompt of a diffusion model, and what a
            tiny autoencoder is a distillation of.
        open: makes the ensemble; called when a method has to run.
    """

    models: list[dict[str, str]]
    open: Callable[[], Ensemble]

    @classmethod
    def of(cls, surrogates: Sequence[Named], device: torch.device) -> Opponent:
        """Surrogates that are open already."""
        members = [surrogate for surrogate, _ in surrogates]
        return cls([about for _, about in surrogates], lambda: Ensemble(members).to(device))


@dataclass(frozen=True)
class SlowMethod:
    """An image-wise method with all of its settings, and what it attacks."""

    name: str
    settings: Mapping[str, Any]
    opponent: Opponent


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
        about = {"name": surrogate.name, "digest": model_digest(path)}
        if surrogate.name in DISTILS:
            about["distils"] = DISTILS[surrogate.name]
        if folder and has_denoiser(surrogate):
            about["prompt"] = prompt
        found.append((surrogate, about))
    return found


def slow_methods(
    methods: Mapping[str, Mapping[str, Any]],
    white_box: Opponent,
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
            found[name + TRANSFER] = SlowMethod(name, values, Opponent.of(chosen, device))
        else:
            names = ", ".join(surrogate.name for surrogate, _ in transfer)
            left_out.append(
                f"{name}{TRANSFER} is left out: {name} needs a whole diffusion model, and "
                f"--transfer names none ({names})"
            )
    return found, left_out
