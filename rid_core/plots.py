"""Plots as inline SVG, made for a phone's width first; colours come from the page's style."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources

WIDTH = 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 14, 40


def style() -> str:
    """The style sheet of pages with these plots: light and dark, for phones too."""
    return (resources.files("rid_core") / "page.css").read_text()


def standalone(plot: str) -> str:
    """A plot as a file of its own, with the pages' style and colours."""
    frame, inside = plot.split(">", 1)
    return (
        f'{frame} xmlns="http://www.w3.org/2000/svg"><style>{style()}'
        f"svg {{ background: var(--card); }}</style>{inside}\n"
    )


def escape(value: object) -> str:
    """Text for HTML and SVG."""
    return html.escape(str(value))


def duration(seconds: float) -> str:
    """For people: ``3.2 ms``, ``1.4 s``, ``5.1 min``."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min"


def size(value: float) -> str:
    """For people: ``27 MB``, ``1.1 GB``."""
    return f"{value / 1e9:.3g} GB" if value >= 1e9 else f"{value / 1e6:.3g} MB"


@dataclass(frozen=True)
class Bar:
    """One bar.

    Attributes:
        label: written above it.
        value: its length.
        mark: end of a thin line, such as the 90th percentile; none if None.
        note: after the value.
        accent: whether it stands out.
        floor: what the value is to be held against, a short line across the bar; none if None.
    """

    label: str
    value: float
    mark: float | None = None
    note: str = ""
    accent: bool = False
    floor: float | None = None


def bars(
    items: Sequence[Bar], title: str, form: Callable[[float], str], *, logarithmic: bool = False
) -> str:
    """Horizontal bars, each under its label; empty without items."""
    if not items:
        return ""
    step, thick = 34, 11
    tops = [max(bar.value, bar.mark or 0, bar.floor or 0) for bar in items]
    low = min(bar.value for bar in items) / 3
    room = WIDTH - 4 - 112

    def length(value: float) -> float:
        if logarithmic:
            share = math.log(max(value, low) / low) / math.log(max(max(tops) / low, 1.0001))
        else:
            share = value / max(max(tops), 1e-12)
        return max(1.0, room * share)

    parts = []
    for number, bar in enumerate(items):
        y = number * step
        kind = "bar accent" if bar.accent else "bar"
        end = length(bar.value)
        parts.append(f'<text x="2" y="{y + 11}">{escape(bar.label)}</text>')
        parts.append(
            f'<rect class="{kind}" x="2" y="{y + 16}" width="{end:.1f}" height="{thick}" rx="2"/>'
        )
        text_at = end
        if bar.mark is not None and bar.mark > bar.value:
            far = length(bar.mark)
            middle = y + 16 + thick / 2
            parts.append(
                f'<path class="whisker" d="M{2 + end:.1f} {middle}H{2 + far:.1f}'
                f'M{2 + far:.1f} {middle - 4}v8"/>'
            )
            text_at = far
        if bar.floor is not None:
            place = 2 + length(bar.floor)
            parts.append(f'<path class="floor" d="M{place:.1f} {y + 13}v17"/>')
            text_at = max(text_at, place - 2)
        words = form(bar.value) + (f" {bar.note}" if bar.note else "")
        parts.append(
            f'<text class="value" x="{text_at + 8:.1f}" y="{y + 26}">{escape(words)}</text>'
        )
    return _svg("".join(parts), len(items) * step, title)


@dataclass(frozen=True)
class Point:
    """One point of a scatter.

    Attributes:
        x: horizontal.
        y: vertical.
        label: beside it, or on it if it is a single sign and there is room; none if empty.
        radius: in the plot's units.
        series: 0 or 1: its colour.
        tip: shown when pointed at.
    """

    x: float
    y: float
    label: str = ""
    radius: float = 4.0
    series: int = 0
    tip: str = ""


@dataclass(frozen=True)
class Axis:
    """An axis.

    Attributes:
        label: with the unit.
        low: where it begins.
        high: where it ends.
        logarithmic: whether it is.
    """

    label: str
    low: float
    high: float
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Position in [0, 1]; values outside are put on the edge."""
        if self.logarithmic:
            value = max(value, self.low)
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return min(max(share, 0.0), 1.0)

    def ticks(self) -> list[float]:
        """Round values along the axis."""
        if self.logarithmic:
            first = math.ceil(math.log10(self.low) - 1e-9)
            last = math.floor(math.log10(self.high) + 1e-9)
            decades = [10.0**power for power in range(first, last + 1)]
            if len(decades) > 2:
                return decades
            return [
                m * 10.0**power
                for power in range(first - 1, last + 1)
                for m in (1, 2, 5)
                if self.low <= m * 10.0**power <= self.high
            ]
        rough = (self.high - self.low) / 5
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(m * unit for m in (1, 2, 5, 10) if m * unit >= rough)
        first = math.ceil(self.low / step - 1e-9)
        return [n * step for n in range(first, int(self.high / step + 1e-9) + 1)]


