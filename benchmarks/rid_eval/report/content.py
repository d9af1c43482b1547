"""What a report says of measurements, and how it becomes a page, Markdown or JSON."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import click

from rid_core.errors import RidError
from rid_core.files import write_text
from rid_core.report import Claim, Facts, Figure, Items, Report, Section, Table, pictures, plots
from rid_eval.appearance import LookResult
from rid_eval.large_photos import LargePhotosResult
from rid_eval.latent_shift import ShiftResult
from rid_eval.personalization.figures import PersonalizationResult
from rid_eval.results import Measurement, PhotoSet, Provenance, read_result
from rid_eval.robustness import RobustnessResult
from rid_eval.verification import JudgesResult

TITLE = "RID: what it protects, and what not"
BEGIN, END = "<!-- rid-eval report -->", "<!-- end of rid-eval report -->"
TOPICS = {
    "effect": "By how much",
    "unseen": "On encoders it was not made against",
    "kept": "What is left after publishing",
    "removed": "What removes it",
    "seen": "How visible it is",
    "judges": "Who judges",
}
"""Of findings, in the order of a report, with the heading."""

KINDS: tuple[type[Measurement], ...] = (
    ShiftResult, LookResult, JudgesResult, PersonalizationResult, RobustnessResult,
    LargePhotosResult,
)  # fmt: skip
"""Measurements that a report can show, in its order."""


@dataclass(frozen=True)
class MeasuredClaim:
    """One sentence with the figures it is made of.

    Attributes:
        topic: of :data:`TOPICS`.
        defender: whom it is about; empty for none in particular.
        text: the sentence.
        values: its figures by name, as they stand in the measurement.
        source: name of the measurement's file.
    """

    topic: str
    defender: str
    text: str
    values: Mapping[str, object]
    source: str = ""


@dataclass(frozen=True)
class BarPlot:
    """A plot of bars that is drawn only for a page.

    Attributes:
        title: above it.
        note: how to read it.
        bars: from top to bottom.
        form: how values are written.
    """

    title: str
    note: str
    bars: Sequence[plots.Bar]
    form: str = "{:.2f}"

    def draw(self) -> Figure:
        """As a figure of a report."""
        return Figure(self.title, plots.bars(self.bars, self.title, self.form), self.note)


@dataclass(frozen=True)
class MeasurementSummary:
    """What a report says of one measurement.

    Attributes:
        title: its heading.
        facts: what it was made with, name and text.
        findings: what it says.
        warnings: why it may say less than it seems.
        plots: of its figures.
        tables: all figures.
        weights: digests of the defenders that were measured, by name.
        source: name of the file.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    findings: Sequence[MeasuredClaim] = ()
    warnings: Sequence[str] = ()
    plots: Sequence[BarPlot] = ()
    tables: Sequence[Table] = ()
    weights: Mapping[str, str] = field(default_factory=dict)
    source: str = ""

    def section(self) -> Section:
        """As a part of a report."""
        drawn = [plot.draw() for plot in self.plots if plot.bars]
        blocks = [Facts(self.facts), *drawn, *self.tables]
        return Section(self.title, blocks, self.warnings, self.source)


@functools.singledispatch
def summarize(result: Measurement) -> MeasurementSummary:
    """What a report says of a measurement; each kind registers its own function."""
    raise RidError(f"a report cannot show {result.what!r}")


def print_tables(result: Measurement) -> None:
    """Print the tables of a measurement."""
    from rid_core.report import terminal

    for table in summarize(result).tables:
        click.echo(terminal.text(table) + "\n")


@dataclass(frozen=True)
class Source:
    """A file that a report is made of: its name, the kind of measurement, its SHA-256."""

    file: str
    what: str
    sha256: str


@dataclass(frozen=True)
class TableText:
    """A table as a report's JSON holds it."""

    title: str
    head: list[str]
    rows: list[list[str]]
    note: str


@dataclass(frozen=True)
class SectionText:
    """A section as a report's JSON holds it."""

    title: str
    source: str
    facts: dict[str, str]
    warnings: list[str]
    tables: list[TableText]


@dataclass(frozen=True, kw_only=True)
class ReportResult(Measurement):
    """A report as JSON: findings with their figures, facts, tables."""

    what: ClassVar[str] = "report"
    title: str
    sources: list[Source]
    claims: list[MeasuredClaim]
    limits: list[str]
    sections: list[SectionText]


