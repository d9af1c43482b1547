"""The kinds of plot that reports show, by matplotlib: SVG with the page's colours, the same for the
same figures.

Plots are 360 units wide, a phone's width, and their text is text. All need matplotlib and raise
``MissingExtraError`` without it.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from rid_core.report.content import Image
from rid_core.report.theme import COLOURS

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

WIDTH = 360
_DPI = 72
_LIGHT = {name: pair[0] for name, pair in COLOURS.items()}
SERIES = ("one", "two", "three", "four")
"""Colours of series, by number."""


@dataclass(frozen=True)
class Bar:
    """One bar.

    Attributes:
        label: written above it.
        value: its length.
        low: beginning of its interval, a thin line; the value itself if None.
        high: end of the interval, or another mark such as the 90th percentile; likewise.
        note: after the value.
        accent: whether it stands out.
        floor: what the value is to be held against, a short line across the bar; none if None.
    """

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    note: str = ""
    accent: bool = False
    floor: float | None = None


@dataclass(frozen=True)
class Point:
    """One point of a chart.

    Attributes:
        x: horizontal.
        y: vertical.
        label: beside it; none if empty.
        radius: in the plot's units.
        series: its colour, of :data:`SERIES`.
    """

    x: float
    y: float
    label: str = ""
    radius: float = 4.0
    series: int = 0


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        x: where its corners are.
        y: likewise.
        label: in the key above the chart; a line without one is grey.
        low: lower edge of the band around it; no band if empty.
        high: upper edge.
    """

    x: Sequence[float]
    y: Sequence[float]
    label: str = ""
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclass(frozen=True)
class Axis:
    """An axis.

    Attributes:
        label: with the unit.
        low: where it begins; with some air around what it shows if None.
        high: where it ends; likewise.
        logarithmic: whether it is.
    """

    label: str
    low: float | None = None
    high: float | None = None
    logarithmic: bool = False


def bars(
    items: Sequence[Bar],
    title: str,
    form: Callable[[float], str] | str = "{:.3g}",
    *,
    logarithmic: bool = False,
) -> Image:
    """Horizontal bars, each under its label.

    Args:
        items: from top to bottom, at least one.
        title: for readers who hear the page.
        form: how values are written, a function or a pattern such as ``{:.1f} dB``.
        logarithmic: whether lengths are, of values above 0.
    """
    write = form.format if isinstance(form, str) else form
    row = 34
    with _figure(title, row * len(items) + 2, "none") as (figure, images):
        axes = figure.add_axes((0.004, 0, 0.992, 1))
        axes.set_axis_off()
        axes.set_ylim(len(items), 0)
        start = min(bar.value for bar in items) / 3 if logarithmic else 0.0
        end = max(_end(bar) for bar in items)
        # The value is written behind the bar: about a third of the width.
        if logarithmic:
            axes.set_xscale("log")
            axes.set_xlim(start, start * max(end / start, 1.01) ** 1.5)
        else:
            axes.set_xlim(0, 1.5 * max(end, 1e-12))
        for number, bar in enumerate(items):
            middle = number + 0.68
            axes.barh(
                middle,
                bar.value - start,
                0.32,
                left=start,
                color=_LIGHT["one" if bar.accent else "calm"],
            )
            if bar.low is not None or bar.high is not None:
                ends = [bar.value if edge is None else edge for edge in (bar.low, bar.high)]
                axes.plot(ends, [middle] * 2, color=_LIGHT["soft"], linewidth=1.5)
                axes.plot(ends, [middle] * 2, "|", color=_LIGHT["soft"], markersize=7)
            if bar.floor is not None:
                span = (middle - 0.27, middle + 0.27)
                axes.vlines(bar.floor, *span, color=_LIGHT["warn"], linewidth=2)
            axes.annotate(
                bar.label, (0, number + 0.38), xycoords=("axes fraction", "data"), va="baseline"
            )
            axes.annotate(
                f"{write(bar.value)} {bar.note}".rstrip(),
                (_end(bar), middle),
                xytext=(7, 0),
                textcoords="offset points",
                va="center",
                color=_LIGHT["soft"],
            )
    return images[0]


def _end(bar: Bar) -> float:
    return max(edge for edge in (bar.value, bar.high, bar.floor) if edge is not None)


def chart(
    x: Axis,
    y: Axis,
    title: str,
    *,
    points: Sequence[Point] = (),
    lines: Sequence[Line] = (),
    height: int = 260,
) -> Image:
    """Points and lines between two axes; labels of points do not cover each other.

    Args:
        x: the horizontal axis.
        y: the vertical one.
        title: for readers who hear the page.
        points: drawn above the lines.
        lines: curves, or what points are held against.
        height: of the plot in units.
    """
    with _figure(title, height) as (figure, images):
        axes = figure.add_subplot()
        for line, colour in zip(lines, _colours(lines), strict=True):
            axes.plot(line.x, line.y, color=colour, linewidth=1.6, label=line.label or None)
            if len(line.low):
                axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.18, lw=0)
        for point in points:
            axes.plot(
                *(point.x, point.y, "o"),
                color=_LIGHT[SERIES[point.series]],
                alpha=0.75,
                markersize=2 * point.radius,
                markeredgewidth=0,
            )
        _frame(axes, x, y)
        if any(line.label for line in lines):
            figure.legend(loc="outside upper left", ncols=3, frameon=False, handlelength=1.4)
        _label(figure, axes, [point for point in points if point.label])
    return images[0]


