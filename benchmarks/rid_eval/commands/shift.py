"""``rid-eval shift``: how far latents move, how visible it is, and how slow methods compare."""

from __future__ import annotations

import click

from rid_core.cli.common import CONTEXT
from rid_core.cli.options import count_option
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
  rid-eval shift rid-s rid-n --images ../shared/data/portraits --pattern '04[5-9]?.jpg' \\
      --surrogate ../shared/weights/taef2_encoder.pth --against pgd --json shift.json
  rid-eval shift runs/mine/rid-s.safetensors --images faces/ --surrogate taef2_encoder.pth
  rid-eval shift rid-s --images faces/ --surrogate weights/face-ldm --against pgd \\
      --against aspl --set pgd.steps=20 --set aspl.learning_rate=1e-3
"""


@click.command("shift", context_settings=CONTEXT, epilog=_EPILOG)
@click.argument("checkpoints", nargs=-1, required=True)
@photo_options
@count_option("--size", default=512, show_default=True,
              help="Side to scale and crop to, pixels.")  # fmt: skip
@levels_option
@click.option("--surrogate", "surrogates", multiple=True, required=True, metavar="FILE|FOLDER",
              help="Encoder of the TAESD family, or a whole diffusion model, whose training loss "
                   "is then measured too; repeatable.")  # fmt: skip
@click.option("--look", default=9.8, show_default=True, metavar="JOD",
              type=click.FloatRange(0, 10, max_open=True),
              help="Quality at which protections are compared; 10 is no visible "
                   "difference.")  # fmt: skip
@method_options
@click.option("--device", default="cpu", show_default=True, help="Where to compute: cpu, cuda …")
@output_options
@click.option("--update-card", is_flag=True, help="Write the figures into the checkpoints' cards.")
def shift(
    checkpoints: tuple[str, ...],
    photos: PhotoFolder,
    size: int,
    levels: int | None,
    surrogates: tuple[str, ...],
    look: float,
    slow: MethodOptions,
    device: str,
    output: OutputOptions,
    update_card: bool,
) -> None:
    """Relative latent shift and effect: plain, after JPEG 75, and after 0.5 x resize and back.

    CHECKPOINTS are files or bundled presets. The effect is the shift at the strength at which the
    protection has the JOD of --look, over that of random signs of the same JOD.
    """
    try:
        from rid_eval import api
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "a package", "train") from None
    from rid_eval.report.card import add_shift

    with output.progress("Measuring") as update:
        result = api.shift(
            checkpoints, photos, surrogates, size=size, levels=levels, look=look,
            against=slow.methods, settings=slow.changes, device=device, progress=update,
        )  # fmt: skip
    output.show(result)
    if update_card:
        add_shift(checkpoints, result)
