"""``rid-eval report``: one report of many measurements."""

from __future__ import annotations

from pathlib import Path

import click

from rid_core.cli.common import CONTEXT
from rid_core.errors import MissingExtraError

_EPILOG = """\b
Examples:
  rid-eval report shift.json judges.json -o report/
  rid-eval report shift.json robustness.json personalization.json -o report/ \\
      --picture sheet.png --update-card rid-s --readme README.md
"""


@click.command("report", context_settings=CONTEXT, epilog=_EPILOG)
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path),
              help="Folder for report.md and its figures, report.json, report.html.")  # fmt: skip
@click.option("--title", help="Of the report.")
@click.option("--picture", "pictures", multiple=True, type=click.Path(path_type=Path),
              help="Show it in the page, such as a sheet of samples; repeatable.")  # fmt: skip
@click.option("--update-card", "checkpoints", multiple=True, metavar="CHECKPOINT",
              help="Write what is said of it into its model card; repeatable.")  # fmt: skip
@click.option("--readme", type=click.Path(path_type=Path),
              help="Write the summary between the marks of this Markdown file.")  # fmt: skip
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
        from rid_core.files import write_text
        from rid_eval.report import card, markdown, page
        from rid_eval.report.reading import TITLE, as_json, read_report
        from rid_eval.results import write_result
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "a package", "train") from None

    found = read_report(results, title or TITLE)
    for checkpoint in checkpoints:  # before anything is written
        card.check(found, checkpoint)
    html = page.render(found, pictures)
    if readme is not None:
        markdown.write_between(readme, found)
    for file, plot in markdown.plots(found).items():
        write_text(output / file, plot)
    write_text(output / "report.md", markdown.render(found))
    write_result(output / "report.json", as_json(found))
    write_text(output / "report.html", html)
    for checkpoint in checkpoints:
        click.echo(f"card: {card.update_card(found, checkpoint)}")
    for name in ("report.md", "report.json", "report.html"):
        click.echo(output / name)