def _colours(lines: Sequence[Line]) -> Iterator[str]:
    named = 0
    for line in lines:
        yield _LIGHT[SERIES[named % len(SERIES)] if line.label else "soft"]
        named += bool(line.label)


def histogram(
    counts: Sequence[float],
    edges: Sequence[float],
    x: Axis,
    title: str,
    *,
    top: float | None = None,
    height: int = 150,
    mark: float | None = None,
) -> Image:
    """How many values lie between edges.

    Args:
        counts: per bin.
        edges: one more than counts, ascending.
        x: the axis of the values.
        title: for readers who hear the page.
        top: where higher bins are cut off; the highest fits if None.
        height: of the plot in units.
        mark: value at which a dashed line stands; none if None.
    """
    with _figure(title, height) as (figure, images):
        axes = figure.add_subplot()
        highest = max(counts) if top is None else top
        axes.stairs([min(c, highest) for c in counts], edges, fill=True, color=_LIGHT["one"])
        if mark is not None:
            axes.axvline(mark, color=_LIGHT["warn"], linestyle=(0, (4, 3)), linewidth=1)
        _frame(axes, x, Axis("", 0, 1.05 * max(highest, 1e-12)))
        axes.yaxis.set_visible(False)
    return images[0]


def heat(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float]] | np.ndarray,
    title: str,
    form: str = "{:.2g}",
    *,
    low: float | None = None,
    high: float | None = None,
) -> Image:
    """A grid of values as colours, each written in its cell; bright is high.

    Args:
        rows: names, from top to bottom.
        columns: names, above the grid.
        values: [rows, columns]; NaN leaves a cell empty.
        title: for readers who hear the page.
        form: how values are written.
        low: value of the darkest colour; the least of all if None.
        high: of the brightest; the greatest if None.
    """
    import numpy as np

    grid = np.ma.masked_invalid(np.asarray(values, dtype=float))
    with _figure(title, 30 + 24 * len(rows)) as (figure, images):
        axes = figure.add_subplot()
        axes.set_ylim(len(rows), 0)
        axes.spines[:].set_visible(False)
        mesh = axes.pcolormesh(grid, cmap="cividis", vmin=low, vmax=high)
        middle = 0.5 * sum(mesh.get_clim())
        for (y, x), value in np.ndenumerate(grid):
            if not np.ma.is_masked(value):
                colour = "#ffffff" if value < middle else "#000000"
                text = form.format(value)
                axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", color=colour)
        axes.set_xticks([n + 0.5 for n in range(len(columns))], columns)
        axes.set_yticks([n + 0.5 for n in range(len(rows))], rows)
        axes.tick_params(length=0, top=True, bottom=False, labeltop=True, labelbottom=False)
    return images[0]


def colour_scale(name: str, x: Axis, title: str) -> Image:
    """The colours of a matplotlib colour map along an axis with both ends given."""
    from matplotlib.colors import LogNorm, Normalize

    with _figure(title, 48) as (figure, images):
        from matplotlib.cm import ScalarMappable

        norm = (LogNorm if x.logarithmic else Normalize)(x.low, x.high)
        axes = figure.add_subplot()
        bar = figure.colorbar(ScalarMappable(norm, name), axes, orientation="horizontal")
        bar.outline.set_visible(False)
        _scale(axes, "x", x)
    return images[0]


