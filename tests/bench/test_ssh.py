"""`rid-bench ssh` against a real OpenSSH server with its own configuration, host key and port."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rid_bench import results
from rid_bench.artefacts import open_artefact
from rid_bench.devices import bundle, ssh
from rid_bench.portable.records import measured
from rid_core.errors import RidError


def _sshd() -> str | None:
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ssh.Board]:
    server = _sshd()
    if server is None or shutil.which("ssh") is None:
        pytest.skip("no OpenSSH server here; apt-get install openssh-server")
    folder = tmp_path_factory.mktemp("sshd")
    folder.chmod(0o700)
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    (folder / "authorized").write_text((folder / "user.pub").read_text())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/authorized\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "PubkeyAuthentication yes\nPermitRootLogin prohibit-password\n"
        "Subsystem sftp internal-sftp\n"
    )
    host = (folder / "host.pub").read_text().split()
    (folder / "known").write_text(f"[127.0.0.1]:{port} {host[0]} {host[1]}\n")
    (folder / "client").write_text(
        f"Host board\n  HostName 127.0.0.1\n  Port {port}\n  User {getpass.getuser()}\n"
        f"  IdentityFile {folder}/user\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {folder}/known\n  StrictHostKeyChecking yes\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True) if os.geteuid() == 0 else None
    log = (folder / "log").open("wb")
    process = subprocess.Popen([server, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log)
    try:
        for _ in range(100):
            if process.poll() is not None:
                pytest.skip(f"sshd ends at once: {(folder / 'log').read_text()[-300:]}")
            if _answers(port):
                break
            time.sleep(0.1)
        yield ssh.Board("board", config=str(folder / "client"), python=sys.executable)
    finally:
        process.terminate()
        process.wait()
        log.close()


@pytest.fixture(scope="module")
def packed(
    exported: dict[str, Path], reference: Any, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    target = tmp_path_factory.mktemp("bundle") / "bench.zip"
    bundle.pack([open_artefact(exported["onnx"])], [reference], target)
    return target


QUICK = ("--rounds", "1", "--batch", "0", "--threads", "1", "--name", "a board")


def test_there_and_back(board: ssh.Board, packed: Path, tmp_path: Path) -> None:
    here = ssh.Board(**{**vars(board), "folder": str(tmp_path / "on board")})
    target = tmp_path / "board.json"
    (found,) = ssh.run(here, packed, target, QUICK)
    assert found.name == "a board"
    assert len(measured(found.cells)) == 1
    assert found.fidelity[0].gate is None
    assert results.load(target) == [found]
    assert list((tmp_path / "on board").iterdir()) == []  # nothing is left behind


def test_no_such_board(tmp_path: Path, packed: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        lost = ssh.Board("nobody@127.0.0.1", port=taken.getsockname()[1])
        with pytest.raises(RidError, match=r"reaching nobody@127.0.0.1 failed"):
            ssh.run(lost, packed, tmp_path / "board.json")


def test_a_key_that_is_not_let_in(board: ssh.Board, packed: Path, tmp_path: Path) -> None:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")]
    subprocess.run(command, check=True)
    text = Path(board.config or "").read_text()
    text = text.replace(
        f"IdentityFile {Path(board.config or '').parent}/user", f"IdentityFile {tmp_path}/other"
    )
    (tmp_path / "client").write_text(text)
    stranger = ssh.Board(**{**vars(board), "config": str(tmp_path / "client")})
    with pytest.raises(RidError, match="Permission denied"):
        ssh.run(stranger, packed, tmp_path / "board.json")


def test_no_python_there(board: ssh.Board, packed: Path, tmp_path: Path) -> None:
    without = ssh.Board(**{**vars(board), "python": "python-of-the-future"})
    with pytest.raises(RidError, match="python-of-the-future"):
        ssh.run(without, packed, tmp_path / "board.json")


def test_no_runtime_there(board: ssh.Board, packed: Path, tmp_path: Path) -> None:
    """A Python on the board that has numpy but no runtime: the pip line is said."""
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('not here')\n")
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    script.chmod(0o755)
    bare = ssh.Board(**{**vars(board), "python": str(script)})
    with pytest.raises(RidError, match="pip install onnxruntime"):
        ssh.run(bare, packed, tmp_path / "board.json")


def test_no_space_there(
    board: ssh.Board, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "df").write_text("#!/bin/sh\necho head\necho /dev/x 1000 990 10 99% /\n")
    (folder / "df").chmod(0o755)
    plain = ssh.Board.ssh

    def with_small_disk(self: ssh.Board, command: str) -> list[str]:
        return plain(self, f"PATH={folder}:$PATH; {command}")

    monkeypatch.setattr(ssh.Board, "ssh", with_small_disk)
    with pytest.raises(RidError, match=r"0 MB free .* needed; free some"):
        ssh.run(board, packed, tmp_path / "board.json")


def test_a_run_that_breaks_off_brings_back_what_there_is(
    board: ssh.Board, packed: Path, tmp_path: Path
) -> None:
    target = tmp_path / "board.json"
    with pytest.raises(RidError, match="what was measured is in"):
        ssh.run(board, packed, target, ["--rounds", "100000", "--batch", "0"], seconds=15)
    (found,) = results.load(target)
    assert not found.complete
    assert found.fidelity


def test_missing_bundle(board: ssh.Board, tmp_path: Path) -> None:
    with pytest.raises(RidError, match="rid-bench bundle"):
        ssh.run(board, tmp_path / "none.zip", tmp_path / "board.json")


def test_command_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh.remote, "find", lambda program, _: program)
    board = ssh.Board("pi@host", port=2222, identity="key", config="file")
    common = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-F", "file", "-i", "key"]
    assert board.ssh("ls") == ["ssh", *common, "-p", "2222", "pi@host", "ls"]
    assert board.copy_to(Path("a"), "/b") == ["scp", "-q", *common, "-P", "2222", "a", "pi@host:/b"]
    assert board.copy_from("/b", Path("a"))[-2:] == ["pi@host:/b", "a"]
