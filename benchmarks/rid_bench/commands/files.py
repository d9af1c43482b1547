"""Commands that make files of files: reference, fidelity, bundle, merge, report, compare."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rid_bench.commands.common import (
    CANNOT_TELL,
    PATH,
    output_option,
    references_option,
    show,
)
from rid_core.errors import RidError

if TYPE_CHECKING:
    from rid_bench.reference import Reference


@click.command("reference")
@click.option("--checkpoint", default="rid-s", show_default=True, metavar="FILE|PRESET")
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option("--photos", type=PATH, metavar="FOLDER", help="Instead of the bundled portraits.")
@click.option("--limit", type=click.IntRange(1), help="At most so many of them.")
@click.option("--resolution", default=512, show_default=True, metavar="PIXELS")
@click.option("--no-floor", is_flag=True, help="Do not measure the reference's own noise.")
@output_option("reference.safetensors")
def reference_command(
    checkpoint: str,
    device: str,
    photos: Path | None,
    limit: int | None,
    resolution: int,
    no_floor: bool,
    output: Path,
) -> int:
    """Make the float32 reference (TF32 off) that fidelity is measured against."""
    from rid_bench import photos as photo_sets
    from rid_bench import reference

    if photos is None:
        names, images = photo_sets.gate_photos(resolution)
        names, images = names[:limit], images[:limit]
    else:
        names, images = photo_sets.folder_photos(photos, resolution, limit)
    made = reference.make(checkpoint, names, images, device=device, floor=not no_floor)
    reference.save(made, output)
    click.echo(f"{made.preset}, weights {made.weights[:12]}, {len(images)} photos, {made.device}")
    for name, floor in made.floor.items():
        click.echo(
            f"  noise floor against {name}: {floor.sqnr_db:.1f} dB, largest error "
            f"{floor.max_error:.2g}"
        )
    click.echo(f"written to {output}")
    return 0


@click.command("fidelity")
@click.argument("files", nargs=-1, required=True, metavar="FILE|FOLDER...")
@references_option
@click.option(
    "--surrogate", type=PATH, metavar="FILE", help="Encoder to measure the latent shift on."
)
@click.option("-o", "--output", type=PATH, metavar="FILE", help="Results as JSON.")
def fidelity_command(
    files: tuple[str, ...],
    references: tuple[Path, ...],
    surrogate: Path | None,
    output: Path | None,
) -> int:
    """Hold exported FILES against a reference, photo by photo; exit code 1 if a gate fails."""
    import datetime

    from rid_bench import fidelity, results
    from rid_bench.artefacts import open_all
    from rid_bench.devices.host import PACKAGES
    from rid_bench.portable.machine import describe
    from rid_bench.portable.records import Run
    from rid_core.report.terminal import progress

    artefacts, checkpoints = open_all(files)
    if checkpoints:
        raise RidError(f"{checkpoints[0].path}: a checkpoint is what references are made of")
    encoder = fidelity.open_surrogate(surrogate) if surrogate else None
    with progress("running", len(artefacts)) as bar:

        def notify(line: str) -> None:
            bar.line(line)
            bar.advance()

        rows = fidelity.measure(artefacts, _load(references), encoder, notify=notify)
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    found = Run(created, describe(PACKAGES), fidelity=rows)
    show(found)
    if output is not None:
        results.save(output, [found])
        click.echo(f"written to {output}")
    return 1 if any(row.error or row.gate for row in rows) else 0


def _load(paths: Sequence[Path]) -> list[Reference]:
    from rid_bench import reference

    return [reference.load(path) for path in paths]


@click.command("bundle")
@click.argument("files", nargs=-1, required=True, metavar="FILE|FOLDER...")
@references_option
@output_option("bench.zip")
def bundle_command(files: tuple[str, ...], references: tuple[Path, ...], output: Path) -> int:
    """Pack FILES, photos, reference and runner into a zip for another machine."""
    from rid_bench.artefacts import open_all
    from rid_bench.devices import bundle

    artefacts, _ = open_all(files)
    fit = [artefact for artefact in artefacts if artefact.metadata.format in ("tflite", "onnx")]
    if not fit:
        raise RidError("boards run .tflite and .onnx files; none was given")
    names = bundle.pack(fit, _load(references), output)
    click.echo(f"{len(fit)} networks, {len(names)} files, {output.stat().st_size / 1e6:.1f} MB")
    click.echo(f"written to {output}; there: unzip, then python3 run.py")
    return 0


@click.command("merge")
@click.argument("files", nargs=-1, required=True, type=PATH)
@output_option("merged.json")
def merge_command(files: tuple[Path, ...], output: Path) -> int:
    """Put the results of several machines into one file."""
    from rid_bench import results

    runs = results.merge(files)
    results.save(output, runs)
    click.echo(f"{len(runs)} runs written to {output}")
    return 0


@click.command("report")
@click.argument("files", nargs=-1, required=True, type=PATH)
@click.option(
    "-o",
    "--output",
    "outputs",
    type=PATH,
    multiple=True,
    metavar="FILE",
    help="Ends in .html, .md or .json; several times for several.  [Markdown on the terminal]",
)
@click.option("--reference", type=PATH, metavar="FILE", help="Whose pictures the page shows.")
def report_command(
    files: tuple[Path, ...], outputs: tuple[Path, ...], reference: Path | None
) -> int:
    """Write results as a report: HTML, Markdown or JSON."""
    from rid_bench import report, results

    unknown = [path for path in outputs if path.suffix not in (".html", ".md", ".json")]
    if unknown:
        raise RidError(f"{unknown[0]}: a report ends in .html, .md or .json")
    runs = results.joined(results.merge(files))
    if not outputs:
        click.echo(report.build(runs, plots=False).to_markdown())
    pictures = _load([reference])[0] if reference else None
    for path in outputs:
        if path.suffix == ".json":
            results.save(path, runs)
        else:
            report.build(runs, pictures).write(path)
        click.echo(f"written to {path}")
    return 0


@click.command("compare")
@click.argument("old", type=PATH)
@click.argument("new", type=PATH)
def compare_command(old: Path, new: Path) -> int:
    """Say what became slower beyond the noise; exit code 1 if anything did, 3 if none can tell."""
    from rid_bench import compare, results
    from rid_bench.report import tables
    from rid_core.report import terminal

    found = compare.compare(results.load(old), results.load(new))
    for warning in found.warnings:
        click.echo(f"note: {warning}")
    click.echo(terminal.text(tables.changes(found)))
    if not found.changes:
        raise RidError("the two have no cell in common: nothing was compared")
    if found.slower:
        return 1
    return CANNOT_TELL if all(change.doubt for change in found.changes) else 0
