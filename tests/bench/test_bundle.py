"""The zip for other machines: what is in it, that it needs nothing else, and what it refuses."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_defender import tiny

from rid_bench import reference as references
from rid_bench import results
from rid_bench.artefacts import open_artefact
from rid_bench.devices import bundle
from rid_bench.portable.records import measured
from rid_core.errors import RidError

ROOT = Path(__file__).resolve().parents[2]
OURS = [str(ROOT), str(ROOT / "export"), str(ROOT / "benchmarks")]
PACKED = bundle.runner()
WORKSTATION = {"rid_core.checkpoint"}
"""Imported by what only a workstation opens: checkpoints in torch."""


@pytest.fixture(scope="module")
def packed(
    exported: dict[str, Path], reference: Any, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    target = tmp_path_factory.mktemp("bundle") / "bench.zip"
    bundle.pack([open_artefact(path) for path in exported.values()], [reference], target)
    return target


@pytest.fixture
def unpacked(packed: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "board"
    zipfile.ZipFile(packed).extractall(folder)
    return folder


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The runner, where nothing else of ours can be imported: no site-packages but these."""
    block = (
        "import runpy, sys\n"
        f"sys.path[:] = [p for p in sys.path if p not in {OURS!r}]\n"
        "sys.modules['torch'] = None\n"
        f"sys.argv = ['run.py', *sys.argv[1:]]\n"
        f"runpy.run_path({str(folder / 'run.py')!r}, run_name='__main__')\n"
        "raise SystemExit\n"
    )
    return subprocess.run(
        [sys.executable, "-c", block, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ""} | environment,
        check=False,
    )


@pytest.mark.parametrize("name", sorted(name for name in PACKED if name.endswith(".py")))
def test_the_runner_is_python_3_9_and_complete(name: str) -> None:
    """What is imported is in the bundle, in Python, or a runtime that is imported when opened."""
    tree = ast.parse(PACKED[name], feature_version=(3, 9))
    package = name.rpartition("/")[0].replace("/", ".")
    top = set(map(id, tree.body))
    for node in ast.walk(tree):
        modules: list[str] = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = f"{package}.{node.module or ''}".rstrip(".") if node.level else node.module
            modules = [base or ""]
        for module in modules:
            first = module.split(".")[0]
            if first in ("rid_core", "rid_bench", "rid_export"):
                places = {f"{module.replace('.', '/')}{end}" for end in (".py", "/__init__.py")}
                assert places & PACKED.keys() or module in WORKSTATION, (name, module)
            elif id(node) in top:
                assert first == "numpy" or first in sys.stdlib_module_names, (name, module)
        # Newer than 3.9 although it parses: unions at run time, zip(strict=), match.
        if isinstance(node, ast.Call):
            assert "strict" not in {keyword.arg for keyword in node.keywords}
            if isinstance(node.func, ast.Name) and node.func.id == "isinstance":
                assert not isinstance(node.args[1], ast.BinOp)
        assert not isinstance(node, ast.Match)
    annotated = any(
        isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in ast.walk(tree)
    )
    assert annotated or len(tree.body) <= 1 or name == "run.py" or "_version" in name


def test_equal_contents_make_equal_files(
    exported: dict[str, Path], reference: Any, packed: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again.zip"
    bundle.pack([open_artefact(path) for path in exported.values()], [reference], again)
    assert again.read_bytes() == packed.read_bytes()


def test_it_measures(unpacked: Path) -> None:
    done = run(unpacked, "--rounds", "2", "--batch", "0", "--threads", "1", "--name", "my board")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("agrees with the reference") == 2
    (found,) = results.load(unpacked / "results.json")
    assert found.complete
    assert found.name == "my board"
    assert len(measured(found.cells)) == 2
    assert {peak.kind for peak in found.peaks} == {"matmul", "copy"}
    assert all(row.images[0].sqnr_db > 90 for row in found.fidelity)
    assert all(row.gate is None for row in found.fidelity)


def test_without_timing_no_time_is_shown(unpacked: Path) -> None:
    done = run(unpacked, "--no-timing", "-o", "out.json")
    assert done.returncode == 0, done.stderr
    assert " ms" not in done.stdout
    (found,) = results.load(unpacked / "out.json")
    assert found.cells == []
    assert len(found.fidelity) == 2
    text = (unpacked / "out.json").read_text()
    assert "load_s" not in text
    assert "first_s" not in text


def test_an_unfaithful_network_is_told(unpacked: Path) -> None:
    """As if the board's kernels computed something else: the reference is another one."""
    manifest = json.loads((unpacked / "bundle.json").read_text())
    name = manifest["artefacts"][0]["reference"][0]
    wrong = -np.load(unpacked / name)
    np.save(unpacked / name, wrong)
    import hashlib

    manifest["files"][name] = hashlib.sha256((unpacked / name).read_bytes()).hexdigest()
    (unpacked / "bundle.json").write_text(json.dumps(manifest))
    done = run(unpacked, "--no-timing")
    assert done.returncode == 1
    assert "needed" in done.stdout


@pytest.mark.parametrize("fault", ["damaged", "missing", "schema", "manifest"])
def test_damaged_bundles(unpacked: Path, fault: str) -> None:
    file = next((unpacked / "artefacts").glob("*.onnx"))
    manifest = unpacked / "bundle.json"
    if fault == "damaged":
        file.write_bytes(file.read_bytes()[:-1] + b"x")
    elif fault == "missing":
        file.unlink()
    elif fault == "schema":
        manifest.write_text(manifest.read_text().replace('"schema": 1', '"schema": 9'))
    else:
        manifest.unlink()
    done = run(unpacked)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (unpacked / "results.json").exists()


def test_missing_packages_name_the_pip_line(unpacked: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    for name in ("ai_edge_litert", "onnxruntime"):
        (blocked / f"{name}.py").write_text("raise ImportError('not here')\n")
    done = subprocess.run(
        [sys.executable, "run.py", "--check"],
        cwd=unpacked,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(blocked)},
        check=False,
    )
    assert done.returncode == 1
    assert "pip install onnxruntime or pip install ai-edge-litert" in done.stderr
    (blocked / "numpy.py").write_text("raise ImportError('not here')\n")
    done = subprocess.run(
        [sys.executable, "run.py"],
        cwd=unpacked,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(blocked)},
        check=False,
    )
    assert done.stderr == "error: numpy is not installed: pip install numpy\n"


def test_other_weights_are_not_packed(
    exported: dict[str, Path], reference: Any, tmp_path: Path
) -> None:
    other = references.make(tiny(9, tmp_path), reference.names, reference.images, floor=False)
    with pytest.raises(RidError, match="there is no reference of those"):
        bundle.pack([open_artefact(exported["onnx"])], [other], tmp_path / "no.zip")
    assert not (tmp_path / "no.zip").exists()
    with pytest.raises(RidError, match="needs a reference"):
        bundle.pack([open_artefact(exported["onnx"])], [], tmp_path / "no.zip")
