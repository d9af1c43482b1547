"""``rid-eval look``: how visible a protection is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from rid_core.cli.common import CONTEXT
from rid_core.errors import MissingExtraError, RidError
from rid_eval.commands.shift import open_protections, photo_options

_EPILOG = """\b
Examples:
  rid-eval look rid-s rid-n --images ../shared/data/portraits --pattern '04[5-9]?.jpg' \\
      --limit 16 --sheet look.png --json look.json
  rid-eval look rid-s --images faces/ --against pgd --surrogate taesd/ --set pgd.steps=40
"""


@click.command("look", context_settings=CONTEXT, epilog=_EPILOG)
@click.argument("checkpoints", nargs=-1, required=True)
@photo_options
@click.option(
    "--large",
    default=4,
    show_default=True,
    type=click.IntRange(0),
    help="So many photos also at 12 megapixels, fitted to a phone's screen.",
)
@click.option(
    "--against",
    "peers",
    multiple=True,
    metavar="METHOD",
    help="Slow method of rid-train pairs to look at beside them, such as pgd; repeatable.",
)
@click.option(
    "--surrogate",
    "surrogates",
    multiple=True,
    metavar="FILE|FOLDER",
    help="What slow methods attack; repeatable.",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="METHOD.KEY=VALUE",
    help="A setting of a slow method, such as photoguard.steps=100; repeatable.",
)
@click.option("--sheet", type=click.Path(path_type=Path), help="Faces at 1:1 and 3 x (PNG).")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures.")
def look(
    checkpoints: tuple[str, ...],
    images: Path,
    pattern: str,
    limit: int | None,
    size: int,
    levels: int | None,
    large: int,
    peers: tuple[str, ...],
    surrogates: tuple[str, ...],
    changes: tuple[str, ...],
    sheet: Path | None,
    json_path: Path | None,
) -> None:
    """JOD, SSIMULACRA2, FLIP and PSNR of protected photos, beside random signs.

    CHECKPOINTS are files or bundled presets. JOD (ColorVideoVDP) is at 38 pixels per degree, a
    photo that fills a phone's width at 30 cm, and enlarged twice: 10 is no visible difference, one
    less is preferred by 75 %.
    """
    try:
        from rid_eval import look as measures
        from rid_eval.shift import FLOOR
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "a package", "eval") from None
    import numpy as np
    from PIL import Image

    from rid_core.files import replacing
    from rid_core.surrogates import open_surrogate
    from rid_eval.results import result, write_result
    from rid_eval.shift import load_images

    opened = open_protections(
        checkpoints, levels, peers, changes, [open_surrogate(path) for path in surrogates]
    )
    batch = list(load_images(images, pattern, size, limit).values())
    if not batch:
        raise RidError(f"{images}: no portrait matches {pattern!r}")
    rows, sheets = {}, [[] for _ in batch]  # type: ignore[var-annotated]
    total = len(opened.protections) * (len(batch) + min(large, len(batch)))
    with click.progressbar(length=total, label="Looking") as bar:
        for label, protection in opened.protections.items():
            looks, phone = [], []
            for number, image in enumerate(batch):
                changed = measures.protected_at(image, protection(image), opened.budget)
                sheets[number].append(changed)
                looks.append(measures.look_of(image, changed))
                bar.update(1)
            for image in batch[:large]:
                phone.append(measures.phone_jod(image, protection, opened.budget))
                bar.update(1)
            rows[label] = measures.row_of(looks, phone)
    click.echo(measures.table(rows))
    if sheet is not None:
        panels = [
            measures.face_sheet(image, changed)
            for image, changed in zip(batch, sheets, strict=True)
        ]
        with replacing(sheet) as fresh:
            Image.fromarray(np.concatenate(panels[:4])).save(fresh, "PNG")
        click.echo(f"{sheet}: original, {', '.join(rows)}")
    if json_path is not None:
        write_result(json_path, result(
            "look",
            images={"folder": images.name, "pattern": pattern, "count": len(batch), "size": size},
            levels=opened.budget.levels,
            large=min(large, len(batch)),
            floor=FLOOR,
            against=opened.about,
            weights=opened.weights,
            rows={label: dataclasses.asdict(row) for label, row in rows.items()},
        ))  # fmt: skip
