"""The report as one page of HTML that needs nothing else: no script, no other file."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from string import Template

from rid_core.errors import RidError
from rid_core.plots import escape, style
from rid_eval.report.content import TOPICS, Figure, Report, Section, Table, limits

_PICTURE_SIDE = 1600
_WORDY = {"what it does"}


def render(report: Report, pictures: Sequence[Path] = ()) -> str:
    """The page.

    Args:
        report: what to show.
        pictures: files to show, such as sheets of samples.

    Raises:
        RidError: a picture cannot be read.
    """
    folder = resources.files("rid_eval") / "report"
    names = ", ".join(report.defenders()) or "no defender"
    counted = f"{len(report.sections)} measurement{'s' if len(report.sections) != 1 else ''}"
    return Template((folder / "page.html").read_text()).substitute(
        title=escape(report.title),
        style=style(),
        summary=escape(f"{counted} of {names}."),
        claims=_claims(report),
        pictures="".join(_picture(path) for path in pictures),
        sections="".join(map(_section, report.sections)),
    )


def _claims(report: Report) -> str:
    parts = []
    for topic, title in TOPICS.items():
        items = "".join(
            f"<li>{escape(claim.text)} <small>{escape(claim.source)}</small></li>"
            for claim in report.claims
            if claim.topic == topic
        )
        if items:
            parts.append(f"<h3>{escape(title)}</h3><ul class='claims'>{items}</ul>")
    lines = "".join(f"<li>{escape(line)}</li>" for line in limits(report))
    return "".join([*parts, f"<h3>Limits</h3><ul class='claims'>{lines}</ul>"])


def _section(section: Section) -> str:
    facts = "".join(f"<dt>{escape(n)}</dt><dd>{escape(t)}</dd>" for n, t in section.facts)
    warnings = "".join(f"<p class='warn'>{escape(line)}</p>" for line in section.warnings)
    return (
        f"<section><h2>{escape(section.title)}</h2>"
        f"<p class='source'>{escape(section.source)}</p><dl>{facts}</dl>{warnings}"
        f"<div class='plots'>{''.join(map(_figure, section.figures))}</div>"
        f"{''.join(map(_table, section.tables))}</section>"
    )


def _figure(figure: Figure) -> str:
    if not figure.plot:
        return ""
    return (
        f"<figure><figcaption>{escape(figure.title)}</figcaption>"
        f"<p>{escape(figure.note)}</p>{figure.plot}</figure>"
    )


def _table(table: Table) -> str:
    def cell(name: str, text: str, tag: str) -> str:
        kind = " class='text'" if name in _WORDY else ""
        scope = " scope='col'" if tag == "th" else ""
        return f"<{tag}{scope}{kind}>{escape(text)}</{tag}>"

    head = "".join(cell(name, name, "th") for name in table.head)
    body = "".join(
        f"<tr><th scope='row'>{escape(row[0])}</th>"
        + "".join(cell(n, text, "td") for n, text in zip(table.head[1:], row[1:], strict=True))
        + "</tr>"
        for row in table.rows
    )
    note = f"<p>{escape(table.note)}</p>" if table.note else ""
    return (
        f"<h3>{escape(table.title)}</h3>{note}<div class='wide'><table>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _picture(path: Path) -> str:
    """A file as a data URI, scaled down if it is larger than a page."""
    from PIL import Image

    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise RidError(f"{path}: cannot be read as a picture ({error})") from None
    image.thumbnail((_PICTURE_SIDE, 4 * _PICTURE_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88, subsampling=0)
    source = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    caption = escape(path.stem)
    return (
        f"<figure class='picture'><img src='{source}' alt='{caption}' width='{image.width}' "
        f"height='{image.height}'><figcaption>{caption}</figcaption></figure>"
    )
