"""A board that the system's ssh client reaches: copy the bundle, run it, bring the results back."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rid_bench import results
from rid_bench.devices import remote
from rid_bench.portable.records import Run
from rid_core.errors import RidError

_CLIENT = "OpenSSH's client (apt-get install openssh-client)"
_PREPARE_SECONDS = 120.0


@dataclass(frozen=True)
class Board:
    """How to reach a board.

    Attributes:
        target: ``user@host``, or a name of the ssh configuration.
        port: if it is not the usual one.
        identity: private key file.
        config: ssh configuration file instead of the user's own.
        python: Python on the board, 3.9 or later.
        folder: where to work; by default a new one in the board's folder for temporary files.
    """

    target: str
    port: int | None = None
    identity: str | None = None
    config: str | None = None
    python: str = "python3"
    folder: str | None = None

    def _options(self, port_flag: str) -> list[str]:
        # Nobody is there to type a password: fail instead of waiting for one.
        options = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=15"]
        if self.config:
            options += ["-F", self.config]
        if self.identity:
            options += ["-i", self.identity]
        if self.port:
            options += [port_flag, str(self.port)]
        return options

    def ssh(self, command: str) -> list[str]:
        """Command line that runs ``command`` in the board's shell."""
        return [remote.find("ssh", _CLIENT), *self._options("-p"), self.target, command]

    def copy_to(self, source: Path, place: str) -> list[str]:
        """Command line that copies a file there."""
        program = remote.find("scp", _CLIENT)
        return [program, "-q", *self._options("-P"), str(source), f"{self.target}:{place}"]

    def copy_from(self, place: str, target: Path) -> list[str]:
        """Command line that copies a file here."""
        program = remote.find("scp", _CLIENT)
        return [program, "-q", *self._options("-P"), f"{self.target}:{place}", str(target)]


def run(
    board: Board,
    bundle: Path,
    target: Path,
    arguments: Sequence[str] = (),
    *,
    seconds: float = 1800.0,
    notify: Callable[[str], None] = lambda _: None,
) -> list[Run]:
    """Measure a bundle on a board.

    Args:
        board: where.
        bundle: the zip.
        target: for the results.
        arguments: for the bundle's ``run.py``.
        seconds: the run may take.
        notify: called with lines for people.

    Returns:
        The runs in ``target``. What the board had measured when a run broke off is brought back,
        too, and then the error says that it is there.

    Raises:
        RidError: the board cannot be reached, lacks space, Python, numpy or a runtime (the text
            says which pip line brings it), or its run failed.
    """
    if not bundle.is_file():
        raise RidError(f"{bundle}: no such file; make one with: rid-bench bundle -o {bundle}")
    python = shlex.quote(board.python)
    base = shlex.quote(board.folder) if board.folder else '"${TMPDIR:-/tmp}"'
    made = remote.call(
        board.ssh(f"mkdir -p {base} && mktemp -d {base}/rid-bench.XXXXXX"),
        seconds=_PREPARE_SECONDS,
        what=f"reaching {board.target}",
    )
    place = made.strip().splitlines()[-1]
    quoted = shlex.quote(place)
    try:
        _check_space(board, place, bundle)
        notify(f"copying {bundle.stat().st_size / 1e6:.1f} MB to {board.target}")
        remote.call(
            board.copy_to(bundle, f"{place}/bench.zip"), seconds=seconds, what="copying the bundle"
        )
        remote.call(
            board.ssh(f"cd {quoted} && {python} -m zipfile -e bench.zip . && rm bench.zip"),
            seconds=_PREPARE_SECONDS,
            what=f"unpacking on {board.target} with {board.python}",
        )
        remote.call(
            board.ssh(f"cd {quoted} && {python} run.py --check"),
            seconds=_PREPARE_SECONDS,
            what=f"checking {board.target}",
        )
        notify(f"measuring on {board.target}")
        words = " ".join(shlex.quote(word) for word in arguments)
        try:
            done = remote.attempt(
                board.ssh(f"cd {quoted} && {python} run.py -o results.json {words}"),
                seconds=seconds,
                what=f"the run on {board.target}",
            )
            broken = None if done.returncode == 0 else remote.last_line(done)
        except (RidError, KeyboardInterrupt) as stop:
            broken = str(stop) or "interrupted"
        brought = remote.attempt(
            board.copy_from(f"{place}/results.json", target),
            seconds=_PREPARE_SECONDS,
            what="bringing the results back",
        )
        if brought.returncode:
            raise RidError(f"nothing came back from {board.target}: {broken or 'no results'}")
        if broken is not None:
            raise RidError(f"{board.target}: {broken}; what was measured is in {target}")
    finally:
        remote.attempt(board.ssh(f"rm -rf {quoted}"), seconds=_PREPARE_SECONDS, what="cleaning up")
    return results.load(target)


def _check_space(board: Board, place: str, bundle: Path) -> None:
    # The zip, its contents (networks hardly shrink, arrays do), and room for results.
    needed = 4 * bundle.stat().st_size + (4 << 20)
    listed = remote.call(
        board.ssh(f"df -Pk {shlex.quote(place)}"), seconds=_PREPARE_SECONDS, what="asking for space"
    )
    try:
        free = int(listed.strip().splitlines()[-1].split()[3]) * 1024
    except (IndexError, ValueError):
        return  # a df of another kind; the copy will tell
    if free < needed:
        raise RidError(
            f"{board.target} has {free / 1e6:.0f} MB free in {place}, {needed / 1e6:.0f} MB are "
            "needed; free some, or choose another place with --folder"
        )
