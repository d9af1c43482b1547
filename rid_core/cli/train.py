"""``rid-train``: train a defender."""

from __future__ import annotations

from pathlib import Path

import click

from rid_core.cli.common import CONTEXT, OptionalCommandGroup, version_option
from rid_core.cli.common import run as run_program
from rid_core.cli.import_official import import_official
from rid_core.cli.options import RunOptions, path_option, run_options
from rid_core.cli.pairs import pairs
from rid_core.cli.surrogate import surrogate
from rid_core.errors import MissingExtraError

_EPILOG = """\b
Examples:
  rid-train --config configs/rid-s.toml -o runs/rid-s-1
  rid-train --config configs/rid-s.toml -o runs/short --set optim.steps=200
  accelerate launch --num_processes 8 -m rid_core.cli.train --config my.toml -o runs/mine
  rid-train --qat rid-s --set data.folder=faces/ -o runs/rid-s-int8
  rid-train pairs --method pgd --data faces/ --surrogate taef2_encoder.pth -o pairs/
  rid-train surrogate --config configs/face-ldm.toml -o runs/face-ldm
  rid-train import-official ASDS-eps-12_255.bin -o rid-dit.safetensors
"""


@click.group(
    cls=OptionalCommandGroup, invoke_without_command=True, context_settings=CONTEXT, epilog=_EPILOG
)
@path_option("--config", help="TOML file.")
@click.option(
    "--qat",
    metavar="FILE|PRESET",
    help="Fine-tune a trained defender so that int8 loses less; --config may be left out.",
)
@path_option("-o", "--output", help="Run folder.")
@run_options
@version_option
@click.pass_context
def group(
    context: click.Context,
    config: Path | None,
    qat: str | None,
    output: Path | None,
    run: RunOptions,
) -> None:
    """Train a defender on a folder of portraits.

    Interrupt it when you like: the same command continues where the last save was, bit for bit.
    OUTPUT receives the trained checkpoint, log.jsonl, TensorBoard events and preview pictures.
    """
    if context.invoked_subcommand is not None:
        return
    if (config is None and qat is None) or output is None:
        raise click.UsageError(
            "give --config FILE (or --qat FILE) and -o FOLDER, or a command; see --help"
        )
    try:
        from rid_core.training.config import load_config
        from rid_core.training.loop import train
        from rid_core.training.qat import fine_tune, load_qat_config
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "a package", "train") from None

    run.prepare()
    if qat is not None:
        path = fine_tune(load_qat_config(qat, config, run.assignments), output, **run.fit())
    else:
        assert config is not None
        path = train(load_config(config, run.assignments), output, **run.fit())
    click.echo(path)


group.add_command(import_official)
group.add_command(pairs)
group.add_command(surrogate)


def main() -> None:
    """Entry point."""
    run_program(group)


if __name__ == "__main__":
    main()
