"""``rid-eval large-photos``: what an attacker's crop and scaling leave on 12 megapixels."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from rid_core.cli.common import CONTEXT
from rid_core.errors import MissingExtraError, RidError

_EPILOG = """\b
Examples:
  rid-eval large-photos rid-s --images ../shared/data/portraits --pattern '04[5-9]?.jpg' \\
      --limit 6 --encoder ../shared/weights/taef2_encoder.pth --json large-photos.json
  rid-eval large-photos rid-s --images DCIM/ --encoder encoder-s8 --side 512 --side 1024
"""


@click.command("large-photos", context_settings=CONTEXT, epilog=_EPILOG)
@click.argument("defender")
@click.option("--images", required=True, type=click.Path(path_type=Path),
              help="Photos; those below 2,000 pixels are enlarged to 12 megapixels.")  # fmt: skip
@click.option("--pattern", default="*", show_default=True, help="Which files of the folder.")
@click.option("--limit", type=click.IntRange(1), help="At most so many photos.")
@click.option("--encoder", "encoders", multiple=True, required=True, metavar="PATH",
              help="Encoder to measure on; repeatable.")  # fmt: skip
@click.option("--levels", type=int, help="Bound in 8-bit levels (default: the checkpoint's).")
@click.option("--view", "sizes", multiple=True, type=click.IntRange(64), default=(512, 1024),
              show_default=True, help="To what the attacker scales, pixels; all filters at the "
                                      "first; repeatable.")  # fmt: skip
@click.option("--side", "sides", multiple=True, type=click.IntRange(64), default=(512,),
              show_default=True, help="Short side at which the perturbation is predicted; "
                                      "rid-protect's is 512; repeatable.")  # fmt: skip
@click.option("--device", default="cpu", show_default=True, help="Of the encoders: cpu or cuda.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads (default: torch's choice).")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def large_photos(
    defender: str,
    images: Path,
    pattern: str,
    limit: int | None,
    encoders: tuple[str, ...],
    levels: int | None,
    sizes: tuple[int, ...],
    sides: tuple[int, ...],
    device: str,
    threads: int | None,
    json_path: Path | None,
    quiet: bool,
) -> None:
    """Effect on large photos after the attacker's crop and scaling, by where it is predicted.

    DEFENDER is a checkpoint, an exported file or a bundled preset. Compared: prediction at a short
    side of --side pixels and enlarging; the network over the full-size photo; and the network on
    the attacker's own view, which is the ceiling.
    """
    try:
        from tqdm.auto import tqdm

        from rid_eval import large_photos as measures
        from rid_eval.results import result, write_result
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "a package", "train") from None
    import torch

    from rid_core.budget import Budget
    from rid_core.data import list_portraits
    from rid_core.runtimes import load_runtime
    from rid_core.surrogates import open_encoder

    if device != "cpu" and not torch.cuda.is_available():
        raise RidError(f"--device {device}: there is no such device here; leave it out")
    if threads is not None:
        torch.set_num_threads(threads)
    runtime = load_runtime(defender)
    if runtime.fixed_size is not None and set(sizes) != {runtime.fixed_size}:
        raise RidError(
            f"{defender} works at {runtime.fixed_size} pixels only, and the ceiling is measured in "
            f"the attacker's view; give --view {runtime.fixed_size}, or a checkpoint"
        )
    for size in sizes:
        if size % runtime.stride:
            raise RidError(f"{runtime.preset} takes multiples of {runtime.stride} pixels as --view")
    budget = Budget(levels or runtime.levels)
    surrogates = [open_encoder(path) for path in encoders]
    for surrogate in surrogates:
        surrogate.to(device)  # type: ignore[attr-defined]
    paths = [path for path in list_portraits(images, []) if path.match(pattern)][:limit]
    if not paths:
        raise RidError(f"{images}: no photo matches {pattern!r}")
    views = measures.default_views(sizes)
    photos = measures.Photos(paths)
    with tqdm(total=len(views) * len(paths), unit="view", disable=quiet) as bar:
        effects = measures.measure(
            photos, runtime, budget, views, surrogates,
            sides=sides, device=device, on_view=bar.update,
        )  # fmt: skip
    click.echo(measures.table(effects))
    if json_path is not None:
        write_result(json_path, result(
            "large photos",
            defender=Path(defender).stem,
            weights=measures.weights_of(runtime),
            images={"folder": images.name, "pattern": pattern, "count": len(paths),
                    "enlarged": photos.enlarged, "size": list(measures.PHOTO_SIZE)},
            levels=budget.levels,
            device=device,
            views={view.name: dataclasses.asdict(view) for view in views},
            effects={encoder: {view: {way: dataclasses.asdict(effect)
                                      for way, effect in row.items()}
                               for view, row in rows.items()}
                     for encoder, rows in effects.items()},
        ))  # fmt: skip