def axis_for(label: str, values: Sequence[float], *, logarithmic: bool, zero: bool = False) -> Axis:
    """An axis with some air around ``values``."""
    low, high = min(values), max(values)
    if logarithmic:
        return Axis(label, low / 1.6, high * 1.6, True)
    span = (high - low) or abs(high) or 1.0
    return Axis(label, 0.0 if zero else low - 0.15 * span, high + 0.15 * span)


def scatter(
    points: Sequence[Point],
    x: Axis,
    y: Axis,
    title: str,
    *,
    lines: Sequence[Sequence[tuple[float, float]]] = (),
    height: int = 260,
) -> str:
    """Points and lines between two axes."""

    def at(horizontal: float, vertical: float) -> tuple[float, float]:
        return (
            _LEFT + (WIDTH - _LEFT - _RIGHT) * x.place(horizontal),
            height - _BOTTOM - (height - _TOP - _BOTTOM) * y.place(vertical),
        )

    parts = []
    for tick in x.ticks():
        place, bottom = at(tick, y.low)
        parts.append(f'<path class="grid" d="M{place:.1f} {_TOP}V{bottom:.1f}"/>')
        parts.append(
            f'<text class="tick" x="{place:.1f}" y="{bottom + 15:.1f}" text-anchor="middle">'
            f"{tick:g}</text>"
        )
    for tick in y.ticks():
        left, place = at(x.low, tick)
        parts.append(f'<path class="grid" d="M{left} {place:.1f}H{WIDTH - _RIGHT}"/>')
        parts.append(
            f'<text class="tick" x="{left - 5}" y="{place + 4:.1f}" text-anchor="end">'
            f"{tick:g}</text>"
        )
    for line in lines:
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in (at(*point) for point in line))
        parts.append(f'<polyline class="line" points="{path}"/>')
    places = [at(point.x, point.y) for point in points]
    for point, (a, b) in zip(points, places, strict=True):
        tip = f"<title>{escape(point.tip or point.label)}</title>"
        parts.append(
            f'<circle class="s{point.series}" cx="{a:.1f}" cy="{b:.1f}" r="{point.radius:.1f}">'
            f"{tip}</circle>"
        )
    # Labels come after all points, so that none is covered.
    frame = (_LEFT, _TOP, WIDTH - _RIGHT, height - _BOTTOM)
    taken = [
        (a - point.radius, b - point.radius, a + point.radius, b + point.radius)
        for point, (a, b) in zip(points, places, strict=True)
    ]
    for point, (a, b) in zip(points, places, strict=True):
        if len(point.label) == 1 and point.radius > 5:
            parts.append(
                f'<text class="inside" x="{a:.1f}" y="{b + 4:.1f}" text-anchor="middle">'
                f"{escape(point.label)}</text>"
            )
        elif point.label:
            parts.append(_beside(point.label, (a, b), point.radius, frame, taken))
    parts.append(
        f'<text class="name" x="{(WIDTH + _LEFT) / 2}" y="{height - 6}" text-anchor="middle">'
        f"{escape(x.label)}</text>"
    )
    parts.append(
        f'<text class="name" transform="translate(11 {(height - _BOTTOM) / 2}) rotate(-90)" '
        f'text-anchor="middle">{escape(y.label)}</text>'
    )
    return _svg("".join(parts), height, title)


Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""
_CHARACTER, _LETTERS = 6.5, 11.0
"""Width of a character of a label, and its height, generously."""


def _beside(
    text: str, point: tuple[float, float], radius: float, frame: Box, taken: list[Box]
) -> str:
    """A label as near to its point as there is room; joined by a line if it had to move away."""
    width = _CHARACTER * len(text)

    def box(distance: float, turn: int) -> Box:
        angle = turn * math.pi / 8
        x = point[0] + math.cos(angle) * (radius + distance + width / 2)
        y = point[1] - math.sin(angle) * (radius + distance + _LETTERS / 2)
        return x - width / 2, y - _LETTERS / 2, x + width / 2, y + _LETTERS / 2

    # To the right first, then up and down in turns, then further away.
    turns = [0, *(sign * turn for turn in range(1, 8) for sign in (1, -1)), 8]
    choices = [(distance, box(distance, turn)) for distance in range(3, 60, 8) for turn in turns]
    distance, place = next(
        (choice for choice in choices if _free(choice[1], frame, taken)), choices[0]
    )
    taken.append(place)
    x, y = (place[0] + place[2]) / 2, (place[1] + place[3]) / 2
    line = ""
    if distance > 3:
        line = f'<path class="lead" d="M{point[0]:.1f} {point[1]:.1f}L{x:.1f} {y:.1f}"/>'
    return (
        f'{line}<text class="label" x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle">'
        f"{escape(text)}</text>"
    )


def _free(box: Box, frame: Box, taken: Sequence[Box]) -> bool:
    within = box[0] >= frame[0] and box[1] >= frame[1] and box[2] <= frame[2] and box[3] <= frame[3]
    return within and not any(
        box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]
        for other in taken
    )


def _svg(inside: str, height: float, title: str) -> str:
    frame = f'viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}"'
    return f"<svg {frame}>{inside}</svg>"
