"""``rid-protect``: protect photos."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rid_core.cli.common import CONTEXT, run, version_option
from rid_core.errors import RidError

if TYPE_CHECKING:
    from rid_core.protect import Outcome

_MARK = ".protected"

_EPILOG = """\b
Examples:
  rid-protect photo.jpg -o protected.png
  rid-protect photo.jpg -o out.png --compare sheet.jpg
  rid-protect photo.jpg                          # writes photo.protected.jpg beside it
  rid-protect holiday/ -o safe/ --recursive      # again after an interruption: goes on
  rid-protect *.heic -o safe/ --format jpg --quality 90 --strip-gps
  rid-protect photo.jpg -o out.png --model dist/rid-s.tflite --levels 6 --json

\b
Exit code: 0 all protected or already there, 1 something failed, 2 wrong usage, 130 interrupted.
"""


@dataclass(frozen=True)
class _Job:
    source: Path
    target: Path
    comparison: Path | None = None

    @property
    def outputs(self) -> list[Path]:
        return [self.target] if self.comparison is None else [self.target, self.comparison]


@dataclass
class _Results:
    """What became of the photos, by what is said at the end."""

    protected: list[Outcome] = field(default_factory=list)
    skipped: list[_Job] = field(default_factory=list)
    failed: list[tuple[_Job, str]] = field(default_factory=list)


@click.command(context_settings=CONTEXT, epilog=_EPILOG)
@click.argument("inputs", nargs=-1, required=True, metavar="PHOTO_OR_FOLDER...")
@click.option("-o", "--output", metavar="PATH", help="File for one photo, else a folder.")
@click.option("--model", default="rid-s", show_default=True, help="Preset, or a model file.")
@click.option("--levels", type=int, help="Largest change of a colour value (1-255) [model's own].")
@click.option("--strength", type=float, default=1.0, show_default=True, help="Share of it, (0, 1].")
@click.option("--quality", type=int, help="1-100 for JPEG, HEIC [95] and WebP [lossless].")
@click.option(
    "--format", "form", type=click.Choice(["jpg", "png", "webp", "heic"]), help="Convert."
)
@click.option(
    "--compare",
    metavar="PICTURE",
    help="Also write original, protected and change x16 around grey, side by side, each at most "
    "768 pixels long (one photo only).",
)
@click.option("--strip-gps", is_flag=True, help="Leave out where the photo was taken.")
@click.option("-r", "--recursive", is_flag=True, help="Look into folders inside folders.")
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads [the runtime's choice].")
@click.option("--json", "as_json", is_flag=True, help="Print results as JSON.")
@version_option
def command(
    inputs: tuple[str, ...],
    output: str | None,
    model: str,
    levels: int | None,
    strength: float,
    quality: int | None,
    form: str | None,
    compare: str | None,
    strip_gps: bool,
    recursive: bool,
    overwrite: bool,
    threads: int | None,
    as_json: bool,
) -> int:
    """Add a bounded, hardly visible perturbation to photos of people.

    Without -o, NAME.protected.EXT is written beside each photo. An original is never replaced. One
    photo whose output exists is an error; of several, those whose output exists and is newer are
    skipped, so an interrupted run goes on where it stopped. --overwrite does all of them anew.
    """
    batch = len(inputs) > 1 or Path(inputs[0]).is_dir()
    jobs = _plan([Path(path) for path in inputs], output, form, recursive)
    if compare is not None:
        if batch:
            raise RidError("--compare goes with one photo, not with several or a folder")
        jobs = [replace(jobs[0], comparison=Path(compare))]
    _check_targets(jobs)

    from rid_core import photo
    from rid_core.budget import DEFAULT_LEVELS, Budget

    photo.check_quality(quality)
    if not batch:
        for path in jobs[0].outputs:
            photo.format_of(path)
    Budget(DEFAULT_LEVELS if levels is None else levels, strength)
    results = _Results()
    todo = [job for job in jobs if overwrite or not _settled(job, batch, results)]
    if todo:
        from rid_core.protect import protect_file
        from rid_core.runtimes import load_runtime

        runtime = load_runtime(model, threads=threads)
        budget = Budget(runtime.levels if levels is None else levels, strength)
        bar = batch and sys.stderr.isatty()
        with _progress(todo, bar) as queue:
            for job in queue:
                try:
                    outcome = protect_file(
                        job.source,
                        job.target,
                        runtime,
                        budget,
                        quality=quality,
                        strip_gps=strip_gps,
                        comparison=job.comparison,
                    )
                except RidError as error:
                    results.failed.append((job, str(error)))
                else:
                    results.protected.append(outcome)
                    if not bar and not as_json:
                        _say(outcome)
        if bar and not as_json:
            for outcome in results.protected:
                _say(outcome)
    for _, reason in results.failed:
        click.echo(f"error: {reason}" if not batch else f"failed: {reason}", err=True)
    if as_json:
        click.echo(json.dumps(_as_json(results), indent=2))
    elif batch:
        click.echo(
            f"protected {len(results.protected)}, skipped {len(results.skipped)} "
            f"(already there), failed {len(results.failed)}"
        )
    return 1 if results.failed else 0


def _plan(inputs: list[Path], output: str | None, form: str | None, recursive: bool) -> list[_Job]:
    """Which photo goes where.

    Raises:
        RidError: folders without photos, or an output that does not fit the inputs.
    """
    folder = None
    if output is not None:
        ends_in_slash = output.endswith(("/", "\\"))
        several = len(inputs) > 1 or inputs[0].is_dir()
        if several or ends_in_slash or Path(output).is_dir():
            folder = Path(output)
            if folder.exists() and not folder.is_dir():
                raise RidError(f"{folder} is a file; for several photos -o names a folder")
        elif form is not None:
            raise RidError("--format goes with a folder; for one photo the name after -o decides")
        else:
            return [_Job(inputs[0], Path(output))]
    jobs = []
    for path in inputs:
        found = [path]
        if path.is_dir():
            found = sorted(_photos(path, recursive, folder))
            if not found:
                hint = "" if recursive else "; --recursive looks into its folders"
                raise RidError(f"{path}: no photos in it{hint}")
        for source in found:
            suffix = source.suffix if form is None else f".{form}"
            if folder is None:
                target = source.with_name(f"{source.stem}{_MARK}{suffix}")
            else:
                inside = source.relative_to(path) if path.is_dir() else Path(source.name)
                target = folder / inside.with_suffix(suffix)
            jobs.append(_Job(source, target))
    return list(dict.fromkeys(jobs))


def _photos(folder: Path, recursive: bool, output: Path | None) -> Iterator[Path]:
    """Photos in a folder: not hidden ones, not our own results, nothing in the output folder."""
    from rid_core.photo import FORMATS

    skip = output.resolve() if output is not None else None
    if skip == folder.resolve():
        skip = None  # in place: refused later, with the reason
    for path in folder.rglob("*") if recursive else folder.iterdir():
        inside = path.relative_to(folder)
        if path.suffix.lower() not in FORMATS or not path.is_file():
            continue
        if path.stem.endswith(_MARK) or any(part.startswith(".") for part in inside.parts):
            continue
        if skip is not None and skip in path.resolve().parents:
            continue
        yield path


def _check_targets(jobs: Iterable[_Job]) -> None:
    """No original is replaced, and no two photos share an output."""
    sources = {job.source.resolve() for job in jobs}
    taken: dict[Path, Path] = {}
    for job in jobs:
        target = job.target.resolve()
        if target in sources:
            raise RidError(f"{job.target} is an original and is not replaced; choose another -o")
        if target in taken:
            raise RidError(f"{taken[target]} and {job.source} would both become {job.target}")
        taken[target] = job.source
        if job.comparison is not None and job.comparison.resolve() in {*sources, target}:
            raise RidError(
                f"{job.comparison} is the photo or its output; --compare needs a name of its own"
            )


def _settled(job: _Job, batch: bool, results: _Results) -> bool:
    """Whether nothing is to be done because the output exists; says so in ``results``."""
    there = [path for path in job.outputs if path.exists()]
    if not there:
        return False
    if not batch:
        results.failed.append((job, f"{there[0]} exists; --overwrite replaces it"))
    elif (
        job.source.exists() and job.target.stat().st_mtime_ns < job.source.stat().st_mtime_ns
    ):  # may be anybody's picture: not ours to replace
        reason = f"{job.target} exists and is older than {job.source}; --overwrite replaces it"
        results.failed.append((job, reason))
    else:
        results.skipped.append(job)
    return True


@contextmanager
def _progress(jobs: list[_Job], shown: bool) -> Iterator[Iterable[_Job]]:
    if not shown:
        yield jobs
        return
    with click.progressbar(
        jobs,
        label="protecting",
        file=sys.stderr,
        show_pos=True,
        item_show_func=lambda job: job.source.name if job else "",
    ) as bar:
        yield bar


def _say(outcome: Outcome) -> None:
    click.echo(
        f"{outcome.source} -> {outcome.target}  {outcome.width} x {outcome.height}  "
        f"{outcome.seconds:.1f} s  at most {outcome.max_levels} levels  {outcome.psnr:.1f} dB"
    )
    for note in outcome.notes:
        click.echo(f"  note: {note}")


def _as_json(results: _Results) -> dict[str, Any]:
    """For machines; a ``psnr`` of null means that nothing changed."""
    return {
        "protected": [
            {
                "source": str(outcome.source),
                "target": str(outcome.target),
                "width": outcome.width,
                "height": outcome.height,
                "seconds": round(outcome.seconds, 3),
                "max_levels": outcome.max_levels,
                "psnr": round(outcome.psnr, 2) if math.isfinite(outcome.psnr) else None,
                "notes": list(outcome.notes),
            }
            for outcome in results.protected
        ],
        "skipped": [
            {"source": str(job.source), "target": str(job.target)} for job in results.skipped
        ],
        "failed": [
            {"source": str(job.source), "target": str(job.target), "error": reason}
            for job, reason in results.failed
        ],
    }


def main() -> None:
    """Entry point."""
    run(command)


if __name__ == "__main__":
    main()
