"""``rid-protect``: protect photos."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rid_core.cli.common import CONTEXT, Console, run, version_option
from rid_core.cli.plan import Failure, Job, is_folder, make_plan, modified, without_clashes
from rid_core.cli.workers import Settings, in_processes, in_turn
from rid_core.errors import RidError, printable

if TYPE_CHECKING:
    from rid_core.protection import Outcome

_EPILOG = """\b
Examples:
  rid-protect photo.jpg -o protected.png
  rid-protect photo.jpg -o out.png --compare sheet.jpg
  rid-protect photo.jpg                          # writes photo.protected.jpg beside it
  rid-protect holiday/ -o safe/ --recursive      # again after an interruption: goes on
  rid-protect holiday/ -o safe/ --workers 4      # four photos at once
  rid-protect *.heic -o safe/ --format jpg --quality 90 --strip-gps
  rid-protect photo.jpg -o out.png --model dist/rid-s.tflite --levels 6 --json

\b
Exit code: 0 all protected or already there, 1 something failed, 2 wrong usage, 130 interrupted.
"""


@dataclass(frozen=True)
class _Options:
    """What the command line says."""

    inputs: tuple[str, ...]
    output: str | None
    model: str
    levels: int | None
    strength: float
    quality: int | None
    form: str | None
    compare: str | None
    strip_gps: bool
    recursive: bool
    overwrite: bool
    workers: int
    threads: int | None
    as_json: bool


@dataclass
class _Results:
    """What became of the photos, by what is said at the end."""

    protected: list[Outcome] = field(default_factory=list)
    skipped: list[Job] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)

    def fail(self, job: Job, error: RidError) -> None:
        """Note that a photo could not be protected."""
        self.failed.append(Failure(job.source, str(error), job.target))


@click.command(context_settings=CONTEXT, epilog=_EPILOG)
@click.argument("inputs", nargs=-1, required=True, metavar="PHOTO_OR_FOLDER...")
@click.option("-o", "--output", metavar="PATH", help="File for one photo, else a folder.")
@click.option("--model", default="rid-s", show_default=True,
              help="rid-s (or rid-s.safetensors, in torch), rid-n, a file, hf:ORG/REPO, or "
              "URL#sha256=DIGEST.")  # fmt: skip
@click.option("--levels", type=int, help="Largest change of a colour value (1-255) [model's own].")
@click.option("--strength", type=float, default=1.0, show_default=True, help="Share of it, (0, 1].")
@click.option("--quality", type=int, help="1-100 for JPEG, HEIC, AVIF [95] and WebP [lossless].")
@click.option(
    "--format",
    "form",
    type=click.Choice(["jpg", "png", "webp", "heic", "avif", "tif"]),
    help="Convert.",
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
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True,
              help="Photos at once, each in a process of its own.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1),
              help="CPU threads of each worker [the runtime's choice, or a share].")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print results as JSON.")
@version_option
def command(**given: Any) -> int:
    """Add a bounded perturbation to photos of people.

    Without -o, NAME.protected.EXT is written beside each photo. An original is never replaced. One
    photo whose output exists is an error; of several, those whose output exists and is newer are
    skipped, so an interrupted run goes on where it stopped. --overwrite does all of them anew.

    Of a folder, hidden files and NAME.protected.EXT are passed over. Every other picture that is
    not protected, and every folder that cannot be read, is named and counts as failed.
    """
    options = _Options(**given)
    batch = len(options.inputs) > 1 or is_folder(options.inputs[0])
    results = _Results()
    todo = _plan(options, batch, results)
    console = Console()
    if todo:
        _protect(todo, options, batch, results, console)
    for failure in results.failed:
        line = f"failed: {failure.line}" if batch else f"error: {failure.reason}"
        console.line(line, err=True)
    if options.as_json:
        console.text(json.dumps(_as_json(results), indent=2))
    elif batch:
        console.line(
            f"protected {len(results.protected)}, skipped {len(results.skipped)} "
            f"(already there), failed {len(results.failed)}"
        )
    console.check()
    return 1 if results.failed else 0


def _plan(options: _Options, batch: bool, results: _Results) -> list[Job]:
    """The photos that are to be protected; what became of the others goes into ``results``.

    Raises:
        RidError: options that do not fit together, or nothing to do but to say why.
    """
    jobs, failures = make_plan(options.inputs, options.output, options.form, options.recursive)
    if options.compare is not None:
        if batch:
            raise RidError("--compare goes with one photo, not with several or a folder")
        jobs = [replace(job, comparison=Path(options.compare)) for job in jobs]
    jobs, clashes = without_clashes(jobs)
    if not jobs and len(failures) == 1 and not options.as_json:
        raise RidError(failures[0].line)

    from rid_core.budget import DEFAULT_LEVELS, Budget
    from rid_core.image import io as photo

    photo.check_quality(options.quality)
    if not batch:
        for path in (path for job in jobs for path in job.outputs):
            photo.format_of(path)
    Budget(DEFAULT_LEVELS if options.levels is None else options.levels, options.strength)
    results.failed += failures + clashes
    todo = []
    for job in jobs:
        try:
            if options.overwrite or not _is_settled(job, batch, results):
                todo.append(job)
        except RidError as error:
            results.fail(job, error)
    return todo


def _protect(
    todo: list[Job], options: _Options, batch: bool, results: _Results, console: Console
) -> None:
    """Protect photos and say so, in their order.

    Raises:
        RidError: the model cannot be opened.
    """
    settings = Settings(
        model=options.model,
        levels=options.levels,
        strength=options.strength,
        quality=options.quality,
        strip_gps=options.strip_gps,
        threads=options.threads,
    )
    workers = min(options.workers, len(todo))
    work = in_turn(todo, settings) if workers == 1 else in_processes(todo, settings, workers)
    bar = batch and sys.stderr.isatty()
    with _progress(len(todo), bar) as advance, contextlib.closing(work):
        for job, outcome in work:
            advance(job)
            if isinstance(outcome, RidError):
                results.fail(job, outcome)
                continue
            results.protected.append(outcome)
            if not bar and not options.as_json:
                _say(console, outcome)
    if bar and not options.as_json:
        for outcome in results.protected:
            _say(console, outcome)


def _is_settled(job: Job, batch: bool, results: _Results) -> bool:
    """Whether nothing is to be done because the output exists.

    A photo of a batch whose output is newer is entered in ``results`` as skipped.

    Raises:
        RidError: the output exists and is not the photo's, or cannot be looked at.
    """
    times = {path: written for path in job.outputs if (written := modified(path)) is not None}
    if not times:
        return False
    first = next(iter(times))
    if not batch:
        raise RidError(f"{first} exists; --overwrite replaces it")
    taken = _time_of(job.source)
    if taken is not None and times[first] < taken:  # may be anybody's picture: not ours to replace
        raise RidError(f"{first} exists and is older than {job.source}; --overwrite replaces it")
    results.skipped.append(job)
    return True


def _time_of(photo: Path) -> int | None:
    try:
        return photo.stat().st_mtime_ns
    except OSError:
        return None


@contextlib.contextmanager
def _progress(total: int, shown: bool) -> Iterator[Callable[[Job], None]]:
    """A bar on stderr; what it yields is called with each photo that is done."""
    if not shown:
        yield lambda job: None
        return
    from rich.console import Console as Terminal
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("protecting"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    )
    # Drawn when a photo is done, and never while stderr is taken from decoders that print.
    with Progress(*columns, console=Terminal(stderr=True), auto_refresh=False) as bar:
        task = bar.add_task("", total=total)
        bar.refresh()
        yield lambda job: bar.update(
            task, advance=1, description=printable(job.source.name), refresh=True
        )


def _say(console: Console, outcome: Outcome) -> None:
    console.line(
        f"{outcome.source} -> {outcome.target}  {outcome.width} x {outcome.height}  "
        f"{outcome.seconds:.1f} s  at most {outcome.max_levels} levels  {outcome.psnr:.1f} dB"
    )
    for note in outcome.notes:
        console.line(f"  note: {note}")


def _as_json(results: _Results) -> dict[str, Any]:
    """For machines; ``target`` is null of what has no name to be written to."""
    return {
        "protected": [
            {
                "source": str(outcome.source),
                "target": str(outcome.target),
                "width": outcome.width,
                "height": outcome.height,
                "seconds": round(outcome.seconds, 3),
                "max_levels": outcome.max_levels,
                "psnr": round(outcome.psnr, 2),
                "notes": list(outcome.notes),
            }
            for outcome in results.protected
        ],
        "skipped": [
            {"source": str(job.source), "target": str(job.target)} for job in results.skipped
        ],
        "failed": [
            {
                "source": str(failure.source),
                "target": None if failure.target is None else str(failure.target),
                "error": failure.line,
            }
            for failure in results.failed
        ],
    }


def main() -> None:
    """Entry point."""
    run(command)


if __name__ == "__main__":
    main()
