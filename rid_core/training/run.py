"""The state of a run: network, average, optimiser, step; saved and restored as a whole."""

from __future__ import annotations

import datetime
import json
import logging
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from rid_core.checkpoint import ModelCard, save_checkpoint
from rid_core.defenders import Defender
from rid_core.devices import seeded
from rid_core.errors import RidError
from rid_core.files import replacing
from rid_core.training.config import TrainConfig
from rid_core.training.initial import initial_defender
from rid_core.training.settings import TrainingConfig, check

_log = logging.getLogger(__name__)


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Linear warm-up, then a cosine to zero or a constant; ``step`` counts from 0."""
    optim = config.optim
    if step < optim.warmup:
        return optim.lr * (step + 1) / optim.warmup
    if optim.schedule == "constant":
        return optim.lr
    progress = (step - optim.warmup) / max(1, optim.steps - optim.warmup)
    return optim.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


Network = TypeVar("Network", bound=nn.Module)

MultiAverage = Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]
"""(averages, changed in place; current values; how many were averaged so far)."""


def moving_average(decay: float) -> MultiAverage:
    """Exponential moving average that forgets its start: ``decay`` is reached as steps go by.

    With a constant decay d the untrained weights would still make d ** n of the average after n
    steps; the warm-up (1 + n) / (10 + n) is that of TensorFlow's ExponentialMovingAverage.
    """

    def average(means: Sequence[Tensor], fresh: Sequence[Tensor], steps: Tensor | int) -> None:
        n = float(steps)
        # All tensors at once: one by one, each would wait for the GPU to say how many steps it was.
        blend = get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))  # type: ignore[no-untyped-call]
        blend(means, fresh, steps)

    return average


class State:
    """A network in training, its average, its optimiser and the number of steps.

    Args:
        network: what is trained.
        config: the run.
        output: its folder.
        processes: how many train together.
    """

    def __init__(
        self, network: nn.Module, config: TrainingConfig, output: Path, processes: int = 1
    ) -> None:
        self.network = network.train()
        # Convolutions on a CPU are several times faster on channels-last memory.
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.config = config
        self.output = output
        self.processes = processes
        self.step = 0
        self.average = AveragedModel(self.network, multi_avg_fn=moving_average(config.optim.ema))
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=config.optim.lr, weight_decay=config.optim.weight_decay
        )

    def averaged(self, kind: type[Network]) -> Network:
        """The network with averaged weights, for use."""
        module = self.average.module.eval()
        assert isinstance(module, kind)
        return module

    @property
    def state_file(self) -> Path:
        """Where the state is saved."""
        return self.output / "state.pt"

    def save(self) -> None:
        """Save everything that a resumed run needs."""
        state = {
            "step": self.step,
            "config": self.config.model_dump_json(),
            "processes": self.processes,
            "network": self.network.state_dict(),
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
            saved = self._with_defaults(json.loads(state["config"]))
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
        before = state.get("processes", self.processes)
        if before != self.processes:
            _log.warning(
                "the run was begun by %d processes and goes on with %d: samples are numbered "
                "anew, so that some return early and the batch per step differs",
                before,
                self.processes,
            )
        self.step = state["step"]
        # Runs of version 0.1 call it the defender.
        self.network.load_state_dict(state["network" if "network" in state else "defender"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _with_defaults(self, raw: dict[str, Any]) -> dict[str, Any]:
        """A saved configuration as this version writes it: settings it did not know at default."""
        try:
            checked = check(type(self.config), raw)
        except RidError:
            return raw  # settings that this version does not know: the comparison names the section
        completed: dict[str, Any] = json.loads(checked.model_dump_json())
        return completed


class DefenderState(State):
    """A defender in training.

    Args:
        config: the run.
        output: its folder.
        processes: how many train together.
    """

    config: TrainConfig

    def __init__(self, config: TrainConfig, output: Path, processes: int = 1) -> None:
        with seeded(config.optim.seed):
            defender, self._overrides = initial_defender(config.defender)
        super().__init__(defender, config, output, processes)

    @property
    def checkpoint(self) -> Path:
        """Where :meth:`export` writes."""
        return self.output / f"{self.config.defender.preset}.safetensors"

    def export(self, surrogates: list[str], portraits: int) -> None:
        """Write the averaged network as a checkpoint with its model card.

        Args:
            surrogates: names of what it was trained against.
            portraits: how many it was trained on.
        """
        section = self.config.defender
        card = ModelCard(
            preset=section.preset,
            levels=section.levels,
            config=self._overrides,
            surrogates=surrogates,
            data=f"{portraits} portraits of {self.config.data.folder.name}",
            command=command_line(),
            figures={"training": {"steps": self.step}},
            created=datetime.date.today().isoformat(),
        )
        save_checkpoint(self.checkpoint, self.averaged(Defender), card)


def command_line() -> str:
    """How this program was called, without the folder it lies in."""
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
