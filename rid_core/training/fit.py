"""The training loop, whatever is trained: processes, accumulation, logging, saving, resuming."""

from __future__ import annotations

import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypedDict, TypeVar, Unpack

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rid_core.data import ShardedRange
from rid_core.devices import enough_memory
from rid_core.errors import RidError
from rid_core.training.recipe import Losses
from rid_core.training.run import State, learning_rate
from rid_core.training.settings import OptimSection

Samples = Dataset[tuple[Tensor, ...]]
"""Endless: sample ``i`` is (what is learned from, [...]; ``i``; and what else belongs to it)."""

Result = TypeVar("Result")


class FitOptions(TypedDict, total=False):
    """How :func:`fit` runs: ``restart`` begins anew even if the output holds a run, ``quiet`` shows
    no progress bar, and after ``minutes`` it saves and writes what is there; the next call goes on.
    """

    restart: bool
    quiet: bool
    minutes: float | None


class Task(ABC):
    """What is trained, and on what.

    Attributes:
        state: network, average, optimiser and step.
        samples: where batches come from.
        workers: processes that read them.
        advice: what to lower when memory runs out.
    """

    state: State
    samples: Samples
    workers: int = 0
    advice: str = "lower optim.batch and raise optim.accumulate for it"

    @abstractmethod
    def to(self, device: torch.device) -> None:
        """Move everything that is frozen."""

    @abstractmethod
    def losses(self, network: torch.nn.Module, batch: Sequence[Tensor], step: int) -> Losses:
        """One forward pass and all terms of the loss, scalars; ``total`` is what is minimised.

        Args:
            network: the state's, perhaps wrapped.
            batch: collated samples, on the CPU.
            step: optimiser steps done.
        """

    @abstractmethod
    def preview(self, batch: Sequence[Tensor], path: Path) -> dict[str, float]:
        """Draw what the average does into a picture, and say what was measured on the way."""

    @abstractmethod
    def finish(self) -> Path:
        """Write the averaged network for use."""


def accelerator_for(optim: OptimSection, output: Path) -> Any:
    """What brings the processes together."""
    from accelerate import Accelerator

    return Accelerator(
        gradient_accumulation_steps=optim.accumulate,
        mixed_precision=optim.mixed_precision,
        log_with="tensorboard",
        project_dir=str(output),
    )


def fit(task: Task, accelerator: Any, output: Path, **options: Unpack[FitOptions]) -> Path:
    """Train; continues a run that ``output`` already holds, bit for bit.

    Args:
        task: what is trained.
        accelerator: of :func:`accelerator_for`.
        output: folder for the state, the log (JSON lines, TensorBoard), previews, the result.
        options: see :class:`FitOptions`.

    Returns:
        What :meth:`Task.finish` wrote.

    Raises:
        RidError: a state of another configuration, too little memory, or a loss that is not finite
            (the last good state stays).
    """
    from tqdm.auto import tqdm

    state, config = task.state, task.state.config
    minutes = options.get("minutes")
    task.to(accelerator.device)
    if state.state_file.exists() and not options.get("restart"):
        state.resume()
    log = _JsonLog(output / "log.jsonl", state.step) if accelerator.is_main_process else None

    loader = _loader(task, accelerator)
    network: torch.nn.Module = state.network
    if config.optim.compile:
        network = torch.compile(network)  # type: ignore[assignment]
    network, optimizer = accelerator.prepare(network, state.optimizer)
    state.average.to(accelerator.device)
    accelerator.init_trackers("tensorboard")
    bar = tqdm(
        total=config.optim.steps,
        initial=state.step,
        unit="step",
        disable=options.get("quiet", False) or not accelerator.is_local_main_process,
    )
    meter, pace = _Meter(accelerator), _Pace(state.step)
    deadline = math.inf if minutes is None else time.monotonic() + 60 * minutes
    try:
        for batch in loader:
            for group in state.optimizer.param_groups:
                group["lr"] = learning_rate(state.step, config)
            with accelerator.accumulate(network), enough_memory(task.advice):
                losses = task.losses(network, batch, state.step)
                _refuse_nan(accelerator, losses["total"], state.step, batch[1])
                accelerator.backward(losses["total"])
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(network.parameters(), config.optim.clip)
                optimizer.step()
                optimizer.zero_grad()
            meter.add(losses)
            if not accelerator.sync_gradients:
                continue
            state.average.update_parameters(state.network)
            state.step += 1
            bar.update()
            late = minutes is not None and _anywhere(accelerator, time.monotonic() >= deadline)
            last = late or state.step == config.optim.steps
            if state.step % config.log.every == 0 or last:
                row = meter.mean()
                accelerator.log(row, step=state.step)
                bar.set_postfix({name: f"{value:.3f}" for name, value in row.items()})
                if log is not None:
                    lr = learning_rate(state.step - 1, config)
                    log.write({"step": state.step, "lr": lr, **pace.since(state.step), **row})
                meter.clear()
            if log is not None:
                _leave_traces(task, batch, log, output, last)
            if late:
                break
        path = task.finish() if accelerator.is_main_process else output
        accelerator.wait_for_everyone()
    finally:
        bar.close()
        accelerator.end_training()
    return path


