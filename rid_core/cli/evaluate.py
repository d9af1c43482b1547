"""``rid-eval``: measure what a defender does."""

from __future__ import annotations

import dataclasses
import json
import platform
from pathlib import Path
from typing import Any

import click

from rid_core.cli.common import CONTEXT, run, version_option
from rid_core.cli.evaluation_judges import judges
from rid_core.cli.evaluation_large_photos import large_photos
from rid_core.cli.evaluation_personalize import personalize
from rid_core.cli.evaluation_report import report as report_command
from rid_core.cli.evaluation_robustness import robustness
from rid_core.errors import MissingExtraError, RidError

_SHIFT_EPILOG = """\b
Examples:
  rid-eval shift rid-s rid-n --images ../shared/data/portraits --pattern '04[5-9]?.jpg' \\
      --surrogate ../shared/weights/taef2_encoder.pth --pgd 40 --json shift.json
  rid-eval shift runs/mine/rid-s.safetensors --images faces/ --surrogate taef2_encoder.pth
"""


@click.group(context_settings=CONTEXT)
@version_option
def group() -> None:
    """Measure what a defender does, and how visible it is."""


@group.command(epilog=_SHIFT_EPILOG)
@click.argument("checkpoints", nargs=-1, required=True)
@click.option("--images", required=True, type=click.Path(path_type=Path), help="Portraits.")
@click.option("--pattern", default="*", show_default=True, help="Which files of the folder.")
@click.option("--limit", type=click.IntRange(1), help="At most so many images.")
@click.option("--size", default=256, show_default=True, help="Side to scale and crop to, pixels.")
@click.option(
    "--surrogate",
    "surrogates",
    multiple=True,
    required=True,
    metavar="FILE|FOLDER",
    help="Encoder of the TAESD family, or a whole diffusion model; repeatable. PGD attacks the "
    "first.",
)
@click.option("--levels", type=int, help="Bound in 8-bit levels (default: the checkpoint's).")
@click.option("--pgd", "pgd_steps", default=0, help="Also measure PGD with so many steps.")
@click.option("--device", default="cpu", show_default=True, help="Where to compute: cpu, cuda …")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures.")
@click.option("--spectrum", type=click.Path(path_type=Path), help="Draw the spectra (PNG).")
@click.option("--update-card", is_flag=True, help="Write the figures into the checkpoints' cards.")
def shift(
    checkpoints: tuple[str, ...],
    images: Path,
    pattern: str,
    limit: int | None,
    size: int,
    surrogates: tuple[str, ...],
    levels: int | None,
    pgd_steps: int,
    device: str,
    json_path: Path | None,
    spectrum: Path | None,
    update_card: bool,
) -> None:
    """Relative latent shift against random signs and PGD, plain and after JPEG 75 and 0.5 x resize.

    CHECKPOINTS are files or bundled presets. After the channel two ratios to random signs stand in
    brackets: of the shift from the clean photo after the same channel, and from the original.
    """
    try:
        from rid_core.evaluation import shift as measures
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "a package", "train") from None
    import torch

    from rid_core.budget import Budget
    from rid_core.checkpoint import (
        find_checkpoint,
        load_checkpoint,
        save_checkpoint,
        weights_digest,
    )
    from rid_core.evaluation.results import rounded
    from rid_core.evaluation.spectrum import plot_spectra
    from rid_core.files import write_text
    from rid_core.surrogates import open_encoder

    stems = [Path(name).stem for name in checkpoints]
    # Checkpoints of several runs have one name: then the paths tell them apart.
    labels = {name: stem if stems.count(stem) == 1 else name
              for name, stem in zip(checkpoints, stems, strict=True)}  # fmt: skip
    loaded = {name: load_checkpoint(find_checkpoint(name)) for name in checkpoints}
    bounds = {levels or card.levels for _, card in loaded.values()}
    if len(bounds) > 1:
        raise RidError(f"the checkpoints have different bounds, {sorted(bounds)}; give --levels")
    budget = Budget(bounds.pop())
    encoders = [open_encoder(path) for path in surrogates]
    for encoder in encoders:
        encoder.to(device)  # type: ignore[attr-defined]
    batch = measures.load_images(images, pattern, size, limit)
    if not batch:
        raise RidError(f"{images}: no portrait matches {pattern!r}")

    protections: dict[str, measures.Protection] = {"random": measures.random_signs}
    if pgd_steps:
        protections[f"pgd-{pgd_steps}"] = measures.pgd_protection(encoders[0], budget, pgd_steps)
    for name, (defender, _) in loaded.items():
        protections[labels[name]] = measures.defender_protection(defender)
    photos = [image.to(device) for image in batch.values()]
    rows, spectra = {}, {}
    with click.progressbar(length=len(protections) * len(batch), label="Measuring") as bar:
        for label, protection in protections.items():
            rows[label], spectra[label] = measures.measure(
                protection,
                photos,
                encoders,
                budget,
                lambda: bar.update(1),
            )
    click.echo(measures.table(rows))
    report: dict[str, Any] = {
        "what": "relative latent shift",
        "images": {"folder": images.name, "pattern": pattern, "count": len(batch), "size": size},
        "levels": budget.levels,
        "encoders": [encoder.name for encoder in encoders],
        "pgd_attacks": encoders[0].name,
        "weights": {labels[n]: weights_digest(d)[:16] for n, (d, _) in loaded.items()},
        "rows": rounded({label: dataclasses.asdict(row) for label, row in rows.items()}),
        "machine": {
            "cpu": platform.processor() or platform.machine(),
            "torch": torch.__version__,
            "device": device,
        },
    }
    if json_path is not None:
        write_text(json_path, json.dumps(report, indent=2) + "\n")
    if spectrum is not None:
        plot_spectra(spectra, spectrum)
    if update_card:
        for name, (defender, card) in loaded.items():
            row = report["rows"][labels[name]]
            key = f"shift at {size}, {len(batch)} portraits, {budget.levels} levels"
            figures = {**card.figures, key: {**row, "random": report["rows"]["random"]["shift"]}}
            fresh = dataclasses.replace(card, figures=figures)
            save_checkpoint(find_checkpoint(name), defender.cpu(), fresh)


group.add_command(judges)
group.add_command(robustness)
group.add_command(large_photos)
group.add_command(report_command)
group.add_command(personalize)


def main() -> None:
    """Entry point."""
    run(group)


if __name__ == "__main__":
    main()
