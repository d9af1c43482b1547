"""``rid-eval judges``: how well the judges tell people apart."""

from __future__ import annotations

from pathlib import Path

import click

from rid_core.cli.common import CONTEXT
from rid_core.cli.options import count_option, path_option
from rid_core.errors import MissingExtraError
from rid_eval.commands.options import OutputOptions, output_options

_EPILOG = """\b
Examples:
  rid-eval judges --people ../shared/data/people
  rid-eval judges --people people/ --judge sface --judge dlib --json judges.json
"""


@click.command("judges", context_settings=CONTEXT, epilog=_EPILOG)
@path_option("--people", required=True, help="Folder with a folder of photos per person.")
@click.option("--judge", "names", multiple=True, default=("sface",), show_default=True,
              help="sface or dlib; repeatable.")  # fmt: skip
@count_option("--limit", least=2, help="At most so many people.")
@output_options
def judges(people: Path, names: tuple[str, ...], limit: int | None, output: OutputOptions) -> None:
    """Check face detection and recognition on pairs of the same and of different people.

    Prints the share of same-person comparisons above a threshold (TPR) and that of different-person
    comparisons (FPR): at the authors' threshold, and at the one that 1 % of the latter exceed. Of
    photos with photos, and of photos with the mean of a person, as identity scores are computed.
    """
    try:
        from rid_eval.judges import load_judge
        from rid_eval.people import list_people, load_people
        from rid_eval.verification import JudgesResult, check_judge
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "a package", "train") from None

    loaded = [load_judge(name) for name in names]
    count = len(list_people(people, limit))
    rows = {}
    for judge in loaded:
        with output.progress("People") as update:
            found = load_people(people, judge, limit, update)
        rows[judge.name] = row = check_judge(judge, found)
        click.echo(f"{judge.name}: {count} people, {row.photos} photos with one face, "
                   f"{len(row.left_out)} left out")  # fmt: skip
    output.show(JudgesResult(people=count, judges=rows))
