"""Quantization-aware fine-tuning: a defender learns to say the same in 8 bits.

The network starts from a trained one, with channels equalized as the exporters do, and computes
every crop twice: as it is, and as its int8 file will. It learns by regression: to be its own int8
form (``rounding``, what the exporters' gate measures), and to stay the network that it was
(``drift``). What comes out is an ordinary checkpoint of the same preset; nothing in it says how to
round, and it can be exported in any precision.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from rid_core.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint
from rid_core.data import CropDataset, list_portraits, load_rgb
from rid_core.defenders import Defender
from rid_core.errors import RidError
from rid_core.quantization.equalization import equalized
from rid_core.quantization.grids import Grids, calibrate, window
from rid_core.quantization.rounding import Rounding
from rid_core.quantization.views import draw_tones, spread
from rid_core.training.config import DataSection
from rid_core.training.fit import FitOptions, Task, accelerator_for, fit, on_first
from rid_core.training.recipe import Losses
from rid_core.training.run import State, command_line
from rid_core.training.settings import (
    ConfigSection,
    OptimSection,
    TrainingConfig,
    check,
    override,
    read_toml,
)

_SIDE = 256
"""Short side of calibration photos, in pixels."""


class QuantizationSection(ConfigSection):
    """How the int8 form is played."""

    every: int = Field(25, ge=1)
    """Ranges of activations are chosen anew every so many steps."""
    samples: int = Field(16, ge=1, le=1024)
    """Photos they are chosen on."""
    views: int = Field(64, ge=1, le=4096)
    """Views of these photos, in other crops and other light; at least one of each."""
    drift: float = Field(1.0, ge=0)
    """Weight of staying what the network was, beside 1 for being its own int8 form."""


class QatOptimSection(OptimSection):
    """Short and gentle: what was trained shall not be unlearned."""

    steps: int = Field(300, ge=1)
    batch: int = Field(4, ge=1)
    lr: float = Field(5e-4, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    warmup: int = Field(20, ge=0)
    ema: float = Field(0.95, ge=0, lt=1)


class QatConfig(TrainingConfig):
    """A whole run."""

    teacher: str
    """Checkpoint or bundled preset that is fine-tuned."""
    data: DataSection
    quantization: QuantizationSection = QuantizationSection()  # type: ignore[call-arg]
    optim: QatOptimSection = QatOptimSection()  # type: ignore[call-arg]

    @model_validator(mode="after")
    def _fits(self) -> QatConfig:
        if self.log.save_every % self.quantization.every:
            raise ValueError(
                "log.save_every must be a multiple of quantization.every, "
                f"{self.quantization.every}: a resumed run chooses its ranges anew"
            )
        return self


def load_qat_config(
    teacher: str, config: Path | None, assignments: tuple[str, ...] = ()
) -> QatConfig:
    """Settings of a run.

    Args:
        teacher: checkpoint or bundled preset.
        config: TOML file with any of the sections data, quantization, optim and log; of a training
            run's file, only the first two are read.
        assignments: such as ``"data.folder=faces/"``; they override the file.

    Raises:
        RidError: no such file, an unknown key, a value out of range, or no photos named.
    """
    raw = read_toml(config)
    if "objective" in raw:  # the file of a training run
        raw = {key: value for key, value in raw.items() if key in ("data", "quantization")}
    override(raw, assignments)
    raw.setdefault("data", {})
    if "folder" not in raw["data"]:
        raise RidError("name portraits to fine-tune on: --set data.folder=FOLDER")
    return check(QatConfig, {**raw, "teacher": teacher}, str(config or "--set"))


def fine_tune(config: QatConfig, output: Path, **options: Unpack[FitOptions]) -> Path:
    """Fine-tune by :func:`~rid_core.training.fit.fit`.

    Returns:
        Path of the checkpoint, with averaged weights.

    Raises:
        RidError: unfit data or teacher, or what :func:`~rid_core.training.fit.fit` raises.
    """
    accelerator = accelerator_for(config.optim, output)
    data = config.data
    paths = on_first(accelerator, lambda: list_portraits(data.folder, data.exclude, data.repeat))
    task = QatTask(config, output, paths, accelerator.num_processes)
    return fit(task, accelerator, output, **options)


class QatTask(Task):
    """A defender against its own int8 form."""

    advice = "lower optim.batch (and raise optim.accumulate) or data.crop"

    def __init__(
        self, config: QatConfig, output: Path, paths: list[Path], processes: int = 1
    ) -> None:
        """Load the teacher and equalize its channels.

        Args:
            config: the run.
            output: its folder.
            paths: of portraits.
            processes: how many train together.

        Raises:
            RidError: the teacher is missing or damaged.
        """
        self._teacher, self.card = load_checkpoint(find_checkpoint(config.teacher))
        chosen = paths[:: max(len(paths) // config.quantization.samples, 1)]
        photos = [np.array(load_rgb(p, _SIDE)) for p in chosen[: config.quantization.samples]]
        self.photos = list(spread(photos, max(config.quantization.views, len(photos)), _SIDE))
        data = config.data
        self.samples = CropDataset(paths, data.crop, data.short_side, config.optim.seed)
        self.workers = data.workers
        network = equalized(self._teacher, self.photos)
        if network is self._teacher:
            network, _ = load_checkpoint(find_checkpoint(config.teacher))
        self.state = State(network.requires_grad_(True), config, output, processes)
        self._config = config
        self._grids: tuple[int, Grids] | None = None
        self._device = torch.device("cpu")

    def to(self, device: torch.device) -> None:
        """Move the teacher."""
        self._device = device
        # In training, positional encodings are drawn anew at every pass: it has to draw the same.
        self._teacher.to(device).train()

    def losses(self, network: torch.nn.Module, batch: Sequence[Tensor], step: int) -> Losses:
        """``rounding`` and ``drift``, mean squares of differences of unit perturbations."""
        seed = int(batch[1][0])
        image = _in_other_light(batch[0], seed)
        image = image.to(self._device, memory_format=torch.channels_last)
        with torch.no_grad():
            wanted = _drawn(self._teacher, image, seed)
        plain = _drawn(network, image, seed)
        grids = self.grids(step)
        with Rounding(self.state.network, grids.grids):
            rounded = _drawn(network, image, seed)
        rounding = (rounded - plain).square().mean()
        drift = (plain - wanted).square().mean()
        total = rounding + self._config.quantization.drift * drift
        energy = wanted.square().mean()
        return {"total": total, "rounding": rounding, "drift": drift, "energy": energy}

    def grids(self, step: int) -> Grids:
        """Of the network's activations, chosen every so many steps."""
        due = step - step % self._config.quantization.every
        if self._grids is None or self._grids[0] != due:
            self._grids = due, self._calibrated(self.state.network)
        return self._grids[1]

    def _calibrated(self, network: torch.nn.Module) -> Grids:
        assert isinstance(network, Defender)
        was = network.training
        network.eval()
        found = calibrate(network, self.photos)
        network.train(was)
        return found

    def preview(self, batch: Sequence[Tensor], path: Path) -> dict[str, float]:
        """Nothing to draw: in dB, the average against its int8 form, and against the teacher."""
        return {name: round(value, 2) for name, value in self.figures().items()}

    @torch.no_grad()
    def figures(self) -> dict[str, float]:
        """SQNR in dB on the calibration photos: of the int8 form, and of the network itself."""
        network = self.state.averaged(Defender)
        self._teacher.eval()
        grids = self._calibrated(network)
        sums = np.zeros(3)
        for photo in self.photos:
            image = window(photo, network.stride).to(self._device)
            wanted, plain = self._teacher(image), network(image)
            with Rounding(network, grids.grids, grids.means):
                rounded = network(image)
            differences = (wanted, rounded - plain, plain - wanted)
            sums += [float(each.square().sum()) for each in differences]
        self._teacher.train()
        energy, rounding, drift = np.maximum(sums, 1e-20)
        return {
            "int8_sqnr_db": float(10 * np.log10(energy / rounding)),
            "teacher_sqnr_db": float(10 * np.log10(energy / drift)),
        }

    def finish(self) -> Path:
        """Write the checkpoint; its card says what was done to it."""
        network = self.state.averaged(Defender)
        figures = {name: round(value, 2) for name, value in self.figures().items()}
        # What was measured of the teacher's weights was not measured of these.
        done = {"steps": self.state.step, "teacher": self.card.figures, **figures}
        note = (
            "fine-tuned for int8 (rid-train --qat); figures.qat: SQNR in dB of its int8 form "
            "against itself, and of itself against its teacher, played in torch"
        )
        card = dataclasses.replace(
            self.card,
            command=command_line(),
            figures={"qat": done},
            notes=f"{self.card.notes}; {note}" if self.card.notes else note,
            created=datetime.date.today().isoformat(),
        )
        path = self.state.output / f"{self.card.preset}.safetensors"
        save_checkpoint(path, network, card)
        return path


def _in_other_light(image: Tensor, seed: int) -> Tensor:
    """Every second photo of a batch [B, 3, H, W] of whole levels, in another tone."""
    random = np.random.default_rng(seed)
    toned = image.clone()
    for photo in toned[1::2]:
        levels = (photo * 255).round().long()
        for colour, curve in enumerate(draw_tones(random)):
            photo[colour] = torch.from_numpy(curve)[levels[colour]].to(photo) / 255
    return toned


def _drawn(network: torch.nn.Module, image: Tensor, seed: int) -> Tensor:
    """A forward pass whose randomness follows the sample, as in every other pass over it."""
    unit: Tensor = network(image, torch.Generator().manual_seed(seed))
    return unit
