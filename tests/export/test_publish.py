"""The repository on the hub: what the hub's own library reads, and what loads from it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from click.testing import CliRunner
from file_server import Server

import rid_core as rid
from rid_export.cli import main_command


def publish(*arguments: str | Path) -> str:
    done = CliRunner().invoke(
        main_command, ["publish", *map(str, arguments)], catch_exceptions=False
    )
    assert done.exit_code == 0
    return done.output


@pytest.fixture
def dist(exported: Any, tmp_path: Path) -> Path:
    folder = tmp_path / "dist"
    folder.mkdir()
    for target in ("onnx", "tflite", "coreml"):
        file = exported(target).file
        copy: Any = shutil.copytree if file.is_dir() else shutil.copyfile
        copy(file, folder / file.name)
    (folder / "report.html").write_text("not for the hub")
    return folder


def test_a_repository_that_loads(
    dist: Path,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    astronaut: np.ndarray,
) -> None:
    out = tmp_path / "site" / "org" / "repo" / "resolve" / "main"
    shown = publish(dist, "--checkpoint", checkpoint, "-o", out, "--dry-run", "--repo", "org/repo")
    names = ["README.md", "config.json", "rid-s.mlpackage", "rid-s.onnx", "rid-s.safetensors"]
    assert sorted(path.name for path in out.iterdir()) == [*names, "rid-s.tflite"]
    assert len(shown.splitlines()) == 6
    card = huggingface_hub.ModelCard.load(out / "README.md")
    assert card.data.license == "apache-2.0"
    assert card.data.library_name == "rid-defender"
    (name,) = {result.metric_type for result in card.data.eval_results}
    assert (name, len(card.data.eval_results)) == ("sqnr", 3)
    assert all(result.metric_value > 40 for result in card.data.eval_results)
    assert 'rid.load("hf:org/repo")' in card.text
    assert (out / "rid-s.mlpackage" / "Manifest.json").is_file()
    files = json.loads((out / "config.json").read_text())["files"]
    assert sorted(files) == ["rid-s.onnx", "rid-s.safetensors", "rid-s.tflite"]

    server = Server(tmp_path / "site")
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("RID_CACHE", str(tmp_path / "cache"))
    try:
        fetched = rid.load("hf:org/repo", threads=1)
        weights = rid.load("hf:org/repo/rid-s.safetensors", threads=1)
    finally:
        server.stop()
    assert fetched.info.format == "onnx"
    difference = fetched.perturb(astronaut) - weights.perturb(astronaut)
    assert abs(difference).max() < 1e-4


def test_uploading(dist: Path, checkpoint: Path, tmp_path: Path, monkeypatch: Any) -> None:
    calls = []

    class Api:
        def create_repo(self, repo: str, **options: Any) -> None:
            calls.append(repo)

        def upload_folder(self, repo_id: str, folder_path: Path) -> None:
            calls.append(sorted(path.name for path in folder_path.iterdir())[0])
            if repo_id == "org/closed":
                raise ValueError("no login\nmore")

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    arguments = (dist, "--checkpoint", checkpoint, "-o", tmp_path / "hub")
    assert publish(*arguments, "--repo", "org/repo").endswith("hf:org/repo\n")
    assert calls == ["org/repo", "README.md"]
    with pytest.raises(rid.RidError, match=r"org/closed: not uploaded \(no login\); .* complete"):
        publish(*arguments, "--repo", "org/closed")
    with pytest.raises(rid.RidError, match="say where to with --repo"):
        publish(*arguments)


def test_what_is_not_published(dist: Path, checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "hub"
    out.mkdir()
    (out / "README.md").write_text("before")
    options = ("-o", out, "--dry-run", "--checkpoint")
    with pytest.raises(rid.RidError, match=r"exported from other weights than .*rid-n\.safet"):
        publish(dist, *options, "rid-n")
    data = bytearray((dist / "rid-s.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (dist / "rid-s.onnx").write_bytes(data)
    with pytest.raises(rid.RidError, match=r"rid-s\.onnx: damaged, or changed after its export"):
        publish(dist, *options, checkpoint)
    (tmp_path / "empty").mkdir()
    with pytest.raises(rid.RidError, match="no exported files in it; make them with: rid-export"):
        publish(tmp_path / "empty", *options, checkpoint)
    assert (out / "README.md").read_text() == "before"
