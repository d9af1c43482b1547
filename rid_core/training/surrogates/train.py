"""Train a surrogate by its kind. To add one, write a config and a task and register them here."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

from rid_core.data import CropDataset, list_portraits
from rid_core.errors import RidError, did_you_mean
from rid_core.training.fit import FitOptions, Task, accelerator_for, fit, on_first
from rid_core.training.settings import TrainingConfig, check, read_toml
from rid_core.training.surrogates.config import (
    AutoencoderConfig,
    FacesSection,
    LatentAutoencoderConfig,
    LatentDiffusionConfig,
)
from rid_core.training.surrogates.latents import FaceLatents, face_latents

_CONFIGS: dict[str, type[TrainingConfig]] = {
    "autoencoder": AutoencoderConfig,
    "latent-autoencoder": LatentAutoencoderConfig,
    "latent-diffusion": LatentDiffusionConfig,
}


def parse_surrogate_config(raw: dict[str, Any], source: str = "config") -> TrainingConfig:
    """Check the configuration of a surrogate's training.

    Raises:
        RidError: an unknown kind or key (the nearest is named), or a value out of range.
    """
    kind = str(raw.get("kind", ""))
    if kind not in _CONFIGS:
        hint = did_you_mean(kind, _CONFIGS)
        raise RidError(f"{source}: no kind of surrogate is called {kind!r}; {hint}")
    return check(_CONFIGS[kind], raw, source)


def load_surrogate_config(path: str | Path, assignments: tuple[str, ...] = ()) -> TrainingConfig:
    """Read a TOML file; ``assignments`` such as ``"optim.steps=100"`` override it.

    Raises:
        RidError: no such file, not TOML, an unknown kind or key or a value out of range.
    """
    return parse_surrogate_config(read_toml(Path(path), assignments), str(path))


def train_surrogate(config: TrainingConfig, output: Path, **options: Unpack[FitOptions]) -> Path:
    """Train a surrogate of a registered kind by :func:`~rid_core.training.fit.fit`.

    Returns:
        Folder of the trained model, which ``open_surrogate`` opens.

    Raises:
        RidError: unfit data or weights, or what :func:`~rid_core.training.fit.fit` raises.
    """
    accelerator = accelerator_for(config.optim, output)
    task = _task(config, output, accelerator, options.get("quiet", False))
    return fit(task, accelerator, output, **options)


def _task(config: TrainingConfig, output: Path, accelerator: Any, quiet: bool) -> Task:
    processes = accelerator.num_processes
    if isinstance(config, AutoencoderConfig):
        from rid_core.training.surrogates.autoencoder import AutoencoderTask

        data = config.data
        paths = on_first(
            accelerator, lambda: list_portraits(data.folder, data.exclude, data.repeat)
        )
        dataset = CropDataset(paths, data.crop, data.short_side, config.optim.seed)
        return AutoencoderTask(config, output, dataset, processes)
    if isinstance(config, LatentAutoencoderConfig):
        from rid_core.training.surrogates.narrowing import NarrowingTask

        faces = _faces(config.data, config.base.encoder, accelerator, quiet)
        return NarrowingTask(config, output, faces, processes)
    assert isinstance(config, LatentDiffusionConfig)
    from rid_core.training.surrogates.diffusion import DiffusionTask

    faces = _faces(config.data, config.base.encoder, accelerator, quiet)
    return DiffusionTask(config, output, faces, processes)


def _faces(section: FacesSection, encoder: Path, accelerator: Any, quiet: bool) -> FaceLatents:
    from tqdm.auto import tqdm

    disabled = quiet or not accelerator.is_local_main_process
    with tqdm(unit="photo", desc="align and encode", disable=disabled) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        found: list[FaceLatents] = []

        def read() -> bool:
            found.append(face_latents(section, encoder, progress, device=accelerator.device))
            return True

        # The first process fills the cache, the others read it.
        on_first(accelerator, read)
        if not found:
            read()
    return found[0]
