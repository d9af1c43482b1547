"""``rid-train surrogate``: a small surrogate of one's own."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from rid_core.cli.common import CONTEXT
from rid_core.errors import MissingExtraError

_EPILOG = """\b
Examples:
  rid-train surrogate --config configs/face-autoencoder.toml -o runs/face-autoencoder
  rid-train surrogate --config configs/face-ldm.toml -o runs/face-ldm
  rid-train surrogate --config configs/encoder-s8.toml -o runs/encoder-s8 --set optim.steps=200
"""


@click.command("surrogate", context_settings=CONTEXT, epilog=_EPILOG)
@click.option("--config", type=click.Path(path_type=Path), required=True, help="TOML file.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Run folder.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Override a key.")
@click.option("--restart", is_flag=True, help="Begin anew instead of continuing the run in OUTPUT.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True),
              help="Stop after so many; what is there is written.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1), help="CPU threads (default: torch's choice).")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def surrogate(
    config: Path,
    output: Path,
    assignments: tuple[str, ...],
    restart: bool,
    minutes: float | None,
    threads: int | None,
    quiet: bool,
) -> None:
    """Train a small surrogate: a diffusion model of faces, its autoencoder, or an encoder.

    Interrupt it when you like: the same command continues where the last save was, bit for bit.
    OUTPUT receives the model in diffusers' layout, log.jsonl, TensorBoard events and pictures.
    """
    try:
        from rid_core.training.surrogates.train import load_surrogate_config, train_surrogate
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "a package", "train") from None
    import torch

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    if threads is not None:
        torch.set_num_threads(threads)
    checked = load_surrogate_config(config, assignments)
    path = train_surrogate(checked, output, restart=restart, quiet=quiet, minutes=minutes)
    click.echo(path)
