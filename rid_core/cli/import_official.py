"""``rid-train import-official``: turn one of the RID authors' checkpoints into one of ours."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import click

from rid_core.cli.common import CONTEXT


def _signed_eps(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> float | None:
    """Parse a bound on [-1, 1] as papers write it: ``12/255``, or a decimal fraction."""
    if text is None:
        return None
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError, OverflowError):
        raise click.BadParameter(f"{text!r} is no bound such as 12/255") from None


@click.command("import-official", context_settings=CONTEXT)
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Checkpoint to write, such as rid-dit.safetensors.",
)
@click.option(
    "--signed-eps",
    callback=_signed_eps,
    metavar="EPS",
    help="Bound on an image in [-1, 1], such as 12/255 (6 levels); default: from the file's name.",
)
@click.option(
    "--heads",
    type=int,
    default=8,
    show_default=True,
    help="Attention heads; the weights do not show them.",
)
def import_official(source: Path, output: Path, signed_eps: float | None, heads: int) -> None:
    """Import SOURCE, a checkpoint of the RID authors (ASDS-eps-12_255.bin), as a rid-dit.

    Only weights are read: a file that holds code is refused and nothing in it runs.
    """
    # Imported here because torch takes a second that --help should not.
    from rid_core import official
    from rid_core.checkpoint import save_checkpoint
    from rid_core.defenders import get_preset

    defender, card = official.import_official(source, signed_eps, heads)
    save_checkpoint(output, defender, card)
    config = defender.config
    same = "the paper's size" if config == get_preset(card.preset).config else str(card.config)
    click.echo(
        f"{output}: {card.preset} ({same}), {config.parameters() / 1e6:.1f} M parameters, "
        f"{card.levels} levels, licence of the weights unknown"
    )
