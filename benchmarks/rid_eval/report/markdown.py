"""The report as Markdown with its plots in files, and the part of it that goes into a README."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rid_core.errors import RidError
from rid_core.files import write_text
from rid_core.plots import standalone
from rid_eval.report.content import (
    TOPICS,
    Claim,
    Figure,
    Report,
    Section,
    Table,
    limits,
)

BEGIN, END = "<!-- rid-eval report -->", "<!-- end of rid-eval report -->"


def render(report: Report) -> str:
    """All of it."""
    lines = [f"# {report.title}", "", *summary(report)]
    for section in report.sections:
        lines += _section(section)
    return "\n".join(lines).rstrip() + "\n"


def plots(report: Report) -> dict[str, str]:
    """SVG files that the Markdown shows, by their path beside it."""
    return {
        file: standalone(figure.plot)
        for section in report.sections
        for file, figure in _plots(section).items()
    }


def summary(report: Report) -> list[str]:
    """The claims by topic, and the limits."""
    lines = []
    for topic, title in TOPICS.items():
        claims = [claim for claim in report.claims if claim.topic == topic]
        if claims:
            lines += [f"**{title}**", "", *(f"- {_sentence(claim)}" for claim in claims), ""]
    return [*lines, "**Limits**", "", *(f"- {line}" for line in limits(report)), ""]


def write_between(path: Path, report: Report) -> None:
    """Put the summary between two marks of a Markdown file, in the place of what is there.

    Raises:
        RidError: the file lacks the marks.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise RidError(f"{path}: cannot be read ({error.strerror})") from None
    if text.count(BEGIN) != 1 or text.find(END) < text.find(BEGIN):
        raise RidError(f"{path}: put '{BEGIN}' and '{END}' where the summary is to stand")
    before, rest = text.split(BEGIN)
    after = rest.split(END, 1)[1]
    body = "\n".join(summary(report)).rstrip()
    write_text(path, f"{before}{BEGIN}\n{body}\n{END}{after}")


def _sentence(claim: Claim) -> str:
    return f"{claim.text} `{claim.source}`"


def _section(section: Section) -> list[str]:
    lines = [f"## {section.title}", ""]
    lines += [*(f"- {name}: {text}" for name, text in section.facts), ""]
    lines += [line for warning in section.warnings for line in (f"> **{warning}**", "")]
    for file, figure in _plots(section).items():
        lines += [f"### {figure.title}", "", f"![{figure.title}]({file})", "", figure.note, ""]
    for table in section.tables:
        lines += [f"### {table.title}", "", *_table(table), ""]
        lines += [table.note, ""] if table.note else []
    return lines


def _plots(section: Section) -> dict[str, Figure]:
    """Its plots by file, which is named after the measurement's."""
    stem = Path(section.source).stem
    drawn = [figure for figure in section.figures if figure.plot]
    return {f"figures/{stem}-{number}.svg": figure for number, figure in enumerate(drawn, 1)}


def _table(table: Table) -> list[str]:
    return [
        _row(table.head),
        "| " + " | ".join([":--"] + ["--:"] * (len(table.head) - 1)) + " |",
        *map(_row, table.rows),
    ]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