def _leave_traces(
    task: Task, batch: Sequence[Tensor], log: _JsonLog, output: Path, last: bool
) -> None:
    """Draw and save, when it is time."""
    step, every = task.state.step, task.state.config.log
    if step % every.preview_every == 0 or last:
        found = task.preview(batch, output / f"preview-{step:06d}.png")
        if found:
            log.write({"step": step, **found})
    # After the picture: a run that is killed while it draws draws again.
    if step % every.save_every == 0 or last:
        task.state.save()


def _anywhere(accelerator: Any, here: bool) -> bool:
    """Whether it holds in any process; all must ask together."""
    if accelerator.num_processes == 1:
        return here
    flag = torch.tensor(float(here), device=accelerator.device)
    return bool(accelerator.reduce(flag, "sum").item() > 0)


def on_first(accelerator: Any, action: Callable[[], Result]) -> Result:
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
    result: Result = found[0]
    return result


def _loader(task: Task, accelerator: Any) -> Any:
    """Batches of this process. Samples are numbered across steps, accumulation and processes."""
    optim, processes = task.state.config.optim, accelerator.num_processes
    per_step = optim.batch * optim.accumulate * processes
    sampler = ShardedRange(
        task.state.step * per_step,
        optim.steps * per_step,
        optim.batch,
        accelerator.process_index,
        processes,
    )
    on_gpu = accelerator.device.type == "cuda"
    return DataLoader(
        task.samples,
        optim.batch,
        sampler=sampler,
        num_workers=task.workers,
        pin_memory=on_gpu and task.workers > 0,
    )


def _refuse_nan(accelerator: Any, total: Tensor, step: int, index: Tensor) -> None:
    """Stop all processes when the loss of one is not finite.

    Raises:
        RidError: names the samples.
    """
    bad = not math.isfinite(total.item())
    # Without asking, the others would wait for ever for the gradients of the one that stopped.
    if _anywhere(accelerator, bad):
        where = f"samples {index.tolist()}" if bad else "samples of another process"
        raise RidError(
            f"the loss is not finite at step {step} ({where}); the state of the last save is "
            "kept: lower optim.lr"
        )


class _Meter:
    """Means of the terms over the batches and processes since the last entry of the log."""

    def __init__(self, accelerator: Any) -> None:
        self._accelerator = accelerator
        self._rows: list[Losses] = []

    def add(self, losses: Losses) -> None:
        """Remember the terms of a batch."""
        self._rows.append({name: value.detach() for name, value in losses.items()})

    def clear(self) -> None:
        """Begin anew."""
        self._rows = []

    def mean(self) -> dict[str, float]:
        """By name; to be called by every process."""
        # A term whose weight was 0 for a while is the mean of the steps that had it.
        names = list(dict.fromkeys(name for row in self._rows for name in row))
        found = [[row[name] for row in self._rows if name in row] for name in names]
        values = torch.stack([torch.stack(of_term).mean() for of_term in found])
        if self._accelerator.num_processes > 1:
            values = self._accelerator.reduce(values, "mean")
        return {name: round(v, 6) for name, v in zip(names, values.tolist(), strict=True)}


class _Pace:
    """How fast it goes, from one entry of the log to the next."""

    def __init__(self, step: int) -> None:
        self._step, self._time = step, time.monotonic()

    def since(self, step: int) -> dict[str, float]:
        """Steps per second since the last call."""
        before, self._step = self._step, step
        then, self._time = self._time, time.monotonic()
        return {"steps_per_second": round((step - before) / max(self._time - then, 1e-9), 4)}


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
