"""Models that are fetched: what is kept, what is refused, and what works without the server."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_server import Server

from rid_core.checkpoint import find_model
from rid_core.download import cache_folder, fetch
from rid_core.errors import RidError

DATA = b"a model " * 100_000
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("RID_CACHE", str(tmp_path / "cache"))
    repository = tmp_path / "site" / "org" / "repo" / "resolve" / "main"
    repository.mkdir(parents=True)
    (repository / "m.onnx").write_bytes(DATA)
    (repository / "n.onnx").write_bytes(b"another")
    files = {
        "m.onnx": {"sha256": DIGEST, "bytes": len(DATA)},
        "n.onnx": {"sha256": "0" * 64, "bytes": 7},
    }
    (repository / "config.json").write_text(json.dumps({"default": "m.onnx", "files": files}))
    server = Server(tmp_path / "site")
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    yield server
    server.stop()


def kept() -> list[str]:
    return sorted(path.name for path in cache_folder().rglob("*") if path.is_file())


def test_a_url_is_fetched_once(server: Server) -> None:
    address = f"{server.url}/org/repo/resolve/main/m.onnx#sha256={DIGEST.upper()}"
    path = find_model(address)
    assert path.read_bytes() == DATA
    assert kept() == ["m.onnx"]
    server.stop()
    assert find_model(address) == path
    path.write_bytes(b"rotten")
    with pytest.raises(RidError, match=r"m\.onnx: cannot be reached \(.*refused"):
        find_model(address)


def test_what_is_not_what_was_asked_for_is_not_kept(server: Server) -> None:
    url = f"{server.url}/org/repo/resolve/main/m.onnx"
    with pytest.raises(RidError, match=f"its SHA-256 is {DIGEST}, not {'0' * 64}; nothing"):
        fetch(url, "0" * 64)
    with pytest.raises(RidError, match=r"none\.onnx: the server says 404"):
        fetch(f"{server.url}/none.onnx", DIGEST)
    with pytest.raises(RidError, match="64 hexadecimal digits, not 'abc'"):
        find_model(f"{url}#sha256=abc")
    with pytest.raises(RidError, match="add its SHA-256 to the URL"):
        find_model(url)
    assert kept() == []
    assert not list(cache_folder().rglob("*.tmp"))


def test_a_repository_on_the_hub(server: Server) -> None:
    path = find_model("hf:org/repo")
    assert path.read_bytes() == DATA
    assert find_model("hf:org/repo@main/m.onnx") == path
    with pytest.raises(RidError, match=r"n\.onnx: its SHA-256 is"):
        find_model("hf:org/repo/n.onnx")
    with pytest.raises(RidError, match=r"no model of that name; did you mean m\.onnx\?"):
        find_model("hf:org/repo/mm.onnx")
    with pytest.raises(RidError, match="the server says 404"):
        find_model("hf:org/other")
    with pytest.raises(RidError, match="a model on the hub is hf:organization/repository"):
        find_model("hf:repo")
    server.stop()
    assert find_model("hf:org/repo") == path
    with pytest.raises(RidError, match=r"org/other/.*: cannot be reached"):
        find_model("hf:org/other")


@pytest.mark.parametrize("text", ["[]", '{"files": {}}', "{", '{"default": 1, "files": [1]}'])
def test_a_repository_of_somebody_else(server: Server, tmp_path: Path, text: str) -> None:
    config = tmp_path / "site" / "org" / "repo" / "resolve" / "main" / "config.json"
    config.write_text(text)
    with pytest.raises(RidError, match=r"hf:org/repo: its config\.json lists no models"):
        find_model("hf:org/repo")
