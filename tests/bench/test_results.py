from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rid_bench import results
from rid_bench.portable.records import Cell, Fidelity, Machine, Run, label
from rid_core.errors import RidError


def test_round_trip(tmp_path: Path, machine: Machine, cell: Callable[..., Any]) -> None:
    run = Run(
        "2026-01-01T00:00:00+00:00",
        machine,
        cells=[cell(), Cell("rid-n", error="no")],
        complete=False,
        note="why",
    )
    results.save(tmp_path / "a.json", [run])
    assert results.load(tmp_path / "a.json") == [run]


def test_unknown_fields_of_later_versions_are_left_out(tmp_path: Path, machine: Machine) -> None:
    run = {"created": "", "machine": {"cpu": "Test CPU", "sun": 1}, "cells": [], "moon": "full"}
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"schema": results.SCHEMA, "runs": [run]}))
    assert results.load(file) == [Run("", Machine("Test CPU"))]


HEAD = '{"machine": {"cpu": ""}, "created": ""'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not JSON"),
        ("[]", "no benchmark results"),
        ('{"schema": 99, "runs": []}', "schema 99"),
        ('{"schema": 1, "runs": [{"machine": {}}]}', "damaged"),
        (
            '{"schema": 1, "runs": [{"machine": {"cpu": ""}, "created": "", "cells": [{}]}]}',
            "damaged",
        ),
        ('{"schema": 1, "runs": [7]}', "damaged"),
        (
            f'{{"schema": 1, "runs": [{HEAD}, "cells": [{{"name": "a", "threads": "2"}}]}}]}}',
            "threads",
        ),
        (f'{{"schema": 1, "runs": [{HEAD}, "cells": [{{"name": "a", "total": 3}}]}}]}}', "damaged"),
        (f'{{"schema": 1, "runs": [{HEAD}, "peaks": [{{"what": "numpy"}}]}}]}}', "kind"),
        (f'{{"schema": 1, "runs": [{HEAD}, "complete": 1}}]}}', "complete"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "bad.json"
    file.write_text(text)
    with pytest.raises(RidError, match=complaint):
        results.load(file)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RidError, match="cannot be read"):
        results.load(tmp_path / "none.json")


def test_merging_counts_a_run_once(tmp_path: Path, machine: Machine) -> None:
    one, other = Run("1", machine), Run("2", machine)
    results.save(tmp_path / "a.json", [one, other])
    results.save(tmp_path / "b.json", [one])
    assert results.merge([tmp_path / "a.json", tmp_path / "b.json"]) == [one, other]


def test_fidelity_joins_the_latency_of_its_machine(
    machine: Machine, cell: Callable[..., Any]
) -> None:
    latency = Run("1", machine, cells=[cell()])
    fidelity = Run("2", machine, fidelity=[Fidelity("rid-s")])
    elsewhere = Run("3", replace(machine, cpu="another"), fidelity=[Fidelity("rid-n")])
    joined = results.joined([latency, fidelity, elsewhere])
    assert [run.created for run in joined] == ["1", "3"]
    assert joined[0].fidelity == [Fidelity("rid-s")]
    assert latency.fidelity == []  # the original is left alone


def test_labels(cell: Callable[..., Any]) -> None:
    assert label(cell()) == "rid-s TFLite fp32, 2 threads"
    assert label(cell(threads=1), threads=True).endswith("1 thread")
    assert label(cell(kernels="builtin"), threads=False) == ("rid-s TFLite fp32 (builtin kernels)")
