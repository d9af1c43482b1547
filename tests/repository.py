"""What several tests ask of the checkout: its folders, and the paths that a text names."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

_FOLDERS = "android_demo benchmarks configs docs export ios_demo research rid_core tests web_demo"
_PATH = re.compile(rf"(?<![\w./-])(?:{_FOLDERS.replace(' ', '|')}|\.github|\.ci)/[\w./-]*\w")
_WRITTEN = re.compile(r"(?:--json|-o) \S+")
_MADE = ("android_demo/app/build", "benchmarks/results")


def missing_paths(text: str) -> list[str]:
    """Paths of the checkout that a text names and that are not there; not what commands write."""
    found = _PATH.findall(_WRITTEN.sub("", text))
    return [path for path in found if not path.startswith(_MADE) and not (ROOT / path).exists()]


def make_targets() -> set[str]:
    """What ``make`` can be asked for."""
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
