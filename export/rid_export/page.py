"""The report of a run as one page of HTML that needs nothing else: no script, no other file."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from string import Template
from typing import TYPE_CHECKING

import numpy as np

from rid_export import plots

if TYPE_CHECKING:
    from rid_export.layers import QuantizationReport
    from rid_export.report import Result

_SIDE = 512
_MAP_SIDE = 320


@dataclass(frozen=True)
class Shown:
    """What a file answered on the portrait that the page shows.

    Attributes:
        result: of its export.
        runtime: that ran it.
        delta: its unit perturbation, float32 [H, W, 3].
    """

    result: Result
    runtime: str
    delta: np.ndarray


@dataclass(frozen=True)
class Story:
    """All that the page tells.

    Attributes:
        preset: name of the defender.
        levels: its bound.
        about: facts about the run, name and text.
        warnings: of the lint, one line each.
        portrait: float32 [H, W, 3] in [0, 1].
        truth: the float32 network's unit perturbation of it.
        protected: float32 [H, W, 3] in [0, 1].
        results: of all files, refused ones included.
        shown: of the files that exist.
    """

    preset: str
    levels: int
    about: Sequence[tuple[str, str]]
    warnings: Sequence[str]
    portrait: np.ndarray
    truth: np.ndarray
    protected: np.ndarray
    results: Sequence[Result]
    shown: Sequence[Shown]


def render(story: Story) -> str:
    """The page."""
    template = Template((resources.files("rid_export") / "templates" / "report.html").read_text())
    passed = sum(result.error is None for result in story.results)
    return template.substitute(
        title=_text(f"{story.preset}: export report"),
        preset=_text(story.preset),
        summary=_text(
            f"{passed} of {len(story.results)} files passed the gate; the bound is "
            f"{story.levels} of 255 levels."
        ),
        about="".join(f"<dt>{_text(n)}</dt><dd>{_text(t)}</dd>" for n, t in story.about),
        warnings=_warnings(story.warnings),
        rows="".join(_row(result) for result in story.results),
        reasons=_reasons(story.results),
        pictures=_pictures(story),
        bar=plots.colour_bar(),
        errors="".join(_errors(shown, story) for shown in story.shown),
    )


def _text(value: object) -> str:
    return html.escape(str(value))


def _warnings(lines: Sequence[str]) -> str:
    if not lines:
        return "<p>No operator that a phone's GPU or NPU is known to refuse.</p>"
    return "<ul>" + "".join(f"<li>{_text(line)}</li>" for line in lines) + "</ul>"


def _row(result: Result) -> str:
    name = f"<th scope='row'>{_text(result.file.name)}</th>"
    if result.error is not None:
        blank = "<td>–</td>"
        seconds = f"<td>{result.seconds:.1f}</td>"
        return f"<tr>{name}<td class='bad'>refused</td>{blank}{seconds}{4 * blank}</tr>"
    cells = (
        f"{result.size / 1e6:.2f}",
        f"{result.seconds:.1f}",
        _figure(result, "delta_sqnr_db", "{:.1f}"),
        _figure(result, "delta_cosine", "{:.6f}"),
        _figure(result, "delta_sign_agreement", "{:.2%}"),
        _figure(result, "change_levels", "{:.2f}"),
    )
    columns = "".join(f"<td>{cell}</td>" for cell in cells)
    return f"<tr>{name}<td class='good'>passed</td>{columns}</tr>"


def _reasons(results: Sequence[Result]) -> str:
    """Why files were refused: below the table, where a phone shows them too."""
    return "".join(
        f"<p class='reason'><b>{_text(result.file.name)}</b> was refused: {_text(result.error)}</p>"
        for result in results
        if result.error is not None
    )


def _figure(result: Result, name: str, form: str) -> str:
    value = result.figure(name)
    return "–" if value is None else form.format(value)


def _picture(pixels: np.ndarray, caption: str, side: int = _SIDE) -> str:
    height, width = pixels.shape[:2]
    source = plots.data_uri(pixels, side)
    return (
        f'<figure><img src="{source}" alt="{_text(caption)}" width="{width}" height="{height}">'
        f"<figcaption>{_text(caption)}</figcaption></figure>"
    )


def _pictures(story: Story) -> str:
    return "".join(
        (
            _picture(plots.to_pixels(story.portrait), "original"),
            _picture(plots.to_pixels(story.protected), f"protected, {story.levels} levels"),
            _picture(
                plots.amplified(story.truth),
                f"perturbation, amplified {127.5 / story.levels:.0f} times",
            ),
        )
    )


def _errors(shown: Shown, story: Story) -> str:
    """One file's error map and histogram."""
    error = plots.error_levels(story.truth, shown.delta, story.levels)
    median, high, worst = plots.quantiles(error)
    remarks = "".join(f"<p>{_text(line)}</p>" for line in shown.result.remarks)
    notes = shown.result.notes
    if notes is not None and notes.idle_layers:
        names = _text(", ".join(notes.idle_layers))
        remarks += f"<p>in float, as 8 bits are no faster there: {names}</p>"
    if notes is not None and notes.float_layers:
        before, after = notes.before["delta_sqnr_db"], notes.after["delta_sqnr_db"]
        names = _text(", ".join(notes.float_layers))
        remarks += f"<p>kept in float: {names} ({before:.1f} dB before, {after:.1f} after)</p>"
    title = _text(shown.result.file.name)
    exact = float((error <= 10**plots.LOW).mean())
    figures = (
        f"median {median:.2g}, 99 % below {high:.2g}, largest {worst:.2g} levels; "
        f"{exact:.0%} are exact (the first bar, cut off)"
    )
    return (
        f"<article><h3>{title}</h3><p>{_text(shown.runtime)}</p>"
        f"{_picture(plots.error_map(error), 'error map', _MAP_SIDE)}"
        f"{plots.histogram(error, f'errors of {title}')}<p>{_text(figures)}</p>{remarks}"
        f"{_layers(notes)}</article>"
    )


def _layers(notes: QuantizationReport | None) -> str:
    """What quantization did to every layer, folded up; nothing if nothing was quantized."""
    if notes is None or not notes.layers:
        return ""
    kept = set(notes.in_float)
    worst = max(notes.layers, key=lambda row: row.added)
    rows = "".join(
        f"<tr><th scope='row'>{_text(row.name)}{' (float)' if row.name in kept else ''}</th>"
        f"<td>{row.sqnr_db:.1f}</td><td>{row.inputs_db:.1f}</td></tr>"
        for row in notes.layers
    )
    return (
        f"<details><summary>{len(notes.layers)} layers, the noisiest {_text(worst.name)}</summary>"
        "<div class='scroll'><table><thead><tr><th scope='col'>Layer</th>"
        "<th scope='col'>SQNR, dB</th><th scope='col'>of its input</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div></details>"
    )
