"""``rid-train surrogate``: a small surrogate of one's own."""

from __future__ import annotations

from pathlib import Path

import click

from rid_core.cli.common import CONTEXT
from rid_core.cli.options import RunOptions, path_option, run_options
from rid_core.errors import MissingExtraError

_EPILOG = """\b
Examples:
  rid-train surrogate --config configs/face-autoencoder.toml -o runs/face-autoencoder
  rid-train surrogate --config configs/face-ldm.toml -o runs/face-ldm
  rid-train surrogate --config configs/encoder-s8.toml -o runs/encoder-s8 --set optim.steps=200
"""


@click.command("surrogate", context_settings=CONTEXT, epilog=_EPILOG)
@path_option("--config", required=True, help="TOML file.")
@path_option("-o", "--output", required=True, help="Run folder.")
@run_options
def surrogate(config: Path, output: Path, run: RunOptions) -> None:
    """Train a small surrogate: a diffusion model of faces, its autoencoder, or an encoder.

    Interrupt it when you like: the same command continues where the last save was, bit for bit.
    OUTPUT receives the model in diffusers' layout, log.jsonl, TensorBoard events and pictures.
    """
    try:
        from rid_core.training.surrogates.train import load_surrogate_config, train_surrogate
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "a package", "train") from None

    run.prepare()
    checked = load_surrogate_config(config, run.assignments)
    click.echo(train_surrogate(checked, output, **run.fit()))
