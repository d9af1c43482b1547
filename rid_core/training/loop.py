"""The training loop: one step reads as the method does."""

from __future__ import annotations

import datetime
import json
import logging
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from rid_core import objectives
from rid_core.budget import Budget
from rid_core.channel import round_to_levels, sample_step
from rid_core.checkpoint import ModelCard, find_checkpoint, load_checkpoint, save_checkpoint
from rid_core.defenders import Defender, create_defender
from rid_core.errors import RidError
from rid_core.files import replacing
from rid_core.surrogates import Surrogate, load_surrogate
from rid_core.training.config import TrainConfig
from rid_core.training.data import CropDataset, ShardedRange, list_portraits

_log = logging.getLogger(__name__)

Losses = dict[str, Tensor]
"""Terms of the loss by name, each a scalar; ``total`` is what is minimised."""


class Recipe:
    """What a step computes: everything frozen that a defender is trained with."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.budget = Budget(config.defender.levels)
        self.surrogates: list[Surrogate] = [
            load_surrogate(s.kind, **(s.model_extra or {})) for s in config.surrogate
        ]
        self.teachers: dict[str, Defender] = {
            o.teacher: load_checkpoint(find_checkpoint(o.teacher))[0]
            for o in config.objective
            if o.teacher is not None
        }

    def to(self, device: torch.device) -> Recipe:
        """Move every frozen network."""
        for module in (*self.surrogates, *self.teachers.values()):
            if isinstance(module, torch.nn.Module):
                module.to(device)
        return self

    def losses(self, defender: torch.nn.Module, image: Tensor, index: Tensor) -> Losses:
        """One forward pass and all terms of the loss.

        Args:
            defender: the network in training.
            image: [B, 3, H, W] in [0, 1].
            index: [B], numbers of the samples; they seed the channel.
        """
        # Chance inside the network follows the samples as well: a resumed run draws the same.
        torch.manual_seed(int(self._rng(4, int(index[0])).integers(2**31)))
        unit = defender(image)
        protected = round_to_levels(self.budget.apply(image, unit), self._dither(image, index))
        clean_view, protected_view = self._through_channel(image, protected, index)
        terms: Losses = {}
        total = image.new_zeros(())
        for objective in self.config.objective:
            if objective.kind == "distillation":
                assert objective.teacher is not None
                with torch.no_grad():
                    target = self.teachers[objective.teacher](image)
                value = objectives.distillation(unit, target).mean()
            else:
                shifts = [self._shift(s, clean_view, protected_view) for s in self.surrogates]
                value = torch.stack(shifts).mean()
            terms[objective.kind] = value
            total = total + objective.weight * value
        visibility = self.config.visibility
        terms["dissimilarity"] = objectives.dissimilarity(image, protected).mean()
        terms["periodicity"] = objectives.periodicity(unit).mean()
        total = total + visibility.dissimilarity * terms["dissimilarity"]
        total = total + visibility.periodicity * terms["periodicity"]
        return {"total": total, **terms, "energy": unit.detach().square().mean()}

    @staticmethod
    def _shift(surrogate: Surrogate, clean: Tensor, protected: Tensor) -> Tensor:
        with torch.no_grad():
            reference = surrogate.encode(clean)
        return objectives.encoder_shift(reference, surrogate.encode(protected)).mean()

    def _rng(self, purpose: int, number: int) -> np.random.Generator:
        """Chance that depends on the seed and the sample alone."""
        return np.random.default_rng([self.config.optim.seed, purpose, number])

    def _dither(self, image: Tensor, index: Tensor) -> Tensor:
        """Offsets before rounding to 8 bits, in levels, like ``image``."""
        draws = [self._rng(3, n).random(image.shape[1:], np.float32) for n in index.tolist()]
        return torch.from_numpy(np.stack(draws)).to(image) - 0.5

    def _through_channel(
        self, clean: Tensor, protected: Tensor, index: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Send each pair through one step of the channel, the same for both."""
        pairs = []
        for one, other, number in zip(clean, protected, index.tolist(), strict=True):
            _, step = sample_step(self.config.channel, self._rng(2, number))
            pairs.append(step(torch.stack([one, other])))
        clean_view, protected_view = torch.stack(pairs, dim=1)
        return clean_view, protected_view


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then a cosine to zero; ``step`` counts from 0."""
    optim = config.optim
    if step < optim.warmup:
        return optim.lr * (step + 1) / optim.warmup
    progress = (step - optim.warmup) / max(1, optim.steps - optim.warmup)
    return optim.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def moving_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """Exponential moving average that forgets its start: ``decay`` is reached as steps go by.

    With a constant decay d the untrained weights would still make d ** n of the average after n
    steps; the warm-up (1 + n) / (10 + n) is that of TensorFlow's ExponentialMovingAverage.
    """

    def average(mean: Tensor, fresh: Tensor, steps: Tensor | int) -> Tensor:
        n = float(steps)
        return torch.lerp(mean, fresh, 1 - min(decay, (1 + n) / (10 + n)))

    return average


class Run:
    """The state of a run: network, average, optimiser, step; saved and restored as a whole."""

    def __init__(self, config: TrainConfig, output: Path) -> None:
        torch.manual_seed(config.optim.seed)
        section = config.defender
        if section.init is not None:
            self.defender, card = load_checkpoint(section.init)
            if card.preset != section.preset:
                raise RidError(
                    f"{section.init} holds {card.preset}, but the config trains {section.preset}"
                )
            self.defender.requires_grad_(True)
        else:
            self.defender = create_defender(section.preset, **section.overrides)
        self.defender.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.config = config
        self.output = output
        self.step = 0
        self.average = AveragedModel(self.defender, avg_fn=moving_average(config.optim.ema))
        self.optimizer = torch.optim.AdamW(
            self.defender.parameters(), lr=config.optim.lr, weight_decay=config.optim.weight_decay
        )

    @property
    def state_file(self) -> Path:
        """Where the state is saved."""
        return self.output / "state.pt"

    def save(self) -> None:
        """Save everything that a resumed run needs."""
        state = {
            "step": self.step,
            "config": self.config.model_dump_json(),
            "defender": self.defender.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        with replacing(self.state_file) as fresh:
            torch.save(state, fresh)

    def resume(self) -> None:
        """Continue from the saved state.

        Raises:
            RidError: the state is damaged or belongs to another configuration.
        """
        try:
            state: dict[str, Any] = torch.load(
                self.state_file, map_location="cpu", weights_only=True
            )
            saved = json.loads(state["config"])
        except Exception as error:  # noqa: BLE001 - whatever a damaged file raises
            raise RidError(
                f"{self.state_file}: damaged ({type(error).__name__}); remove it to start anew"
            ) from None
        now = json.loads(self.config.model_dump_json())
        # Speaking and saving more or less often does not change what is learned.
        for key in sorted(now):
            if key != "log" and saved.get(key) != now[key]:
                raise RidError(
                    f"{self.state_file} was made with another [{key}]; "
                    "give another --output, or --restart to begin anew"
                )
        self.step = state["step"]
        self.defender.load_state_dict(state["defender"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])

    def averaged(self) -> Defender:
        """The network with averaged weights, for use."""
        module = self.average.module
        assert isinstance(module, Defender)
        return module

    def export(self, recipe: Recipe, portraits: int) -> Path:
        """Write the averaged network as a checkpoint with its model card."""
        section = self.config.defender
        card = ModelCard(
            preset=section.preset,
            levels=section.levels,
            config=dict(section.overrides),
            surrogates=[s.name for s in recipe.surrogates],
            data=f"{portraits} portraits of {self.config.data.folder.name}",
            command=_command_line(),
            figures={"training": {"steps": self.step}},
            created=datetime.date.today().isoformat(),
        )
        path = self.output / f"{section.preset}.safetensors"
        save_checkpoint(path, self.averaged(), card)
        return path


def _command_line() -> str:
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])


def train(config: TrainConfig, output: Path, *, restart: bool = False, quiet: bool = False) -> Path:
    """Train a defender; continues a run that ``output`` already holds.

    Args:
        config: the run.
        output: folder for the state, the log (JSON lines, TensorBoard), previews, the checkpoint.
        restart: begin anew even if ``output`` holds a run.
        quiet: no progress bar.

    Returns:
        Path of the trained checkpoint, with averaged weights.

    Raises:
        RidError: unfit data or surrogate, a state of another configuration, or a loss that is not
            finite (the last good state stays).
    """
    from accelerate import Accelerator
    from tqdm.auto import tqdm

    accelerator = Accelerator(
        gradient_accumulation_steps=config.optim.accumulate,
        mixed_precision=config.optim.mixed_precision,
        log_with="tensorboard",
        project_dir=str(output),
    )
    paths = list_portraits(config.data.folder, config.data.exclude)
    dataset = CropDataset(paths, config.data.crop, config.data.short_side, config.optim.seed)
    recipe = Recipe(config).to(accelerator.device)
    run = Run(config, output)
    if run.state_file.exists() and not restart:
        run.resume()
    log = _JsonLog(output / "log.jsonl", run.step)
    if run.step == config.optim.steps:
        return run.export(recipe, len(paths))

    # Samples are numbered across steps, accumulated batches and processes.
    processes = accelerator.num_processes
    per_step = config.optim.batch * config.optim.accumulate * processes
    sampler = ShardedRange(
        run.step * per_step,
        config.optim.steps * per_step,
        config.optim.batch,
        accelerator.process_index,
        processes,
    )
    loader = DataLoader(
        dataset, config.optim.batch, sampler=sampler, num_workers=config.data.workers
    )
    network, optimizer = accelerator.prepare(run.defender, run.optimizer)
    run.average.to(accelerator.device)
    accelerator.init_trackers("tensorboard")
    bar = tqdm(
        total=config.optim.steps,
        initial=run.step,
        unit="step",
        disable=quiet or not accelerator.is_local_main_process,
    )
    try:
        for image, index in loader:
            for group in run.optimizer.param_groups:
                group["lr"] = learning_rate(run.step, config)
            image = image.to(accelerator.device, memory_format=torch.channels_last)
            with accelerator.accumulate(network):
                losses = recipe.losses(network, image, index)
                if not math.isfinite(losses["total"].item()):
                    raise RidError(
                        f"the loss is not finite at step {run.step} (samples "
                        f"{index.tolist()}); the state of the last save is kept: lower optim.lr"
                    )
                accelerator.backward(losses["total"])
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(network.parameters(), config.optim.clip)
                optimizer.step()
                optimizer.zero_grad()
            if not accelerator.sync_gradients:
                continue
            run.average.update_parameters(run.defender)
            run.step += 1
            bar.update()
            if run.step % config.log.every == 0 or run.step == config.optim.steps:
                row = {name: round(value.item(), 6) for name, value in losses.items()}
                accelerator.log(row, step=run.step)
                bar.set_postfix({name: f"{value:.3f}" for name, value in row.items()})
                if accelerator.is_main_process:
                    log.write({"step": run.step, "lr": learning_rate(run.step - 1, config), **row})
            last = run.step == config.optim.steps
            if accelerator.is_main_process and (run.step % config.log.save_every == 0 or last):
                run.save()
            if accelerator.is_main_process and (run.step % config.log.preview_every == 0 or last):
                _preview(run, recipe.budget, image, output / f"preview-{run.step:06d}.png")
    finally:
        bar.close()
        accelerator.end_training()
    return run.export(recipe, len(paths))


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
