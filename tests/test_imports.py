"""Importing and asking for help are quick, because nothing heavy is loaded before it is needed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HEAVY = frozenset(
    (
        *("torch", "tensorflow", "jax", "onnx", "onnxruntime", "coremltools", "litert_torch"),
        *("ai_edge_litert", "transformers", "diffusers", "pydantic", "scipy", "cv2", "matplotlib"),
        *("jinja2", "rich"),
    )
)
PROGRAMS = {
    "rid-train": "rid_core.cli.train",
    "rid-protect": "rid_core.cli.protect",
    "rid-eval": "rid_eval.cli",
    "rid-export": "rid_export.cli",
    "rid-bench": "rid_bench.cli",
}
HELP = """
import importlib, sys
import click
module = importlib.import_module({module!r})
known = [value for value in vars(module).values() if isinstance(value, click.Command)]
groups = [value for value in known if isinstance(value, click.Group)]
def walk(command, path):
    yield path
    for name in getattr(command, "commands", {{}}):
        yield from walk(command.commands[name], [*path, name])
seen = 0
for command in groups or known:
    for path in walk(command, []):
        command.main([*path, "--help"], standalone_mode=False)
        seen += 1
print(seen, *sorted({heavy!r} & sys.modules.keys()))
"""


def seconds_of(code: str) -> tuple[float, str]:
    """Least time of the processor in three runs, which a busy machine does not lengthen."""
    times = []
    for _ in range(3):
        start = os.times()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        end = os.times()
        assert done.returncode == 0, done.stderr
        times.append(
            end.children_user + end.children_system - start.children_user - start.children_system
        )
    return min(times), done.stdout


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_of_every_command_loads_nothing_heavy(program: str) -> None:
    module = PROGRAMS[program]
    code = HELP.format(module=module, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    seen, *heavy = done.stdout.splitlines()[-1].split()
    assert int(seen) >= 1
    assert heavy == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_answers_quickly(program: str) -> None:
    call = f"import sys; sys.argv = [{program!r}, '--help']; from {PROGRAMS[program]} import main"
    seconds, shown = seconds_of(f"{call}; main()")
    assert shown.startswith("Usage: ")
    assert seconds < 0.3


def test_importing_the_core_loads_nothing_heavy() -> None:
    code = f"import sys, rid_core; print(sorted({set(HEAVY)!r} & sys.modules.keys()))"
    assert seconds_of(code)[1].strip() == "[]"
