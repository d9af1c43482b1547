"""The repository on the hub: what the hub's own library reads, and what loads from it."""

from __future__ import annotations

import dataclasses
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
from rid_core import artifact
from rid_core.checkpoint import find_model
from rid_export.cli import main_command


def publish(*arguments: str | Path) -> str:
    done = CliRunner().invoke(
        main_command, ["publish", *map(str, arguments)], catch_exceptions=False
    )
    assert done.exit_code == 0
    return done.output


def message(number: int, payload: bytes) -> bytes:
    """A field of a protobuf message that holds bytes."""
    out = b""
    for value in (number << 3 | 2, len(payload)):
        while value > 0x7F:
            out += bytes([value & 0x7F | 0x80])
            value >>= 7
        out += bytes([value])
    return out + payload


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    """The bundled rid-n.onnx, and a Core ML package that says that it is of the same weights."""
    folder = tmp_path / "dist"
    package = folder / "rid-n.mlpackage"
    (package / "Data").mkdir(parents=True)
    shutil.copyfile(find_model("rid-n"), folder / "rid-n.onnx")
    (folder / "report.html").write_text("not for the hub")
    metadata = artifact.read_metadata(folder / "rid-n.onnx")
    metadata = dataclasses.replace(metadata, format="coreml", network="")
    text = artifact.padded(metadata).encode()
    entry = message(100, message(1, b"RID_METADATA") + message(2, text))
    (package / "Data" / "m.mlmodel").write_bytes(message(2, message(100, entry)))
    manifest = {"itemInfoEntries": {"i": {"path": "m.mlmodel"}}, "rootModelIdentifier": "i"}
    (package / "Manifest.json").write_text(json.dumps(manifest))
    artifact.seal(package, metadata)
    return folder


def test_a_repository_that_loads(
    dist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, astronaut: np.ndarray
) -> None:
    out = tmp_path / "site" / "org" / "repo" / "resolve" / "main"
    shown = publish(dist, "--checkpoint", "rid-n", "-o", out, "--dry-run", "--repo", "org/repo")
    names = ["README.md", "config.json", "rid-n.mlpackage", "rid-n.onnx", "rid-n.safetensors"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert shown.splitlines() == [str(out / name) for name in names]
    card = huggingface_hub.ModelCard.load(out / "README.md")
    assert card.data.license == "apache-2.0"
    assert card.data.library_name == "rid-defender"
    (name,) = {result.metric_type for result in card.data.eval_results}
    assert (name, len(card.data.eval_results)) == ("sqnr", 2)
    assert all(result.metric_value > 40 for result in card.data.eval_results)
    assert 'rid.load("hf:org/repo")' in card.text
    assert (out / "rid-n.mlpackage" / "Manifest.json").is_file()
    files = json.loads((out / "config.json").read_text())["files"]
    assert list(files) == ["rid-n.onnx", "rid-n.safetensors"]

    server = Server(tmp_path / "site")
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("RID_CACHE", str(tmp_path / "cache"))
    try:
        fetched = rid.load("hf:org/repo", threads=1)
        weights = rid.load("hf:org/repo/rid-n.safetensors", threads=1)
    finally:
        server.stop()
    assert fetched.info.format == "onnx"
    difference = fetched.perturb(astronaut) - weights.perturb(astronaut)
    assert abs(difference).max() < 1e-4


def test_uploading(dist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    class Api:
        def create_repo(self, repo: str, **options: Any) -> None:
            calls.append(repo)

        def upload_folder(self, repo_id: str, folder_path: Path) -> None:
            calls.append(sorted(path.name for path in folder_path.iterdir())[0])
            if repo_id == "org/closed":
                raise ValueError("no login\nmore")

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    arguments = (dist, "--checkpoint", "rid-n", "-o", tmp_path / "hub")
    assert publish(*arguments, "--repo", "org/repo").endswith("hf:org/repo\n")
    assert calls == ["org/repo", "README.md"]
    with pytest.raises(rid.RidError, match=r"org/closed: not uploaded \(no login\); .* complete"):
        publish(*arguments, "--repo", "org/closed")
    with pytest.raises(rid.RidError, match="say where to with --repo"):
        publish(*arguments)


def test_what_is_not_published(dist: Path, tmp_path: Path) -> None:
    out = tmp_path / "hub"
    out.mkdir()
    (out / "README.md").write_text("before")
    options = ("-o", out, "--dry-run", "--checkpoint")
    with pytest.raises(rid.RidError, match=r"exported from other weights than .*rid-s\.safet"):
        publish(dist, *options, "rid-s")
    data = bytearray((dist / "rid-n.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (dist / "rid-n.onnx").write_bytes(data)
    with pytest.raises(rid.RidError, match=r"rid-n\.onnx: damaged, or changed after its export"):
        publish(dist, *options, "rid-n")
    (tmp_path / "empty").mkdir()
    with pytest.raises(rid.RidError, match="no exported files in it; make them with: rid-export"):
        publish(tmp_path / "empty", *options, "rid-n")
    assert (out / "README.md").read_text() == "before"
