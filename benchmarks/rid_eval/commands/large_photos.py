"""``rid-eval large-photos``: what an attacker's crop and scaling leave on 12 megapixels."""

from __future__ import annotations

from pathlib import Path

import click

from rid_core.cli.common import CONTEXT
from rid_core.errors import MissingExtraError, RidError
from rid_eval.commands.options import (
    ComputeOptions,
    OutputOptions,
    compute_options,
    levels_option,
    output_options,
    photo_options,
)
from rid_eval.photos import PhotoFolder

_EPILOG = """\b
Examples:
  rid-eval large-photos rid-s --images ../shared/data/portraits --pattern '04[5-9]?.jpg' \\
      --limit 6 --encoder ../shared/weights/taef2_encoder.pth --json large-photos.json
  rid-eval large-photos rid-s --images DCIM/ --encoder encoder-s8 --side 512 --side 1024
"""


@click.command("large-photos", context_settings=CONTEXT, epilog=_EPILOG)
@click.argument("defender")
@photo_options
@click.option("--encoder", "encoders", multiple=True, required=True, metavar="PATH",
              help="Encoder to measure on; repeatable.")  # fmt: skip
@levels_option
@click.option("--view", "sizes", multiple=True, type=click.IntRange(64), default=(512, 1024),
              show_default=True, help="To what the attacker scales, pixels; all filters at the "
                                      "first; repeatable.")  # fmt: skip
@click.option("--side", "sides", multiple=True, type=click.IntRange(64), default=(512,),
              show_default=True, help="Short side at which the perturbation is predicted; "
                                      "rid-protect's is 512; repeatable.")  # fmt: skip
@compute_options()
@output_options
def large_photos(
    defender: str,
    photos: PhotoFolder,
    encoders: tuple[str, ...],
    levels: int | None,
    sizes: tuple[int, ...],
    sides: tuple[int, ...],
    compute: ComputeOptions,
    output: OutputOptions,
) -> None:
    """Effect on large photos after the attacker's crop and scaling, by where it is predicted.

    DEFENDER is a checkpoint, an exported file or a bundled preset. Photos below 2,000 pixels are
    enlarged to 12 megapixels. Compared: prediction at a short side of --side pixels and enlarging;
    the network over the full-size photo; and the network on the attacker's own view, the ceiling.
    """
    try:
        from rid_core.budget import Budget
        from rid_core.runtimes import load_runtime
        from rid_core.surrogates import moved, open_encoder
        from rid_eval import large_photos as measures
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "a package", "train") from None

    device = compute.prepare()
    runtime = load_runtime(defender)
    if runtime.fixed_size is not None and set(sizes) != {runtime.fixed_size}:
        raise RidError(
            f"{defender} works at {runtime.fixed_size} pixels only, and the ceiling is measured in "
            f"the attacker's view; give --view {runtime.fixed_size}, or a checkpoint"
        )
    if any(size % runtime.stride for size in sizes):
        raise RidError(f"{runtime.preset} takes multiples of {runtime.stride} pixels as --view")
    budget = Budget(levels or runtime.levels)
    opened = [moved(open_encoder(path), device) for path in encoders]
    read = measures.LargePhotos(photos.paths())
    views = measures.default_views(sizes)
    with output.progress("Views") as update:
        effects = measures.measure(
            read, runtime, budget, views, opened, sides=sides, device=device, progress=update
        )
    output.show(measures.LargePhotosResult(
        defender=Path(defender).stem,
        weights=measures.weights_of(runtime),
        images=measures.LargePhotoSet(photos.images.name, photos.pattern, len(read),
                                      measures.PHOTO_SIZE, read.enlarged),
        levels=budget.levels,
        device=compute.device,
        views={view.name: view for view in views},
        effects=effects,
    ))  # fmt: skip
