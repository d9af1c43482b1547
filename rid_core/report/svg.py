"""SVG by matplotlib, as a part of a page: its colours are the page's, in light and in dark."""

from __future__ import annotations

import contextlib
import html
import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from rid_core.errors import MissingExtraError
from rid_core.report.content import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 360
"""Of every plot, in units: a phone's width in pixels."""
_DPI = 72

COLOURS = {
    "paper": ("#fbfbf9", "#14171a"),
    "card": ("#ffffff", "#1b1f24"),
    "ink": ("#1d2126", "#e6e8ea"),
    "soft": ("#5d666f", "#9aa4ad"),
    "rule": ("#dcdfe2", "#30363c"),
    "calm": ("#a9b4bf", "#56616c"),
    "one": ("#3a6ea5", "#6fa8e0"),
    "two": ("#c2571a", "#f0894a"),
    "warn": ("#8a4b00", "#ffc98a"),
    "warn-paper": ("#fff3df", "#33260f"),
}
"""Each name's colour in light and in dark; ``one`` and ``two`` tell series apart."""
LIGHT = {name: pair[0] for name, pair in COLOURS.items()}
"""What plots are drawn in."""


def variables() -> str:
    """CSS that defines the colours as variables, by what the reader's system prefers."""
    light, dark = (
        " ".join(f"--{name}: {pair[shade]};" for name, pair in COLOURS.items()) for shade in (0, 1)
    )
    return (
        f":root {{ color-scheme: light dark; {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
    )


def standalone(image: Image) -> bytes:
    """An image as a file of its own; a plot takes the colours of pages along."""
    if image.kind != "svg":
        return image.data
    frame, inside = image.data.decode().split(">", 1)
    style = f"<style>{variables()}svg {{ background: var(--card); }}</style>"
    return f'{frame} xmlns="http://www.w3.org/2000/svg">{style}{inside}\n'.encode()


@contextlib.contextmanager
def drawing(
    title: str, height: int, layout: Literal["constrained", "none"] = "constrained"
) -> Iterator[tuple[Figure, list[Image]]]:
    """A figure to draw on; afterwards the list holds its image, the same for the same figure.

    Args:
        title: for readers who hear the page.
        height: in units.
        layout: whether matplotlib makes room for what stands beside the axes.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise MissingExtraError("matplotlib", "report") from None
    settings: dict[Any, Any] = {
        "figure.dpi": _DPI,
        "font.family": "DejaVu Sans",
        "font.size": 11,
        "legend.fontsize": 10,
        "svg.fonttype": "none",
        "svg.hashsalt": title,
        "text.color": LIGHT["ink"],
        "text.parse_math": False,
        "xtick.labelcolor": LIGHT["soft"],
        "ytick.labelcolor": LIGHT["soft"],
        "axes.labelcolor": LIGHT["soft"],
    }
    with rc_context(settings):
        figure = Figure(
            figsize=(WIDTH / _DPI, height / _DPI), layout=None if layout == "none" else layout
        )
        images: list[Image] = []
        yield figure, images
        for artist in figure.findobj():
            artist.set_clip_on(False)
        figure.patch.set_visible(False)
        for axes in figure.axes:
            axes.patch.set_visible(False)
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
    inside = source[source.index(">", source.index("<svg ")) + 1 :]
    for pattern, replacement in _SHORTER:
        inside = re.sub(pattern, replacement, inside, flags=re.DOTALL)
    inside = re.sub(r'="[^"<>]*"', lambda found: _TOO_EXACT.sub(r"\1", found[0]), inside)
    for name, colour in LIGHT.items():
        inside = inside.replace(colour, f"var(--{name}, {colour})")
    name = html.escape(title)
    frame = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{name}">'
    return f"{frame}{inside.strip()}".encode()
