"""``rid-train pairs``: perturbations by a slow method, stored for regression."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rid_core.assignments import read_assignments
from rid_core.cli.common import CONTEXT, parse_shard
from rid_core.cli.options import count_option, grouped, path_option, quiet_option
from rid_core.errors import MissingExtraError

if TYPE_CHECKING:
    from rid_core.surrogates import Ensemble
    from rid_core.training.config import TrainConfig

_EPILOG = """\b
Examples:
  rid-train pairs --method pgd --data faces/ --surrogate taef2_encoder.pth -o pairs/
  rid-train pairs --method advdm --config configs/paper-regression.toml --limit 5000 -o pairs/
  rid-train pairs --method aspl --set rounds=10 --shard 2/8 --config my.toml -o pairs/
  accelerate launch --num_processes 8 -m rid_core.cli.train pairs --config my.toml -o pairs/
"""


@dataclass(frozen=True)
class ViewOptions:
    """Which photos are protected, how large, and how many at once.

    Attributes:
        data: folder; None takes the configuration's.
        size: side of the protected square, pixels.
        batch: photos at once.
        limit: at most so many photos, evenly spread.
    """

    data: Path | None
    size: int
    batch: int
    limit: int | None


@click.command("pairs", context_settings=CONTEXT, epilog=_EPILOG)
@click.option("--method", default="pgd", show_default=True,
              help="pgd, photoguard, momentum, advdm, mist, aspl, or defender.")  # fmt: skip
@path_option(
    "-o", "--output", required=True, help="Folder of pairs; what is there already is kept."
)
@path_option("--config", help="Take surrogates, bound and photos from this training config.")
@click.option("--surrogate", "surrogates", multiple=True, metavar="PATH",
              help="File, folder or name on the hub, instead of the config's.")  # fmt: skip
@click.option("--levels", type=click.IntRange(1, 255), help="Bound (default: the config's, or 8).")
@grouped(
    "view", ViewOptions,
    path_option("--data", help="Photos (default: the config's)."),
    count_option("--size", least=32, default=512, show_default=True,
                 help="Side of the protected square, pixels."),
    count_option("--batch", default=1, show_default=True, help="Photos at once."),
    count_option("--limit", help="At most so many photos, evenly spread."),
)  # fmt: skip
@click.option("--shard", metavar="I/N", help="Only part I (from 0) of N.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything random.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE",
              help="A setting of the method, such as steps=100.")  # fmt: skip
@click.option("--device", help="cpu, cuda, … (default: what Accelerate finds).")
@quiet_option
def pairs(
    method: str,
    output: Path,
    config: Path | None,
    surrogates: tuple[str, ...],
    levels: int | None,
    view: ViewOptions,
    shard: str | None,
    seed: int,
    assignments: tuple[str, ...],
    device: str | None,
    quiet: bool,
) -> None:
    """Protect photos one by one by a published method, and store what it made of them.

    A later training learns it by regression. Interrupt it when you like: the same command goes on.
    Several processes share the photos, by --shard or started by accelerate launch.
    """
    try:
        from accelerate import PartialState
        from tqdm.auto import tqdm

        from rid_core.training.config import load_config
        from rid_core.training.make_pairs import PairJob, make_pairs
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "a package", "train") from None

    # Before anything is loaded: a mistyped shard should not cost minutes.
    part = parse_shard(shard) if shard else None
    training = load_config(config) if config else None
    folder = view.data or (training.data.folder if training else None)
    if folder is None:
        raise click.UsageError("give --data FOLDER, or --config FILE")
    state = PartialState()
    number, shards = part or (state.process_index, state.num_processes)
    job = PairJob(
        method, folder, output, levels or (training.defender.levels if training else 8), view.size,
        read_assignments(assignments),
        training.data.exclude if training and view.data is None else [],
        view.batch, view.limit, number, shards, seed,
    )  # fmt: skip
    ensemble = _ensemble(surrogates, training).to(device or state.device)
    with tqdm(unit="photo", disable=quiet or not state.is_local_main_process) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        made = make_pairs(job, ensemble, progress)
    click.echo(f"{output}: {made} made, shard {number} of {shards}")


def _ensemble(paths: tuple[str, ...], training: TrainConfig | None) -> Ensemble:
    from rid_core.surrogates import Ensemble, load_surrogate, open_surrogate

    if paths:
        return Ensemble([open_surrogate(path) for path in paths])
    if training is None:
        return Ensemble([])
    members = [load_surrogate(s.kind, **(s.model_extra or {})) for s in training.surrogate]
    return Ensemble(members, training.ensemble.mode, training.ensemble.offload)
