"""The training loop: one step reads as the method does."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from rid_core.budget import Budget
from rid_core.errors import RidError
from rid_core.files import replacing
from rid_core.training.config import TrainConfig
from rid_core.training.data import CropDataset, ShardedRange, list_portraits
from rid_core.training.memory import enough_memory
from rid_core.training.pairs import PairedCropDataset, PairStore
from rid_core.training.recipe import Batch, Losses, Recipe
from rid_core.training.run import Run, learning_rate


def train(config: TrainConfig, output: Path, *, restart: bool = False, quiet: bool = False) -> Path:
    """Train a defender; continues a run that ``output`` already holds.

    Started by ``accelerate launch`` or ``torchrun`` it is one of several processes, which share
    the samples; only the first one logs and saves.

    Args:
        config: the run.
        output: folder for the state, the log (JSON lines, TensorBoard), previews, the checkpoint.
        restart: begin anew even if ``output`` holds a run.
        quiet: no progress bar.

    Returns:
        Path of the trained checkpoint, with averaged weights.

    Raises:
        RidError: unfit data or surrogate, a state of another configuration, too little memory, or
            a loss that is not finite (the last good state stays).
    """
    from accelerate import Accelerator
    from tqdm.auto import tqdm

    accelerator = Accelerator(
        gradient_accumulation_steps=config.optim.accumulate,
        mixed_precision=config.optim.mixed_precision,
        log_with="tensorboard",
        project_dir=str(output),
    )
    dataset = _on_first(accelerator, lambda: _dataset(config))
    recipe = Recipe(config).to(accelerator.device)
    run = Run(config, output, accelerator.num_processes)
    if run.state_file.exists() and not restart:
        run.resume()
    log = _JsonLog(output / "log.jsonl", run.step) if accelerator.is_main_process else None

    loader = _loader(config, dataset, run, accelerator)
    network: torch.nn.Module = run.defender
    if config.optim.compile:
        network = torch.compile(network)  # type: ignore[assignment]
    network, optimizer = accelerator.prepare(network, run.optimizer)
    run.average.to(accelerator.device)
    accelerator.init_trackers("tensorboard")
    bar = tqdm(
        total=config.optim.steps,
        initial=run.step,
        unit="step",
        disable=quiet or not accelerator.is_local_main_process,
    )
    meter = _Meter(accelerator)
    advice = (
        "lower optim.batch (and raise optim.accumulate) or data.crop, set ensemble.offload = true, "
        'or give the surrogates dtype = "bfloat16" and gradient_checkpointing = true; the state of '
        "the last save is kept"
    )
    try:
        for batch in loader:
            for group in run.optimizer.param_groups:
                group["lr"] = learning_rate(run.step, config)
            batch = Batch(*batch).to(accelerator.device)
            with accelerator.accumulate(network), enough_memory(advice):
                losses = recipe.losses(network, batch, run.step)
                _refuse_nan(accelerator, losses["total"], run.step, batch.index)
                accelerator.backward(losses["total"])
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(network.parameters(), config.optim.clip)
                optimizer.step()
                optimizer.zero_grad()
            meter.add(losses)
            if not accelerator.sync_gradients:
                continue
            run.average.update_parameters(run.defender)
            run.step += 1
            bar.update()
            last = run.step == config.optim.steps
            if run.step % config.log.every == 0 or last:
                row = meter.mean()
                accelerator.log(row, step=run.step)
                bar.set_postfix({name: f"{value:.3f}" for name, value in row.items()})
                if log is not None:
                    log.write({"step": run.step, "lr": learning_rate(run.step - 1, config), **row})
            meter.clear()
            if not accelerator.is_main_process:
                continue
            if run.step % config.log.save_every == 0 or last:
                run.save()
            if run.step % config.log.preview_every == 0 or last:
                _preview(run, recipe.budget, batch.image, output / f"preview-{run.step:06d}.png")
        if accelerator.is_main_process:
            run.export(_attacked(recipe, dataset), len(dataset.paths))
        accelerator.wait_for_everyone()
    finally:
        bar.close()
        accelerator.end_training()
    return run.checkpoint


def _attacked(recipe: Recipe, dataset: CropDataset) -> list[str]:
    """Names of the surrogates, also of those that only the makers of the pairs saw."""
    stored = dataset.store.header.surrogates if isinstance(dataset, PairedCropDataset) else []
    return list(dict.fromkeys([*recipe.surrogates.names, *stored]))


def _dataset(config: TrainConfig) -> CropDataset:
    data = config.data
    paths = list_portraits(data.folder, data.exclude)
    if config.pairs is None:
        return CropDataset(paths, data.crop, data.short_side, config.optim.seed)
    store = PairStore.open(config.pairs)
    store.check(config.defender.levels, data.crop)
    paired = store.match(paths, data.folder)
    if config.needs_pairs_alone:
        paths = list(paired)
    return PairedCropDataset(paths, data.crop, data.short_side, config.optim.seed, store, paired)


def _on_first(accelerator: Any, action: Any) -> Any:
    """Run ``action`` in the first process and hand its result, or its error, to all.

    To look through a large folder is minutes of work that every process would do at once.
    """
    from accelerate.utils import broadcast_object_list

    found: list[Any] = [None]
    if accelerator.is_main_process:
        try:
            found = [action()]
        except RidError as error:
            found = [error]
    found = broadcast_object_list(found)
    if isinstance(found[0], RidError):
        raise found[0]
    return found[0]


def _loader(config: TrainConfig, dataset: CropDataset, run: Run, accelerator: Any) -> Any:
    """Batches of this process. Samples are numbered across steps, accumulation and processes."""
    optim, processes = config.optim, accelerator.num_processes
    per_step = optim.batch * optim.accumulate * processes
    sampler = ShardedRange(
        run.step * per_step,
        optim.steps * per_step,
        optim.batch,
        accelerator.process_index,
        processes,
    )
    workers = config.data.workers
    on_gpu = accelerator.device.type == "cuda"
    return DataLoader(
        dataset,
        optim.batch,
        sampler=sampler,
        num_workers=workers,
        pin_memory=on_gpu and workers > 0,
    )


def _refuse_nan(accelerator: Any, total: Tensor, step: int, index: Tensor) -> None:
    """Stop all processes when the loss of one is not finite.

    Raises:
        RidError: names the samples.
    """
    bad = not math.isfinite(total.item())
    anywhere = bad
    if accelerator.num_processes > 1:
        # Without this the others would wait for ever for the gradients of the one that stopped.
        flag = torch.tensor(float(bad), device=accelerator.device)
        anywhere = accelerator.reduce(flag, "sum").item() > 0
    if anywhere:
        where = f"samples {index.tolist()}" if bad else "samples of another process"
        raise RidError(
            f"the loss is not finite at step {step} ({where}); the state of the last save is "
            "kept: lower optim.lr"
        )


class _Meter:
    """Means of the terms over the batches and processes of a step."""

    def __init__(self, accelerator: Any) -> None:
        self._accelerator = accelerator
        self._rows: list[Losses] = []

    def add(self, losses: Losses) -> None:
        """Remember the terms of a batch."""
        self._rows.append({name: value.detach() for name, value in losses.items()})

    def clear(self) -> None:
        """Begin the next step."""
        self._rows = []

    def mean(self) -> dict[str, float]:
        """By name; to be called by every process."""
        names = list(self._rows[0])
        rows = torch.stack([torch.stack([row[name] for name in names]) for row in self._rows])
        values = rows.mean(dim=0)
        if self._accelerator.num_processes > 1:
            values = self._accelerator.reduce(values, "mean")
        return {name: round(v, 6) for name, v in zip(names, values.tolist(), strict=True)}


class _JsonLog:
    """JSON lines; a resumed run drops what an interrupted one logged after its last save."""

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = path.read_text().splitlines() if path.exists() else []
        kept = [row for row in rows if json.loads(row)["step"] <= step]
        path.write_text("".join(f"{row}\n" for row in kept))

    def write(self, row: dict[str, float]) -> None:
        """Append a row."""
        with self.path.open("a") as handle:
            handle.write(json.dumps(row) + "\n")


@torch.no_grad()
def _preview(run: Run, budget: Budget, image: Tensor, path: Path) -> None:
    """A picture: a row each of the originals, the protected and the amplified perturbations."""
    unit = run.averaged()(image)
    rows = [image, budget.apply(image, unit), unit / 2 + 0.5]
    sheet = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)
    array = (sheet.permute(1, 2, 0) * 255).round().clamp(0, 255).byte().cpu().numpy()
    with replacing(path) as fresh:
        Image.fromarray(array).save(fresh)
