"""A wheel built from the tree works in a fresh environment, from an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", folder, ROOT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def fresh(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a new environment with the wheel alone; torch and the like are borrowed."""
    folder = tmp_path_factory.mktemp("fresh")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(install, check=True)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(subprocess.check_output([python, "-c", where], text=True).strip())
    # A plain path in a .pth file is added as it is: the editable install there does not count.
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def test_the_wheel_holds_what_it_needs_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "rid_core/py.typed",
        "rid_core/assets/rid-s.safetensors",
        "rid_core/assets/rid-n.safetensors",
        "rid_core/assets/portraits/astronaut.jpg",
        "rid_export/py.typed",
        "rid_export/cli.py",
    ):
        assert wanted in names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "rid_core",
        "rid_export",
        "rid_bench",
    }
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.mark.slow
def test_protects_and_exports_from_an_empty_folder(
    fresh: Path, tmp_path: Path, astronaut: np.ndarray
) -> None:
    Image.fromarray(astronaut).save(tmp_path / "photo.png")

    def run(program: str, *arguments: str) -> str:
        done = subprocess.run(
            [fresh / program, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": ""},
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    where = run("python", "-c", "import rid_core, rid_export; print(rid_core.__file__)")
    assert str(fresh.parent) in where
    run("rid-protect", "photo.png", "-o", "protected.png")
    protected = np.asarray(Image.open(tmp_path / "protected.png")).astype(int)
    change = np.abs(protected - astronaut)
    assert 0 < change.max() <= 8
    run("rid-export", "--target", "onnx")
    assert (tmp_path / "dist" / "rid-s.onnx").stat().st_size > 1e6
    assert "rid-train" in run("rid-train", "--help")
    assert "shift" in run("rid-eval", "--help")
