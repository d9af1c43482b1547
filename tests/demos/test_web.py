"""The web demo: its own check, with a model exported from the bundled defender."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

WEB = Path(__file__).resolve().parents[2] / "web_demo"
SKIPPED = 75
"""Exit code of check.sh where something cannot be had; its last line says what."""


def test_the_lock_file_names_no_registry() -> None:
    lock = (WEB / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert '"integrity"' in lock


@pytest.mark.slow
def test_check(tmp_path: Path) -> None:
    export = Path(sys.executable).with_name("rid-export")
    subprocess.run([export, "--target", "onnx", "-o", tmp_path], check=True)
    model = next(tmp_path.glob("*.onnx"))
    environment = os.environ | {"RID_PYTHON": sys.executable, "CI": "true"}
    run = subprocess.run(
        [WEB / "check.sh", model],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    print(run.stdout)
    if run.returncode == SKIPPED:
        pytest.skip(run.stdout.strip().splitlines()[-1])
    assert run.returncode == 0, run.stdout[-4000:]
    assert re.search(r"Tests .*passed", run.stdout)
