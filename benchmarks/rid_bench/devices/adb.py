"""A phone by adb: push a model and its photo, start the app's benchmark, pull its results.

The activity belongs to the demo app and is the only thing that measures; see docs/benchmarks.md for
what it is given and what it must write. No phone was at hand when this was written: the command
lines are tested, the phone's answers are not.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rid_bench import results
from rid_bench.artefacts import Artefact
from rid_bench.devices import remote
from rid_bench.portable.records import Run
from rid_core.errors import RidError

PACKAGE = "org.rid.demo"
ACTIVITY = ".BenchmarkActivity"
_TOOLS = "Android's platform tools (apt-get install adb)"
_SECONDS = 60.0


@dataclass(frozen=True)
class Phone:
    """Which phone, and which app on it.

    Attributes:
        serial: of the phone, if several are connected.
        package: of the app.
        activity: that measures.
    """

    serial: str | None = None
    package: str = PACKAGE
    activity: str = ACTIVITY

    @property
    def folder(self) -> str:
        """Where the app may read and write and adb may as well."""
        return f"/sdcard/Android/data/{self.package}/files/bench"

    def adb(self, *words: str) -> list[str]:
        """A command line."""
        which = ["-s", self.serial] if self.serial else []
        return [remote.find("adb", _TOOLS), *which, *words]


def run(
    phone: Phone,
    artefacts: Sequence[Artefact],
    photo: Path,
    target: Path,
    *,
    threads: int = 4,
    runs: int = 50,
    delegate: str = "cpu",
    seconds: float = 600.0,
    pause: float = 2.0,
    notify: Callable[[str], None] = lambda _: None,
) -> list[Run]:
    """Measure artefacts on a phone.

    Args:
        phone: where.
        artefacts: TFLite or ONNX files, as the app can run them.
        photo: a PNG of the size that they take.
        target: for the results.
        threads: of the CPU.
        runs: repetitions after the warm-up.
        delegate: ``cpu``, ``gpu`` or ``npu``, as the app understands it.
        seconds: to wait for the results.
        pause: seconds between two looks.
        notify: called with lines for people.

    Returns:
        The runs in ``target``.

    Raises:
        RidError: no phone or several, the app is not installed, no space, no results in time.
    """
    _check_phone(phone)
    answer = f"{phone.folder}/results.json"
    remote.call(
        phone.adb("shell", "mkdir", "-p", phone.folder), seconds=_SECONDS, what="making the folder"
    )
    # An old answer must not be taken for a new one.
    remote.call(phone.adb("shell", "rm", "-f", answer), seconds=_SECONDS, what="clearing results")
    for file in (*(artefact.path for artefact in artefacts), photo):
        notify(f"pushing {file.name}")
        remote.call(
            phone.adb("push", str(file), f"{phone.folder}/{file.name}"),
            seconds=seconds,
            what=f"pushing {file.name}",
        )
    remote.call(
        phone.adb(
            "shell",
            "am",
            "start",
            "-W",
            *("-n", f"{phone.package}/{phone.activity}"),
            *("--es", "models", ",".join(artefact.path.name for artefact in artefacts)),
            *("--es", "photo", photo.name),
            *("--ei", "threads", str(threads)),
            *("--ei", "runs", str(runs)),
            *("--es", "delegate", delegate),
        ),
        seconds=_SECONDS,
        what=f"starting {phone.package}{phone.activity}",
    )
    _wait(phone, answer, seconds, pause)
    remote.call(
        phone.adb("pull", answer, str(target)), seconds=_SECONDS, what="pulling the results"
    )
    return results.load(target)


def _check_phone(phone: Phone) -> None:
    listed = remote.call(phone.adb("devices"), seconds=_SECONDS, what="asking adb for phones")
    states = dict(
        line.split("\t", 1) for line in listed.splitlines()[1:] if len(line.split("\t", 1)) == 2
    )
    if not states:
        raise RidError("no phone is connected; allow USB debugging on it and look at: adb devices")
    if phone.serial is None and len(states) > 1:
        raise RidError(
            f"several phones are connected: say which with --serial {next(iter(states))}"
        )
    serial = phone.serial or next(iter(states))
    if states.get(serial) != "device":
        raise RidError(f"{serial} is {states.get(serial, 'not connected')}; look at: adb devices")
    installed = remote.attempt(
        phone.adb("shell", "pm", "path", phone.package), seconds=_SECONDS, what="asking for the app"
    )
    if installed.returncode or "package:" not in installed.stdout:
        raise RidError(
            f"{phone.package} is not installed on {serial}; build android_demo and adb install it"
        )


def _wait(phone: Phone, answer: str, seconds: float, pause: float) -> None:
    """Until the answer is there as a whole: the app writes it under another name and renames."""
    end = time.monotonic() + seconds
    while True:
        seen = remote.attempt(
            phone.adb("shell", "cat", answer), seconds=_SECONDS, what="looking for results"
        )
        if seen.returncode == 0:
            try:
                json.loads(seen.stdout)
            except ValueError:
                pass
            else:
                return
        if time.monotonic() > end:
            raise RidError(
                f"no results after {seconds:g} s; what the app says: adb logcat -s RidBenchmark"
            )
        time.sleep(pause)
