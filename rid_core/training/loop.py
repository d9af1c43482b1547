"""Training a defender: what a step of the loop does for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import torch
from PIL import Image
from torch import Tensor

from rid_core.data import CropDataset, list_portraits, to_pixels
from rid_core.defenders import Defender
from rid_core.files import replacing
from rid_core.training.config import TrainConfig
from rid_core.training.fit import FitOptions, Task, accelerator_for, fit, on_first
from rid_core.training.pairs import PairedCropDataset, PairStore
from rid_core.training.recipe import Batch, Losses, Recipe
from rid_core.training.run import DefenderState


def train(config: TrainConfig, output: Path, **options: Unpack[FitOptions]) -> Path:
    """Train a defender by :func:`~rid_core.training.fit.fit`.

    Started by ``accelerate launch`` or ``torchrun`` it is one of several processes, which share
    the samples; only the first one logs and saves.

    Returns:
        Path of the trained checkpoint, with averaged weights.

    Raises:
        RidError: unfit data or surrogate, or what :func:`~rid_core.training.fit.fit` raises.
    """
    accelerator = accelerator_for(config.optim, output)
    dataset = on_first(accelerator, lambda: _dataset(config))
    task = DefenderTask(config, output, dataset, accelerator.num_processes)
    return fit(task, accelerator, output, **options)


class DefenderTask(Task):
    """A defender against surrogates, stored pairs or a teacher.

    Args:
        config: the run.
        output: its folder.
        dataset: crops of portraits.
        processes: how many train together.
    """

    advice = (
        "lower optim.batch (and raise optim.accumulate) or data.crop, set ensemble.offload = true, "
        'or give the surrogates dtype = "bfloat16" and gradient_checkpointing = true; the state of '
        "the last save is kept"
    )
    state: DefenderState

    def __init__(
        self, config: TrainConfig, output: Path, dataset: CropDataset, processes: int
    ) -> None:
        self.recipe = Recipe(config)
        self.state = DefenderState(config, output, processes)
        self.samples = self.dataset = dataset
        self.workers = config.data.workers
        self._device = torch.device("cpu")

    def to(self, device: torch.device) -> None:
        """Move every frozen network, or have them moved when they are used."""
        self._device = device
        self.recipe.to(device)

    def losses(self, network: torch.nn.Module, batch: Sequence[Tensor], step: int) -> Losses:
        """See :meth:`rid_core.training.recipe.Recipe.losses`."""
        return self.recipe.losses(network, Batch(*batch).to(self._device), step)

    @torch.no_grad()
    def preview(self, batch: Sequence[Tensor], path: Path) -> dict[str, float]:
        """A row each of the originals, the protected and the amplified perturbations."""
        image = Batch(*batch).to(self._device).image
        unit = self.state.averaged(Defender)(image)
        write_rows([image, self.recipe.budget.apply(image, unit), unit / 2 + 0.5], path)
        return {}

    def finish(self) -> Path:
        """Write the checkpoint with its model card."""
        stored = (
            self.dataset.store.header.surrogates
            if isinstance(self.dataset, PairedCropDataset)
            else []
        )
        # Also those that only the makers of the pairs saw.
        attacked = list(dict.fromkeys([*self.recipe.surrogates.names, *stored]))
        self.state.export(attacked, len(set(self.dataset.paths)))
        return self.state.checkpoint


def write_rows(rows: Sequence[Tensor], path: Path) -> None:
    """Write rows of images, [B, 3, H, W] in [0, 1] each, as one picture."""
    sheet = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)
    with replacing(path) as fresh:
        Image.fromarray(to_pixels(sheet[None])[0]).save(fresh)


def _dataset(config: TrainConfig) -> CropDataset:
    data = config.data
    paths = list_portraits(data.folder, data.exclude, data.repeat)
    if config.pairs is None:
        return CropDataset(paths, data.crop, data.short_side, config.optim.seed)
    store = PairStore.open(config.pairs)
    store.check(config.defender.levels, data.crop)
    paired = store.match(paths, data.folder)
    if config.needs_pairs_alone:
        paths = list(paired)
    return PairedCropDataset(paths, data.crop, data.short_side, config.optim.seed, store, paired)
