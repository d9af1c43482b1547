"""A learned inverse: a small U-Net that takes a defender's perturbation off again.

Whoever has the defender has as many pairs (protected, clean) as photos. What such a network leaves
of the effect is what is left against somebody who prepared for this very defender.
"""

from __future__ import annotations

import hashlib
import math
import pickle
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rid_core.budget import Budget
from rid_core.channel import round_to_levels
from rid_core.checkpoint import weights_digest
from rid_core.data import CropDataset
from rid_core.defenders import Defender
from rid_core.devices import seeded
from rid_core.errors import RidError
from rid_core.files import replacing
from rid_eval.steps import PURIFICATION, Link

_SAVE_EVERY = 100


@dataclass(frozen=True)
class InverseSettings:
    """How a learned inverse is trained.

    Attributes:
        steps: of Adam.
        batch: crops in each.
        crop: side of a crop, pixels; a multiple of 8 and of the defender's stride.
        short_side: to which training photos are scaled, pixels: the scale at which it is measured.
        width: channels at full resolution; twice and four times as many below.
        rate: at the start; it falls to zero along a cosine.
        seed: of weights and crops.
    """

    steps: int = 1000
    batch: int = 8
    crop: int = 128
    short_side: int = 256
    width: int = 24
    rate: float = 1e-3
    seed: int = 0


def _layers(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
    )  # fmt: skip


class Inverse(nn.Module):
    """A U-Net of three resolutions (Ronneberger et al., arXiv 1505.04597); begins as identity."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.fine, self.middle = _layers(3, width), _layers(width, 2 * width)
        self.coarse = _layers(2 * width, 4 * width)
        self.up_middle, self.up_fine = _layers(6 * width, 2 * width), _layers(3 * width, width)
        self.last = nn.Conv2d(width, 3, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> Tensor:
        """Protected RGB [B, 3, H, W] in [0, 1] -> the clean one, same shape and range."""
        height, width = image.shape[2:]
        padded = F.pad(image, (0, -width % 4, 0, -height % 4), mode="replicate")
        fine = self.fine(padded)
        middle = self.middle(F.avg_pool2d(fine, 2))
        coarse = self.coarse(F.avg_pool2d(middle, 2))
        up = self.up_middle(torch.cat([middle, F.interpolate(coarse, scale_factor=2.0)], dim=1))
        up = self.up_fine(torch.cat([fine, F.interpolate(up, scale_factor=2.0)], dim=1))
        found: Tensor = padded - self.last(up)
        return found[:, :, :height, :width].clamp(0, 1)


def train_inverse(
    defender: Defender,
    budget: Budget,
    photos: Sequence[Path],
    cache: Path,
    settings: InverseSettings | None = None,
    device: str | torch.device = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Inverse:
    """Train an inverse of ``defender``, or go on where a run that was cut off has saved itself.

    Args:
        defender: on ``device``.
        budget: the bound of the perturbation.
        photos: clean ones, none of which is measured on later.
        cache: folder of its weights: same defender, photos and settings, same file.
        settings: by default :class:`InverseSettings`.
        device: where to train.
        progress: told how many steps of how many are done.

    Returns:
        On ``device``, frozen.

    Raises:
        RidError: a crop that does not fit the defender, too few photos, or a damaged cache.
    """
    settings = settings or InverseSettings()
    if settings.crop % math.lcm(8, defender.stride) or settings.crop > settings.short_side:
        raise RidError(
            f"the learned inverse takes crops of {settings.crop} pixels; the defender wants a "
            f"multiple of {defender.stride}, and photos have {settings.short_side}"
        )
    side = settings.short_side
    data = CropDataset(list(photos), settings.crop, (side, side), settings.seed)
    with seeded(settings.seed):
        model = Inverse(settings.width)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.rate)
    path = cache / f"inverse-{_digest(defender, budget, photos, settings)}.pt"
    first = _resume(path, model, optimizer, device)
    progress(first, settings.steps)
    for step in range(first, settings.steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.rate * (1 + math.cos(math.pi * step / settings.steps)) / 2
        numbers = range(step * settings.batch, (step + 1) * settings.batch)
        clean = torch.stack([data[number][0] for number in numbers]).to(device)
        with torch.no_grad():
            protected = round_to_levels(budget.apply(clean, defender(clean)))
        loss = (model(protected) - clean).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % _SAVE_EVERY == 0 or step + 1 == settings.steps:
            with replacing(path) as fresh:
                torch.save({"step": step + 1, "model": model.state_dict(),
                            "optimizer": optimizer.state_dict()}, fresh)  # fmt: skip
        progress(step + 1, settings.steps)
    return model.eval().requires_grad_(False)


def inverse_link(name: str, model: Inverse) -> Link:
    """As a step of a chain; ``name`` is the defender's."""
    text = f"a U-Net trained to take the perturbation of {name} off"
    return Link(f"inverse:{name}", PURIFICATION, text, model)


def _resume(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, device: str | torch.device
) -> int:
    """Steps already done."""
    if not path.is_file():
        return 0
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        return int(state["step"])
    except (OSError, RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError):
        raise RidError(f"{path}: a damaged learned inverse; remove it and run again") from None


def _digest(
    defender: Defender, budget: Budget, photos: Sequence[Path], settings: InverseSettings
) -> str:
    """What the result depends on, in 12 digits."""
    names = [(path.name, path.stat().st_size) for path in photos]
    parts = (weights_digest(defender), budget.eps, names, sorted(asdict(settings).items()))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]
