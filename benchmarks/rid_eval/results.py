"""What every measurement writes: one JSON file that says what it is and where it was made."""

from __future__ import annotations

import datetime
import json
import platform
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rid_core._version import __version__
from rid_core.errors import RidError
from rid_core.files import write_text

SCHEMA = 1

LOOK = {
    "jod": ("JOD", 2),
    "jod_enlarged": ("enlarged twice", 2),
    "ssimulacra2": ("SSIMULACRA2", 0),
    "flip": ("FLIP", 3),
    "psnr": ("PSNR, dB", 1),
    "colour": ("colour, levels", 2),
}
"""Figures of a look by their name in the JSON: what a table calls them, and decimals."""


def result(what: str, **content: Any) -> dict[str, Any]:
    """A measurement with what produced it.

    Args:
        what: its kind, by which a report knows how to show it.
        content: settings and figures.
    """
    import torch

    return {
        "schema": SCHEMA,
        "what": what,
        **content,
        "made": {
            "rid": __version__,
            "date": datetime.date.today().isoformat(),
            "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            "cpu": platform.processor() or platform.machine(),
            "torch": torch.__version__,
        },
    }


def write_result(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write it as JSON, floats rounded to four places, as a whole or not at all."""
    write_text(path, json.dumps(rounded(content), indent=1) + "\n")


def read_result(path: str | Path) -> dict[str, Any]:
    """Read what :func:`write_result` wrote.

    Raises:
        RidError: no such file, not JSON, or not a measurement of this version.
    """
    path = Path(path)
    try:
        found = json.loads(path.read_text())
    except OSError as error:
        raise RidError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise RidError(f"{path}: not JSON ({error})") from None
    if not isinstance(found, dict) or "what" not in found:
        raise RidError(f"{path}: not a measurement of rid-eval")
    if found.get("schema") != SCHEMA:
        raise RidError(f"{path}: schema {found.get('schema')!r:.20}, this version reads {SCHEMA}")
    return found


def rounded(value: Any) -> Any:
    """Floats to four places, wherever they are; NaN, which JSON lacks, becomes None."""
    if isinstance(value, float):
        return None if value != value else round(value, 4)
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value


def exact(value: Any) -> Any:
    """Floats as text: figures are rounded to four places when written, and rates are smaller."""
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    return f"{value:g}" if isinstance(value, float) else value
