"""Colours of pages and plots, in light and dark."""

from __future__ import annotations

from rid_core.report.content import Image

COLOURS = {
    "paper": ("#fbfbf9", "#14171a"),
    "card": ("#ffffff", "#1b1f24"),
    "ink": ("#1d2126", "#e6e8ea"),
    "soft": ("#5d666f", "#9aa4ad"),
    "rule": ("#dcdfe2", "#30363c"),
    "calm": ("#a9b4bf", "#56616c"),
    "one": ("#3a6ea5", "#6fa8e0"),
    "two": ("#c2571a", "#f0894a"),
    "three": ("#3f8f5f", "#6cc492"),
    "four": ("#8a5aa8", "#bd92d8"),
    "warn": ("#8a4b00", "#ffc98a"),
    "warn-paper": ("#fff3df", "#33260f"),
}
"""Each name's colour in light and in dark; ``one`` to ``four`` tell series apart."""


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
