"""What a report consists of, whatever it is written as, and the kinds of measurement."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rid_core.errors import RidError

TOPICS = {
    "effect": "By how much",
    "unseen": "On encoders it was not made against",
    "kept": "What is left after publishing",
    "removed": "What removes it",
    "seen": "How visible it is",
    "judges": "Who judges",
}
"""Of claims, in the order of a report, with the heading."""

Raw = Mapping[str, Any]
"""A measurement as read from JSON."""


@dataclass(frozen=True)
class Claim:
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
    values: Mapping[str, Any]
    source: str = ""


@dataclass(frozen=True)
class Table:
    """A table; the first column holds names.

    Attributes:
        title: above it.
        head: names of all columns.
        rows: cells as text.
        note: below it.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """A plot.

    Attributes:
        title: above it.
        note: how to read it.
        plot: SVG.
    """

    title: str
    note: str
    plot: str


@dataclass(frozen=True)
class Section:
    """One measurement.

    Attributes:
        title: its heading.
        facts: what it was made with, name and text.
        claims: what it says.
        warnings: why it may say less than it seems.
        figures: plots.
        tables: all figures.
        source: name of the file.
        weights: digests of the defenders that were measured, by name; 16 digits.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    claims: Sequence[Claim] = ()
    warnings: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    source: str = ""
    weights: Mapping[str, str] = field(default_factory=dict)


Builder = Callable[[Raw], Section]

_BUILDERS: dict[str, Builder] = {}
_MODULES = ("basics", "personalization", "robustness", "large_photos")


def builder(what: str) -> Callable[[Builder], Builder]:
    """Register the decorated function for measurements whose ``what`` is this."""

    def register(function: Builder) -> Builder:
        _BUILDERS[what] = function
        return function

    return register


def kinds() -> list[str]:
    """Measurements that a report can show, in its order."""
    for module in _MODULES:
        importlib.import_module(f"rid_eval.report.{module}")
    return list(_BUILDERS)


def build(raw: Raw, source: str) -> Section:
    """The section of a measurement.

    Args:
        raw: its JSON.
        source: name of its file.

    Raises:
        RidError: an unknown kind, or figures are missing.
    """
    what = raw.get("what")
    if what not in kinds():
        raise RidError(f"{source}: a report cannot show {what!r:.40}; known: {', '.join(kinds())}")
    try:
        section = _BUILDERS[str(what)](raw)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise RidError(f"{source}: figures are missing or damaged ({reason})") from None
    claims = [replace(claim, source=source) for claim in section.claims]
    return replace(section, claims=claims, source=source)


def made(raw: Raw) -> list[tuple[str, str]]:
    """Facts about how a measurement was made."""
    found = raw["made"]
    names = {
        "command": "command",
        "date": "date",
        "cpu": "processor",
        "torch": "torch",
        "rid": "rid",
    }
    facts = [("device", str(raw["device"]))] if raw.get("device") else []
    return facts + [(label, str(found[key])) for key, label in names.items() if found.get(key)]


def images(raw: Raw) -> tuple[str, str]:
    """The fact about what it was measured on."""
    about = raw["images"]
    size = about["size"]
    pixels = f"{size} x {size}" if isinstance(size, int) else " x ".join(map(str, size))
    return "photos", f"{about['count']} of {about['folder']} ({about['pattern']}), {pixels} pixels"


def number(value: float | None, digits: int = 2) -> str:
    """A figure for people; a dash for none."""
    return "–" if value is None else f"{value:.{digits}f}"


def amount(value: float) -> str:
    """A shift for people: one more place where it is small."""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def interval(found: Mapping[str, Any] | None, digits: int = 2) -> str:
    """A figure with its interval; of a single person it has none."""
    if found is None or found.get("value") is None:
        return "–"
    text = number(found["value"], digits)
    if found.get("low") is None:
        return text
    return f"{text} [{number(found['low'], digits)}, {number(found['high'], digits)}]"


def times(value: float, base: float) -> str:
    """How many times ``base`` it is."""
    return f"{value / base:.1f} times" if base > 0 else "any number of times"


@dataclass(frozen=True)
class Report:
    """All of it.

    Attributes:
        title: of the report.
        sections: in order.
        absent: kinds of measurement that it does not have.
        sources: name, kind and SHA-256 of each file.
    """

    title: str
    sections: Sequence[Section]
    absent: Sequence[str] = ()
    sources: Sequence[Mapping[str, str]] = field(default_factory=list)

    @property
    def claims(self) -> list[Claim]:
        """Of all sections, by topic."""
        order = list(TOPICS)
        found = [claim for section in self.sections for claim in section.claims]
        return sorted(found, key=lambda claim: order.index(claim.topic))

    def defenders(self) -> list[str]:
        """Whom claims are about."""
        return list(dict.fromkeys(claim.defender for claim in self.claims if claim.defender))


def limits(report: Report) -> list[str]:
    """What holds whatever was measured, and what was not."""
    lines = [
        "It raises the cost of cloning a person from photos; it does not make it impossible.",
        "It covers only photos that are published from now on.",
        "It is claimed against the models named here and no others.",
    ]
    return lines + [f"Not measured here: {name}." for name in report.absent]