def _scale(axes: Axes, which: Literal["x", "y"], about: Axis) -> None:
    """Ticks at round values, written as people do, and what the axis is."""
    from matplotlib import ticker

    axis = axes.xaxis if which == "x" else axes.yaxis
    if about.logarithmic:
        getattr(axes, f"set_{which}scale")("log")
    getattr(axes, f"set_{which}lim")(about.low, about.high)
    low, high = getattr(axes, f"get_{which}lim")()
    if about.logarithmic:
        subs = (1.0, 2.0, 5.0) if high / low < 200 else (1.0,)
        axis.set_major_locator(ticker.LogLocator(subs=subs, numticks=9))
        axis.set_minor_locator(ticker.NullLocator())
    else:
        axis.set_major_locator(ticker.MaxNLocator(6, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_label_text(about.label)


def _frame(axes: Axes, x: Axis, y: Axis) -> None:
    """Axes, a grid, and some air around what is drawn."""
    axes.margins(0.12)
    _scale(axes, "x", x)
    _scale(axes, "y", y)
    axes.grid(color=_LIGHT["rule"], linewidth=1)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _label(figure: Figure, axes: Axes, points: Sequence[Point]) -> None:
    """Write labels as near to their points as there is room, a line where they had to move."""
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()  # so that the axes are where they will be
    places = [tuple(axes.transData.transform((point.x, point.y))) for point in points]
    taken = [
        Bbox.from_bounds(a - p.radius, b - p.radius, 2 * p.radius, 2 * p.radius)
        for p, (a, b) in zip(points, places, strict=True)
    ]
    for point, place in zip(points, places, strict=True):
        note = axes.annotate(
            point.label,
            (point.x, point.y),
            xytext=(0, 0),
            textcoords="offset points",
            ha="center",
            va="center",
            arrowprops={"arrowstyle": "-", "color": _LIGHT["soft"], "linewidth": 0.7},
        )
        distance, box = _free(note, place, point.radius, axes.bbox, taken)
        taken.append(box)
        note.set_position(((box.x0 + box.x1) / 2 - place[0], (box.y0 + box.y1) / 2 - place[1]))
        if note.arrow_patch is not None:
            note.arrow_patch.set_visible(distance > 3)


def _free(
    note: Annotation, place: tuple[float, ...], radius: float, frame: Bbox, taken: Sequence[Bbox]
) -> tuple[int, Bbox]:
    """Distance and place of a label: the nearest that is free, else the nearest."""
    from matplotlib.transforms import Bbox

    extent = note.get_window_extent()
    width, height = extent.width + 2, extent.height

    def box(distance: int, turn: int) -> Bbox:
        angle = turn * math.pi / 8
        x = place[0] + math.cos(angle) * (radius + distance + width / 2)
        y = place[1] + math.sin(angle) * (radius + distance + height / 2)
        return Bbox.from_bounds(x - width / 2, y - height / 2, width, height)

    # To the right first, then up and down in turns, then further away.
    turns = [0, *(sign * turn for turn in range(1, 8) for sign in (1, -1)), 8]
    choices = [(distance, box(distance, turn)) for distance in range(3, 60, 8) for turn in turns]
    for distance, found in choices:
        inside = frame.x0 <= found.x0 and found.x1 <= frame.x1
        inside = inside and frame.y0 <= found.y0 and found.y1 <= frame.y1
        if inside and not found.count_overlaps(taken):
            return distance, found
    return choices[0]


@contextlib.contextmanager
def _figure(
    title: str, height: int, layout: Literal["constrained", "none"] = "constrained"
) -> Iterator[tuple[Figure, list[Image]]]:
    """A figure to draw on; afterwards the list holds its image."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        from rid_core.errors import MissingExtraError

        raise MissingExtraError("matplotlib", "report") from None
    settings: dict[Any, Any] = {
        "figure.dpi": _DPI,
        "font.family": "DejaVu Sans",
        "font.size": 11,
        "legend.fontsize": 10,
        "svg.fonttype": "none",
        "svg.hashsalt": title,
        "text.color": _LIGHT["ink"],
        "text.parse_math": False,
        "xtick.labelcolor": _LIGHT["soft"],
        "ytick.labelcolor": _LIGHT["soft"],
        "axes.labelcolor": _LIGHT["soft"],
    }
    with rc_context(settings):
        figure = Figure(figsize=(WIDTH / _DPI, height / _DPI), layout=layout)
        images: list[Image] = []
        yield figure, images
        for artist in figure.findobj():
            artist.set_clip_on(False)
        for part in (figure, *figure.axes):
            part.patch.set_visible(False)
        buffer = io.StringIO()
        absent = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=absent)
        images.append(Image(_inline(buffer.getvalue(), title, height), "svg", WIDTH, height))


_SHORTER = (
    (r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", ""),
    (r'<g id="[^"]*"/>| transform="rotate\(-0 [^"]*\)"', ""),
    (r'<g id="[^"]*">', "<g>"),
    (r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif"),
    ("xlink:href", "href"),
    (r">\s+<", "><"),
    (r"\s*\n", " "),
)
"""What a page does not need of matplotlib's SVG, and what to write instead."""
_TOO_EXACT = re.compile(r"(\.\d\d)\d+")


def _inline(source: str, title: str, height: int) -> bytes:
    """An SVG file as a part of a page: no header, no names that others have, the page's colours."""
    import html

    inside = source[source.index(">", source.index("<svg ")) + 1 :]
    for pattern, replacement in _SHORTER:
        inside = re.sub(pattern, replacement, inside, flags=re.DOTALL)
    inside = re.sub(r'="[^"<>]*"', lambda found: _TOO_EXACT.sub(r"\1", found[0]), inside)
    for name, colour in _LIGHT.items():
        inside = inside.replace(colour, f"var(--{name}, {colour})")
    name = html.escape(title)
    frame = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{name}">'
    return f"{frame}{inside.strip()}".encode()