@dataclass(frozen=True)
class Evaluation:
    """Several measurements.

    Attributes:
        title: of the report.
        summaries: of each, in order.
        sources: the files.
    """

    title: str
    summaries: Sequence[MeasurementSummary]
    sources: Sequence[Source]

    @property
    def findings(self) -> list[MeasuredClaim]:
        """Of all measurements, by topic."""
        order = list(TOPICS)
        found = [finding for summary in self.summaries for finding in summary.findings]
        return sorted(found, key=lambda finding: order.index(finding.topic))

    @property
    def defenders(self) -> list[str]:
        """Whom findings are about."""
        return list(dict.fromkeys(one.defender for one in self.findings if one.defender))

    @property
    def limits(self) -> list[str]:
        """What holds whatever was measured, and what was not."""
        there = {source.what for source in self.sources}
        absent = [kind.what for kind in KINDS if kind.what not in there]
        return [
            "It raises the cost of cloning a person from photos; it does not make it impossible.",
            "It covers only photos that are published from now on.",
            "It is claimed against the models named here and no others.",
            *(f"Not measured here: {name}." for name in absent),
        ]

    def overview(self) -> list[Items]:
        """The findings by topic, and the limits."""
        found = [
            Items(title, [Claim(one.text, one.source) for one in self.findings
                          if one.topic == topic])
            for topic, title in TOPICS.items()
        ]  # fmt: skip
        return [*(items for items in found if items.lines), Items("Limits", self.limits)]

    def report(self, sheets: Sequence[Path] = ()) -> Report:
        """All of it, to be written as a page or as Markdown.

        Args:
            sheets: pictures to show, such as sheets of samples.

        Raises:
            RidError: a picture cannot be read.
        """
        count = len(self.summaries)
        names = ", ".join(self.defenders) or "no defender"
        shown = [Figure(path.stem, pictures.sheet(path), wide=True) for path in sheets]
        sections = [summary.section() for summary in self.summaries]
        return Report(
            self.title, f"{count} measurement{'s' if count != 1 else ''} of {names}.",
            [*self.overview(), *shown, *sections],
        )  # fmt: skip

    def result(self) -> ReportResult:
        """As JSON holds it."""
        return ReportResult(
            title=self.title, sources=list(self.sources), claims=self.findings,
            limits=self.limits,
            sections=[
                SectionText(
                    summary.title, summary.source, dict(summary.facts), list(summary.warnings),
                    [TableText(table.title, [head.heading for head in table.heads], table.cells,
                               table.note) for table in summary.tables],
                )
                for summary in self.summaries
            ],
        )  # fmt: skip


def write_between(path: Path, evaluation: Evaluation) -> None:
    """Put the overview between two marks of a Markdown file, in the place of what is there.

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
    body = Report("", blocks=evaluation.overview()).to_markdown().partition("\n")[2].strip()
    write_text(path, f"{before}{BEGIN}\n{body}\n{END}{rest.split(END, 1)[1]}")


def read_evaluation(paths: Sequence[Path], title: str = TITLE) -> Evaluation:
    """Read measurements; they stand in the order of :data:`KINDS`.

    Raises:
        RidError: none is given, one cannot be read or shown, or two files have one name.
    """
    if not paths:
        raise RidError("a report needs measurements; give the JSON files of rid-eval's commands")
    if len({path.name for path in paths}) < len(paths):
        raise RidError("two measurements have the same file name, by which a report cites them")
    found: list[tuple[int, MeasurementSummary]] = []
    sources = []
    for path in paths:
        result = read_result(path, KINDS)
        found.append((KINDS.index(type(result)), _summary_of(result, path.name)))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        sources.append(Source(path.name, result.what, digest))
    ordered = [summary for _, summary in sorted(found, key=lambda pair: pair[0])]
    return Evaluation(title, ordered, sources)


def _summary_of(result: Measurement, source: str) -> MeasurementSummary:
    try:
        summary = summarize(result)
    except (KeyError, IndexError) as error:  # a protection, an encoder or a step that is not there
        raise RidError(f"{source}: figures are missing or damaged ({error})") from None
    findings = [replace(finding, source=source) for finding in summary.findings]
    return replace(summary, findings=findings, source=source)


def facts_of(made: Provenance, device: str = "") -> list[tuple[str, str]]:
    """Facts about how a measurement was made."""
    facts = [("device", device), ("command", made.command), ("date", made.date),
             ("processor", made.cpu), ("torch", made.torch), ("rid", made.rid)]  # fmt: skip
    return [(name, text) for name, text in facts if text]


def images_fact(images: PhotoSet) -> tuple[str, str]:
    """The fact about what it was measured on."""
    size = images.size
    pixels = f"{size} x {size}" if isinstance(size, int) else " x ".join(map(str, size))
    return "photos", f"{images.count} of {images.folder} ({images.pattern}), {pixels} pixels"


def amount(value: float) -> str:
    """A shift for people: one more place where it is small."""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def times(value: float, base: float) -> str:
    """How many times ``base`` it is."""
    return f"{value / base:.1f} times" if base > 0 else "any number of times"
