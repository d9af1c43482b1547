"""The Android demo compiles, its tests pass, and its photos are those of rid_core.

All of it is android_demo/check.sh, whole or (RID_DEMOS=android-core) what needs no Android; what
that cannot have (no network) is skipped there and told here.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import warnings
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parents[2] / "android_demo"
NEEDED = ("java", "javac", "npm", "unzip", "apt-get")


def test_every_golden_file_is_read_where_it_lies() -> None:
    """A copy of the vectors in the app would go stale without anybody noticing."""
    names = {file.name for file in (DEMO.parent / "tests" / "golden").glob("*.json")}
    copies = [file for file in DEMO.rglob("*.json") if file.name in names]
    assert copies == []


def test_no_model_lies_in_the_sources() -> None:
    kinds = {".tflite", ".onnx", ".apk", ".jks"}
    found = [file for file in DEMO.rglob("*") if file.suffix in kinds]
    assert [file for file in found if "build" not in file.parts] == []


@pytest.mark.slow
def test_check(parts: frozenset[str]) -> None:
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        pytest.skip(f"android_demo/check.sh needs {', '.join(missing)}")
    command = [str(DEMO / "check.sh")]
    if "android" not in parts:
        command.append("--core")
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600)
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    skipped = re.findall(r"^SKIPPED .*$", done.stdout, re.MULTILINE)
    if re.search(r"^0 passed", done.stdout, re.MULTILINE):
        pytest.skip("; ".join(skipped))
    for line in skipped:
        warnings.warn(line, stacklevel=1)
