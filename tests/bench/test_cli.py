from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from rid_bench import results
from rid_bench.cli import main_command
from rid_bench.devices import host
from rid_bench.portable.records import SCHEMA, Cell, Machine, Measured, Run
from rid_core.errors import RidError

Make = Callable[..., Measured]
COMMANDS = ("run", "reference", "fidelity", "bundle", "ssh", "adb", "merge", "report", "compare")


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(main_command, [str(a) for a in arguments], standalone_mode=False)


def code(result: Any) -> int:
    assert result.exception is None, result.exception
    return int(result.return_value)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(command: str) -> None:
    result = CliRunner().invoke(main_command, [command, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys, rid_bench.cli; "
        "print([m for m in ('torch', 'numpy', 'onnxruntime', 'PIL') if m in sys.modules])"
    )
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert time.perf_counter() - begin < 30  # a hang, not a slow machine


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch, machine: Machine) -> Callable[..., None]:
    """``pretend(cells, peers)`` makes ``rid-bench run`` find these, measured at once."""

    def make(cells: list[Any], peers: list[Any] | None = None, note: str | None = None) -> None:
        def fake(*_: Any, keep: Callable[[Run], None], **__: Any) -> Run:
            run = Run("2026", machine, cells=cells, peers=peers or [], complete=note is None)
            run.note = note
            keep(run)
            return run

        monkeypatch.setattr(host, "run", fake)

    return make


def test_gates_tell_by_exit_code(
    pretend: Callable[..., None], cell: Make, exported: dict[str, Path], tmp_path: Path
) -> None:
    common = ("run", exported["onnx"], "-o", tmp_path / "b.json")
    paper = cell(name="rid-dit", median=3.35, format="torch")
    pretend([cell(median=0.0109)], [paper])
    assert code(invoke(*common, "--max-latency", 1)) == 0
    failed = invoke(*common, "--max-latency", 0.001)
    assert code(failed) == 1
    assert "FAILED: too slow" in failed.output
    assert code(invoke(*common, "--max-ratio", "rid-s=1/300")) == 0
    assert code(invoke(*common, "--max-ratio", "1/3000")) == 1
    pretend([cell(median=0.99, spread=0.6)], [paper])
    unclear = invoke(*common, "--max-latency", 1)
    assert code(unclear) == 3
    assert "unclear: the machine is too noisy to tell" in unclear.output


def test_an_interrupted_run_says_where_it_is(
    pretend: Callable[..., None], cell: Make, exported: dict[str, Path], tmp_path: Path
) -> None:
    target = tmp_path / "b.json"
    pretend([cell()], note="interrupted")
    result = invoke("run", exported["onnx"], "-o", target, "--max-latency", 0.001)
    assert code(result) == 130
    assert "not complete: interrupted" in result.output
    assert results.load(target)[0].note == "interrupted"


def test_a_missing_runtime_that_was_asked_for_is_an_error(
    pretend: Callable[..., None], cell: Make, exported: dict[str, Path], tmp_path: Path
) -> None:
    missing = Cell("rid-s", error="pip install tensorflow", missing=True)
    pretend([cell(), missing])
    result = invoke("run", exported["tflite"], "--runtime", "tensorflow", "-o", tmp_path / "b.json")
    assert isinstance(result.exception, RidError)
    assert "pip install tensorflow" in result.output
    assert results.load(tmp_path / "b.json")[0].cells[1].missing


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--threads", "0"), "--threads takes numbers"),
        (("--threads", "two"), "--threads takes numbers"),
        (("--photos", "1,-2"), "--photos takes numbers"),
        (("--max-ratio", "x"), "--max-ratio takes"),
        (("--max-ratio", "1/2", "--no-peers"), "leave --no-peers away"),
    ],
)
def test_bad_options(
    arguments: tuple[str, ...], complaint: str, exported: dict[str, Path], tmp_path: Path
) -> None:
    result = invoke("run", exported["onnx"], "-o", tmp_path / "b.json", *arguments)
    assert isinstance(result.exception, RidError)
    assert complaint in str(result.exception)
    assert not (tmp_path / "b.json").exists()


def test_from_reference_to_report(
    exported: dict[str, Path], checkpoint: Path, tmp_path: Path
) -> None:
    reference, found = tmp_path / "r.safetensors", tmp_path / "f.json"
    made = invoke(
        "reference", "--checkpoint", checkpoint, "--resolution", 64, "--limit", 1, "-o", reference
    )
    assert code(made) == 0
    assert "noise floor against float64" in made.output
    held = invoke("fidelity", "--reference", reference, *exported.values(), "-o", found)
    assert code(held) == 0
    assert held.output.count("passed") == 2
    packed = invoke(
        "bundle", "--reference", reference, *exported.values(), "-o", tmp_path / "b.zip"
    )
    assert code(packed) == 0
    assert "2 networks" in packed.output
    merged = tmp_path / "m.json"
    assert code(invoke("merge", found, found, "-o", merged)) == 0
    assert len(results.load(merged)) == 1
    outputs = [tmp_path / f"report.{end}" for end in ("html", "md", "json")]
    words = [word for path in outputs for word in ("-o", path)]
    assert code(invoke("report", merged, *words, "--reference", reference)) == 0
    assert outputs[0].read_text().startswith("<!doctype html>")
    assert "SQNR" in outputs[1].read_text()
    assert json.loads(outputs[2].read_text())["schema"] == SCHEMA
    assert "# RID benchmark" in invoke("report", merged).output


def test_report_refuses_other_endings(tmp_path: Path) -> None:
    result = invoke("report", tmp_path / "x.json", "-o", tmp_path / "x.pdf")
    assert isinstance(result.exception, RidError)
    assert "ends in .html" in str(result.exception)


def test_checkpoints_are_not_held_against_references(
    checkpoint: Path, reference: Any, tmp_path: Path
) -> None:
    from rid_bench import reference as references

    file = tmp_path / "r.safetensors"
    references.save(reference, file)
    result = invoke("fidelity", "--reference", file, checkpoint)
    assert isinstance(result.exception, RidError)


def test_compare_by_exit_code(cell: Make, machine: Machine, tmp_path: Path) -> None:
    def write(name: str, *cells: Any) -> Path:
        results.save(tmp_path / name, [Run("2026", machine, cells=list(cells))])
        return tmp_path / name

    old = write("old.json", cell())
    assert code(invoke("compare", old, old)) == 0
    slower = invoke("compare", old, write("new.json", cell(median=0.02)))
    assert code(slower) == 1
    assert "SLOWER" in slower.output
    assert code(invoke("compare", old, write("busy.json", cell(cpu_share=0.1)))) == 3
    nothing = invoke("compare", old, write("other.json", cell(threads=7)))
    assert isinstance(nothing.exception, RidError)
