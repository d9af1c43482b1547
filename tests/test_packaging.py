"""A wheel built from the tree protects a photo in an empty environment, without any extra."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
MEGABYTES = 250


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", folder, ROOT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_what_it_needs_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "rid_core/py.typed",
        *(f"rid_core/assets/rid-{size}.{end}" for size in "ns" for end in ("onnx", "safetensors")),
        "rid_core/assets/portraits/astronaut.jpg",
        "rid_export/py.typed",
        "rid_export/cli.py",
    ):
        assert wanted in names
    assert not [name for name in names if "rid-b" in name]
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"rid_core", "rid_export", "rid_bench", "rid_eval"}
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert wheel.stat().st_size < 5e6


@pytest.mark.slow
def test_protects_in_an_empty_environment(
    wheel: Path, tmp_path: Path, astronaut: np.ndarray
) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "fresh"], check=True)
    python = tmp_path / "fresh" / "bin" / "python"
    # From the package index, as a user does.
    install = [python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", wheel]
    subprocess.run(install, check=True)
    work = tmp_path / "work"
    work.mkdir()
    Image.fromarray(astronaut).save(work / "photo.png")

    def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": ""}
        return subprocess.run([python.with_name(program), *arguments], cwd=work,
                              capture_output=True, text=True, env=environment,
                              check=False)  # fmt: skip

    done = run("rid-protect", "photo.png", "-o", "protected.png")
    assert done.returncode == 0, done.stderr
    change = np.abs(np.asarray(Image.open(work / "protected.png")).astype(int) - astronaut)
    assert change.max() == 8
    code = """
import importlib.util, pathlib, sysconfig
import rid_core as rid
site = pathlib.Path(sysconfig.get_path("purelib"))
print(rid.load().info.format, importlib.util.find_spec("torch"), rid.list_defenders()[0])
print(rid.__file__.startswith(str(site)))
print(sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) // 1_000_000)
"""
    done = run("python", "-c", code)
    assert done.returncode == 0, done.stderr
    *facts, megabytes = done.stdout.split()
    assert facts == ["onnx", "None", "rid-b", "True"]
    assert int(megabytes) < MEGABYTES
    # The other tools answer, and say what would bring what they lack.
    for program in ("rid-export", "rid-bench", "rid-eval", "rid-train"):
        assert run(program, "--help").stdout.startswith("Usage: ")
    done = run("rid-protect", "photo.png", "-o", "b.png", "--model", "rid-s.safetensors")
    assert done.returncode == 1
    assert done.stderr == (
        "error: torch is not installed; it comes with: pip install 'safetensors>=0.4.5' "
        "'torch>=2.6'\n"
    )
    done = run("rid-export", "--target", "onnx")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
