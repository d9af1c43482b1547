"""``rid-eval look``: how visible a protection is."""

from __future__ import annotations

from pathlib import Path

import click

from rid_core.cli.common import CONTEXT
from rid_core.cli.options import count_option, path_option
from rid_core.errors import MissingExtraError
from rid_eval.commands.options import (
    MethodOptions,
    OutputOptions,
    levels_option,
    method_options,
    output_options,
    photo_options,
)
from rid_eval.photos import PhotoFolder

_EPILOG = """\b
Examples:
  rid-eval look rid-s rid-n --images ../shared/data/portraits --pattern '04[5-9]?.jpg' \\
      --limit 16 --sheet look.png --json look.json
  rid-eval look rid-s --images faces/ --against pgd --surrogate taesd/ --set pgd.steps=40
"""


@click.command("look", context_settings=CONTEXT, epilog=_EPILOG)
@click.argument("checkpoints", nargs=-1, required=True)
@photo_options
@count_option("--size", default=512, show_default=True,
              help="Side to scale and crop to, pixels.")  # fmt: skip
@levels_option
@count_option("--large", least=0, default=4, show_default=True,
              help="So many photos also at 12 megapixels, fitted to a phone's screen.")  # fmt: skip
@method_options
@click.option("--surrogate", "surrogates", multiple=True, metavar="FILE|FOLDER",
              help="What slow methods attack; repeatable.")  # fmt: skip
@path_option("--sheet", help="Faces at 1:1 and enlarged three times (PNG).")
@output_options
def look(
    checkpoints: tuple[str, ...],
    photos: PhotoFolder,
    size: int,
    levels: int | None,
    large: int,
    slow: MethodOptions,
    surrogates: tuple[str, ...],
    sheet: Path | None,
    output: OutputOptions,
) -> None:
    """JOD, SSIMULACRA2, FLIP and PSNR of protected photos, beside random signs.

    CHECKPOINTS are files or bundled presets. JOD (ColorVideoVDP) is at 38 pixels per degree, a
    photo that fills a phone's width at 30 cm, and enlarged twice: 10 is no visible difference, one
    less is preferred by 75 %.
    """
    try:
        from rid_eval import api
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "a package", "eval") from None

    with output.progress("Looking") as update:
        result = api.look(
            checkpoints, photos, size=size, levels=levels, large=large, against=slow.methods,
            surrogates=surrogates, settings=slow.changes, sheet=sheet, progress=update,
        )  # fmt: skip
    output.show(result)
    if sheet is not None:
        click.echo(f"{sheet}: original, {', '.join(result.rows)}")
