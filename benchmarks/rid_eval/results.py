"""What every measurement writes: one JSON file that says what it is and where it was made.

A measurement is a dataclass. It is written as JSON, and what is read is checked against the same
dataclass, so that a report can rely on every figure that it names.
"""

from __future__ import annotations

import datetime
import json
import math
import platform
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, TypeVar

from pydantic import BeforeValidator, TypeAdapter, ValidationError, WrapSerializer

from rid_core._version import __version__
from rid_core.assignments import Setting
from rid_core.errors import RidError
from rid_core.files import write_text

SCHEMA = 1

Number = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]
"""A figure that may be missing: NaN here, null in JSON, which lacks NaN."""

Plain = None | bool | int | float | str | Mapping[str, "Plain"] | Sequence["Plain"]
"""What JSON holds."""


def _without_none(value: object, dump: Callable[[object], dict[str, object]]) -> dict[str, object]:
    return {name: found for name, found in dump(value).items() if found is not None}


Sparse = WrapSerializer(_without_none)
"""Annotates a dataclass whose fields are left out of the JSON where they are None."""


@dataclass(frozen=True)
class Provenance:
    """Where a measurement was made, and by what.

    Attributes:
        rid: version of this package.
        date: in ISO form.
        command: with its arguments.
        cpu: the processor.
        torch: its version.
    """

    rid: str
    date: str
    command: str
    cpu: str
    torch: str = ""

    @classmethod
    def here(cls) -> Provenance:
        """Of this process."""
        import torch

        return cls(
            __version__, datetime.date.today().isoformat(),
            shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            platform.processor() or platform.machine(), torch.__version__,
        )  # fmt: skip


@dataclass(frozen=True)
class PhotoSet:
    """Photos that something was measured on.

    Attributes:
        folder: its name.
        pattern: which files of it.
        count: how many photos.
        size: side of the square that was cut out of each, or height and width, pixels.
    """

    folder: str
    pattern: str
    count: int
    size: int | tuple[int, int]


@dataclass(frozen=True)
class MethodRun:
    """A slow method that a defender is held against.

    Attributes:
        method: its name.
        settings: all of them, as text where they are not whole.
        attacks: name of the surrogate.
    """

    method: str
    settings: dict[str, Setting]
    attacks: str


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A measurement with what produced it.

    Attributes:
        what: the kind of measurement, by which a report knows how to show it.
        made: where and by what.
    """

    what: ClassVar[str]
    made: Provenance = field(default_factory=Provenance.here)


AnyMeasurement = TypeVar("AnyMeasurement", bound=Measurement)


def as_json(result: Measurement) -> dict[str, Plain]:
    """As it is written: floats rounded to four places, NaN as null, without fields of None."""
    dumped = TypeAdapter(type(result)).dump_python(result, by_alias=True)
    content = {name: value for name, value in dumped.items() if value is not None}
    made = content.pop("made")
    plain = rounded({"schema": SCHEMA, "what": result.what, **content, "made": made})
    assert isinstance(plain, dict)
    return plain


def write_result(path: str | Path, result: Measurement) -> None:
    """Write a measurement as JSON, as a whole or not at all."""
    write_text(path, json.dumps(as_json(result), indent=1) + "\n")


def read_result(path: str | Path, kinds: Sequence[type[AnyMeasurement]]) -> AnyMeasurement:
    """Read what :func:`write_result` wrote, and check it.

    Args:
        path: of the file.
        kinds: what it may be.

    Raises:
        RidError: no such file, not JSON, another kind, or figures that are missing or damaged.
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
    by_name = {kind.what: kind for kind in kinds}
    kind = by_name.get(str(found["what"]))
    if kind is None:
        raise RidError(
            f"{path.name}: a report cannot show {found['what']!r:.40}; known: {', '.join(by_name)}"
        )
    if "made" not in found:
        raise RidError(f"{path.name}: figures are missing or damaged (made: field required)")
    try:
        return TypeAdapter(kind).validate_python(found)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        reason = f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}"
        raise RidError(f"{path.name}: figures are missing or damaged ({reason})") from None


def rounded(value: Plain) -> Plain:
    """Floats to four places, wherever they are; NaN, which JSON lacks, becomes None."""
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 4)
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value


def exact(settings: Mapping[str, Setting]) -> dict[str, Setting]:
    """Settings with floats as text: figures are rounded when written, and rates are smaller."""
    return {name: f"{value:g}" if isinstance(value, float) else value
            for name, value in settings.items()}  # fmt: skip
