"""Making pairs: an image-wise method over a folder of photos, resumable and in shards."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from rid_core.attacks import protect
from rid_core.attacks.registry import check_members, settings_of
from rid_core.budget import Budget
from rid_core.data import centre_square, list_portraits, to_tensor
from rid_core.devices import enough_memory
from rid_core.errors import RidError
from rid_core.surrogates import Ensemble
from rid_core.training.pairs import PairHeader, PairStore, digest

_INDEX_EVERY = 16
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PairJob:
    """What to make.

    Attributes:
        method: see :func:`rid_core.attacks.list_methods`.
        data: folder of photos.
        output: folder of pairs; what is there and fits is kept.
        levels: the bound, in 8-bit levels.
        size: side in pixels of the square that is protected of each photo.
        settings: of the method, over its defaults.
        exclude: glob patterns of file names that are left out.
        batch: photos at once; a method that fine-tunes wants photos of one person.
        limit: at most so many photos, spread evenly over the folder.
        shard: which part of the photos, from 0.
        shards: into how many parts they are divided.
        seed: of everything random, together with each photo's content.
    """

    method: str
    data: Path
    output: Path
    levels: int = 8
    size: int = 512
    settings: dict[str, Any] = field(default_factory=dict)
    exclude: list[str] = field(default_factory=list)
    batch: int = 1
    limit: int | None = None
    shard: int = 0
    shards: int = 1
    seed: int = 0

    @property
    def index(self) -> str:
        """File name of this shard's index."""
        return "index.json" if self.shards == 1 else f"index-{self.shard}-of-{self.shards}.json"


def make_pairs(
    job: PairJob,
    ensemble: Ensemble,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Make the perturbations that are missing.

    Args:
        job: what to make.
        ensemble: what is attacked, on its device; may be empty for a defender's.
        progress: called with the photos done and the number of photos of this shard.

    Returns:
        How many were made; the others were there already.

    Raises:
        RidError: unfit photos, method, settings or surrogates; or a folder of other pairs.
    """
    header = PairHeader(
        job.method, settings_of(job.method, job.settings), job.levels, job.size, ensemble.names
    )
    check_members(job.method, ensemble)
    if job.method != "defender" and not len(ensemble):
        raise RidError(f"method {job.method} needs a surrogate")
    for member in ensemble.members:
        if job.size % member.stride:
            raise RidError(f"size {job.size} is no multiple of {member.stride}, as {member.name} "
                           "needs")  # fmt: skip
    store = _open(job, header)
    paths = list_portraits(job.data, job.exclude)
    if job.limit is not None and job.limit < len(paths):
        paths = [paths[i * len(paths) // job.limit] for i in range(job.limit)]
    mine = {path.relative_to(job.data).as_posix(): path for path in paths[job.shard :: job.shards]}

    made, done, fresh = 0, 0, 0
    waiting: list[tuple[str, str, Path]] = []
    try:
        for place, (name, path) in enumerate(mine.items()):
            content = digest(path.read_bytes())
            if store.is_done(name, content):
                done += 1
            else:
                waiting.append((name, content, path))
            if waiting and (len(waiting) == job.batch or place == len(mine) - 1):
                _make(job, ensemble, store, waiting)
                made, done, fresh = made + len(waiting), done + len(waiting), fresh + len(waiting)
                waiting = []
            if fresh >= _INDEX_EVERY:
                store.write_index(job.index, mine)
                fresh = 0
            progress(done, len(mine))
    finally:
        # Also when interrupted: what was made is found again.
        if fresh or not (job.output / job.index).exists():
            store.write_index(job.index, mine)
    return made


def _open(job: PairJob, header: PairHeader) -> PairStore:
    """The entries of all shards so far; another division into shards goes on where this one was."""
    if not any(job.output.glob("index*.json")):
        return PairStore(job.output, header)
    store = PairStore.open(job.output)
    if store.header != header:
        other = next(k for k, v in vars(header).items() if vars(store.header)[k] != v)
        raise RidError(
            f"{job.output}: holds pairs made with another {other} "
            f"({vars(store.header)[other]!s:.60}); choose another -o"
        )
    return store


def _make(
    job: PairJob, ensemble: Ensemble, store: PairStore, photos: list[tuple[str, str, Path]]
) -> None:
    """Protect and store one batch."""
    views = [to_tensor(centre_square(path, job.size)) for _, _, path in photos]
    image = torch.stack(views).to(ensemble.device, memory_format=torch.channels_last)
    seeds = [(int(content[:12], 16) + job.seed) % 2**48 for _, content, _ in photos]
    with enough_memory(
        "lower --batch or --size, or give the surrogates of the config "
        'gradient_checkpointing = true or dtype = "bfloat16"'
    ):
        units = protect(job.method, image, ensemble, Budget(job.levels), seeds, **job.settings)
    for (name, content, _), unit in zip(photos, units, strict=True):
        store.add(name, content, unit)
