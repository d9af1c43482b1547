"""Several surrogates as one opponent (the RID paper's extension): mean, worst, or one at random."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from rid_core.errors import RidError
from rid_core.surrogates.base import Surrogate, moved

MODES = ("mean", "worst", "random")

MemberLoss = Callable[[Surrogate, int, Tensor], Tensor]
"""(member, its number, images [B, 3, H, W]) -> loss of each image, [B], lower is better."""


class Ensemble:
    """Surrogates that are attacked together.

    Args:
        members: at least one.
        mode: ``mean`` of the members' losses; ``worst``: of each image the member that is least
            disturbed, which has the highest loss; ``random``: one member, drawn by the caller.
        offload: keep the members in the CPU's memory and bring one at a time to the device, with
            its share of the gradient taken before it leaves: memory stays that of one member, and
            costs a copy of its weights per step.
    """

    def __init__(
        self, members: Sequence[Surrogate], mode: str = "mean", offload: bool = False
    ) -> None:
        if mode not in MODES:
            raise RidError(f"an ensemble's mode is one of {', '.join(MODES)}, not {mode!r}")
        self.members = list(members)
        self.mode = mode
        self.offload = offload
        self.device = torch.device("cpu")

    def __len__(self) -> int:
        return len(self.members)

    @property
    def names(self) -> list[str]:
        """Of the members, in order."""
        return [member.name for member in self.members]

    def to(self, device: torch.device | str) -> Ensemble:
        """Work on ``device``; with ``offload`` the members stay where they are until used."""
        self.device = torch.device(device)
        if not self.offload:
            for member in self.members:
                moved(member, self.device)
        return self

    @contextmanager
    def member(self, number: int) -> Iterator[Surrogate]:
        """A member on the device, taken back afterwards when the ensemble offloads."""
        if not self.offload:
            yield self.members[number]
            return
        try:
            yield moved(self.members[number], self.device)
        finally:
            moved(self.members[number], "cpu")

    def losses(
        self,
        images: Tensor,
        functions: Mapping[str, MemberLoss],
        drawn: int = 0,
        on: Mapping[str, Sequence[int]] | None = None,
    ) -> dict[str, Tensor]:
        """Every function over the members, combined by ``mode``.

        Args:
            images: [B, 3, H, W] in [0, 1], on the ensemble's device.
            functions: by name.
            drawn: any number; chooses the member in mode ``random``.
            on: numbers of the members that a function is for, by its name; all others are for all.

        Returns:
            By name, [B], with gradient to ``images``.
        """
        if not functions:
            return {}
        chosen = {name: (on or {}).get(name, range(len(self))) for name in functions}
        if self.mode == "random":
            chosen = {name: [own[drawn % len(own)]] for name, own in chosen.items()}
        found: dict[str, list[Tensor]] = {name: [] for name in functions}
        for number in range(len(self)):
            asked = {n: function for n, function in functions.items() if number in chosen[n]}
            if not asked:
                continue
            with self.member(number) as member:
                for name, function in asked.items():
                    found[name].append(self._loss(function, member, number, images))
        stacked = {name: torch.stack(values) for name, values in found.items()}
        if self.mode == "worst":
            return {name: values.max(dim=0).values for name, values in stacked.items()}
        return {name: values.mean(dim=0) for name, values in stacked.items()}

    def _loss(self, function: MemberLoss, member: Surrogate, number: int, images: Tensor) -> Tensor:
        if not self.offload or not images.requires_grad:
            return function(member, number, images)
        # What the backward pass would need of this member is used up here, while it is on the
        # device: the result carries the finished gradient instead of the member's activations.
        leaf = images.detach().requires_grad_(True)
        value = function(member, number, leaf)
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
        nothing = (gradient * (images - images.detach())).flatten(1).sum(dim=1)
        return value.detach() + nothing
