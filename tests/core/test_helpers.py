"""Small helpers that several rooms share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rid_core.assignments import read_assignments, split_assignment
from rid_core.errors import RidError, did_you_mean


def test_the_nearest_name_is_offered_or_all_of_them() -> None:
    assert did_you_mean("rid-ss", ["rid-n", "rid-s"]) == "did you mean rid-s?"
    assert did_you_mean("xyz", iter(["b", "a"])) == "known: b, a"
    assert did_you_mean("", {}) == "known: "


def test_assignments_are_split_and_read() -> None:
    assert split_assignment(" a.b = c=d ") == ("a.b", "c=d")
    read = read_assignments(["n=3", "x=1e-4", "on=true", "word=none", "l=[1, 2]", 'q="3"', "n=4"])
    assert read == {"n": 4, "x": 1e-4, "on": True, "word": "none", "l": [1, 2], "q": "3"}
    with pytest.raises(RidError, match="--set takes KEY=VALUE, not 'steps'"):
        read_assignments(["steps"])


def test_nothing_gets_through_while_output_is_suppressed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    code = f"""
import os, subprocess, sys
from pathlib import Path
from rid_core.output import suppress_output
print("one")
with suppress_output(Path({str(log)!r})):
    print("two")
    os.write(2, b"three\\n")
    subprocess.run([sys.executable, "-c", "print('four')"], check=True)
try:
    with suppress_output():
        print("five")
        raise ValueError("inside")
except ValueError as error:
    print(error, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("one\n", "inside\n")
    assert sorted(log.read_text().split()) == ["before", "four", "three", "two"]


def test_suppression_needs_no_streams() -> None:
    """Under a window server a process has neither of them."""
    code = (
        "import os, sys; from rid_core.output import suppress_output; os.close(1); os.close(2); "
        "sys.stdout = sys.stderr = None\n"
        "with suppress_output(): pass\n"
        "sys.exit(7)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 7


def test_each_of_several_processes_computes_in_one_thread() -> None:
    """What pytest-xdist's processes compute with, and their children."""
    root = Path(__file__).parents[2]
    code = (
        f"import sys; sys.path.insert(0, {str(root / 'tests')!r}); import conftest, torch, cv2; "
        "print(torch.get_num_threads(), cv2.getNumThreads())"
    )
    environment = os.environ | {"PYTEST_XDIST_WORKER": "gw0", "OMP_NUM_THREADS": "7"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "1"]
