"""``rid-eval report``: one report of many measurements."""

from __future__ import annotations

from pathlib import Path

import click

from rid_core.cli.common import CONTEXT
from rid_core.cli.options import path_option
from rid_core.errors import MissingExtraError

_EPILOG = """\b
Examples:
  rid-eval report shift.json judges.json -o report/
  rid-eval report shift.json robustness.json personalization.json -o report/ \\
      --picture sheet.png --update-card rid-s --readme README.md
"""


@click.command("report", context_settings=CONTEXT, epilog=_EPILOG)
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@path_option("-o", "--output", required=True,
             help="Folder for report.md and its figures, report.json, report.html.")  # fmt: skip
@click.option("--title", help="Of the report.")
@path_option("--picture", "pictures", multiple=True,
             help="Show it in the page, such as a sheet of samples; repeatable.")  # fmt: skip
@click.option("--update-card", "checkpoints", multiple=True, metavar="CHECKPOINT",
              help="Write what is said of it into its model card; repeatable.")  # fmt: skip
@path_option("--readme", help="Write the summary between the marks of this Markdown file.")
def report(
    results: tuple[Path, ...],
    output: Path,
    title: str | None,
    pictures: tuple[Path, ...],
    checkpoints: tuple[str, ...],
    readme: Path | None,
) -> None:
    """Write a report of RESULTS, the JSON files of rid-eval's other commands.

    Every sentence is made of figures of these files; what they do not hold is not claimed.
    """
    try:
        from rid_eval.report import card, read_evaluation, write_between
        from rid_eval.report.content import TITLE
        from rid_eval.results import write_result
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "a package", "train") from None

    found = read_evaluation(results, title or TITLE)
    for checkpoint in checkpoints:  # before anything is written
        card.check(found, checkpoint)
    whole = found.report(pictures)
    if readme is not None:
        write_between(readme, found)
    for name in ("report.md", "report.html"):
        whole.write(output / name)
    write_result(output / "report.json", found.result())
    for checkpoint in checkpoints:
        click.echo(f"card: {card.update_card(found, checkpoint)}")
    for name in ("report.md", "report.json", "report.html"):
        click.echo(output / name)
