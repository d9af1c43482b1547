"""ARM kernels, emulated: every artefact gives the reference's perturbation there as well."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from rid_bench import results
from rid_bench.artefacts import open_artefact
from rid_bench.devices import bundle

ARM64 = Path(__file__).resolve().parents[2] / "benchmarks" / "arm64"


@pytest.fixture(scope="session")
def emulator() -> Path:
    """The emulated Python, built once and kept outside the checkout; a skip that says why not."""
    missing = [tool for tool in ("apt-get", "dpkg", "bash") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"ARM64 IS NOT CHECKED: {', '.join(missing)} missing; it needs Debian")
    done = subprocess.run(
        [ARM64 / "prepare.sh"], capture_output=True, text=True, timeout=1200, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        pytest.skip(f"ARM64 IS NOT CHECKED: it could not be built: {last}")
    return Path(done.stdout.strip().splitlines()[-1])


@pytest.mark.slow
def test_arm_kernels_agree_with_the_reference(
    emulator: Path, exported: dict[str, Path], reference: Any, tmp_path: Path
) -> None:
    artefacts = [open_artefact(path) for path in exported.values()]
    bundle.pack(artefacts, [reference], tmp_path / "bench.zip")
    zipfile.ZipFile(tmp_path / "bench.zip").extractall(tmp_path / "bundle")
    done = subprocess.run(
        [ARM64 / "run.sh", tmp_path / "bundle", tmp_path / "arm.json"],
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = results.load(tmp_path / "arm.json")
    assert found.machine["architecture"] == "aarch64"
    assert len(found.fidelity) == len(artefacts)
    for row in found.fidelity:
        assert row["error"] is None, row
        assert row["gate"] is None, row
        assert min(image["sqnr_db"] for image in row["images"]) > 90
    assert found.cells == []  # emulated time is never shown
    assert (emulator / "ready").is_file()
