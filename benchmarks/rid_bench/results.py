"""The document that holds results: versioned JSON, one or more runs, one machine each."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from rid_bench.portable.records import (
    SCHEMA,
    Cell,
    Measured,
    MeasuredPhoto,
    Photo,
    Run,
    document,
)
from rid_core.errors import RidError
from rid_core.files import write_text

_Record = TypeVar("_Record")
_WITH_FIGURES: Mapping[type, type] = {Cell: Measured, Photo: MeasuredPhoto}
"""What a row is that has a ``total``."""


def save(path: str | Path, runs: Iterable[Run]) -> None:
    """Write runs as a whole or not at all.

    Raises:
        RidError: the file cannot be written.
    """
    write_text(path, json.dumps(document(list(runs)), indent=1, allow_nan=False) + "\n")


def read(kind: type[_Record], raw: object) -> _Record:
    """A dataclass out of parsed JSON; keys of later versions are left out.

    Raises:
        TypeError, KeyError: a value of another kind, or one that is missing.
    """
    if not isinstance(raw, dict):
        raise TypeError(f"{kind.__name__} is {type(raw).__name__}")
    if raw.get("total") is not None:
        kind = cast(type[_Record], _WITH_FIGURES.get(kind, kind))
    hints = typing.get_type_hints(kind)
    found = {}
    for field in dataclasses.fields(cast(Any, kind)):
        if field.name in raw:
            found[field.name] = _value(hints[field.name], raw[field.name], field.name)
        elif field.metadata.get("required") or (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        ):
            raise KeyError(field.name)
    return kind(**found)


def _value(kind: Any, raw: Any, name: str) -> Any:
    """A value of the annotated kind; whole numbers are floats as well."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:  # only ``| None`` occurs
        return None if raw is None else _value(inner[0], raw, name)
    if dataclasses.is_dataclass(kind):
        return read(cast(type, kind), raw)
    if origin in (list, tuple) and isinstance(raw, list):
        return origin(_value(inner[0], item, name) for item in raw)
    if origin is dict and isinstance(raw, dict):
        return {str(key): _value(inner[1], item, name) for key, item in raw.items()}
    if kind is float and isinstance(raw, int | float) and not isinstance(raw, bool):
        return float(raw)
    if kind is str and raw is None:  # what was not told, in files of phones and older versions
        return ""
    if origin is None and isinstance(raw, kind) and (kind is bool or not isinstance(raw, bool)):
        return raw
    raise TypeError(f"{name} is {raw!r:.40}")


def load(path: str | Path) -> list[Run]:
    """Read what :func:`save`, a phone, or the runner of a bundle wrote.

    Raises:
        RidError: missing, damaged or foreign file, or another schema.
    """
    path = Path(path)
    try:
        raw = json.loads(path.read_text())
    except OSError as error:
        raise RidError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise RidError(f"{path}: not JSON; rid-bench run writes results") from None
    if not isinstance(raw, dict) or "runs" not in raw or "schema" not in raw:
        raise RidError(f"{path}: JSON, but no benchmark results")
    if raw["schema"] != SCHEMA:
        raise RidError(
            f"{path}: results of schema {raw['schema']!r:.20}, this version reads {SCHEMA}; "
            "measure again"
        )
    try:
        return [read(Run, run) for run in raw["runs"]]
    except (TypeError, KeyError) as error:
        raise RidError(f"{path}: benchmark results, but damaged ({error})") from None


def merge(paths: Sequence[str | Path]) -> list[Run]:
    """All runs of several files, in order; the same run twice counts once.

    Raises:
        RidError: a file cannot be read.
    """
    runs: list[Run] = []
    for path in paths:
        runs += [run for run in load(path) if run not in runs]
    return runs


def joined(runs: Sequence[Run]) -> list[Run]:
    """For a report: what measured fidelity alone goes to the run of the same machine's latency."""
    alone = [run for run in runs if run.fidelity and not run.cells]
    hosts = [
        dataclasses.replace(run, fidelity=list(run.fidelity)) for run in runs if run not in alone
    ]
    rest = []
    for run in alone:
        keys = [(host.name, host.machine.cpu) for host in hosts]
        key = (run.name, run.machine.cpu)
        if key in keys:
            hosts[keys.index(key)].fidelity += run.fidelity
        else:
            rest.append(run)
    return hosts + rest
