"""Photos in several processes: order, bad photos, a killed process, memory, and Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rid_core.cli.plan import Job
from rid_core.cli.workers import Handler, Settings, in_processes
from rid_core.errors import LowMemoryError, RidError
from rid_core.image import spill
from rid_core.protection import Outcome


def jobs(*names: str) -> list[Job]:
    return [Job(Path(name), Path("out", name)) for name in names]


def opener(settings: Settings) -> Handler:
    """A handler that does what the photo's name says."""
    log = Path("log")

    def handle(job: Job) -> Outcome:
        name = job.source.name
        with log.open("a") as handle:
            handle.write(f"{name} {os.getpid()} {spill._sharers}\n")
        if name.startswith("slow"):
            time.sleep(1)
        if name.startswith("bad"):
            raise RidError(f"{name}: a bad photo")
        if name.startswith("killed"):
            os.kill(os.getpid(), signal.SIGKILL)
        if name.startswith("large") and spill._sharers > 1:
            raise LowMemoryError(f"{name}: too large beside others")
        return Outcome(job.source, job.target, 1, 1, 0.0, 8, 30.0)

    return handle


def unusable(settings: Settings) -> Handler:
    raise RidError("the model is damaged")


def test_results_are_in_order_and_nothing_stops_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["slow", "large", "bad", "killed", "a", "killed2", "b", "large2", "c"]
    found = list(in_processes(jobs(*names), Settings("rid-n"), 2, opener))
    assert [job.source.name for job, _ in found] == names
    said = {job.source.name: str(result) for job, result in found if isinstance(result, RidError)}
    ended = "the process that worked on it ended by signal 9; run again"
    assert said == {
        "bad": "bad: a bad photo",
        "killed": f"killed: {ended}",
        "killed2": f"killed2: {ended}",
    }
    lines = [line.split() for line in Path("log").read_text().splitlines()]
    assert len({process for _, process, _ in lines}) == 4  # two, and one for each that was killed
    # Too large beside others, fine alone at the end.
    assert [name for name, _, sharers in lines if sharers == "1"] == ["large", "large2"]
    assert [name for name, _, _ in lines[-2:]] == ["large", "large2"]


def test_a_model_that_cannot_be_opened_is_said_once() -> None:
    with pytest.raises(RidError, match=r"^the model is damaged$"):
        list(in_processes(jobs("a", "b"), Settings("rid-n"), 2, unusable))


def test_names_that_differ_in_case_are_never_written_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = list(in_processes(jobs("slow", "SLOW", "a"), Settings("rid-n"), 2, opener))
    assert all(isinstance(result, Outcome) for _, result in found)
    assert Path("log").read_text().split()[::3] == ["slow", "SLOW", "a"]


def test_a_share_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = spill.free_memory()
    if whole is None:
        pytest.skip("this system does not say how much memory is free")
    monkeypatch.setattr(spill, "_sharers", 1)
    spill.share_memory(4)
    part = spill.free_memory()
    assert part is not None
    assert 0.1 * whole < part < 0.4 * whole


@pytest.mark.slow
def test_the_tool_with_workers(tmp_path: Path, astronaut: np.ndarray) -> None:
    (tmp_path / "in").mkdir()
    for name in "abd":
        Image.fromarray(astronaut).save(tmp_path / "in" / f"{name}.png")
    (tmp_path / "in" / "c.png").write_bytes(b"")
    command = [sys.executable, "-m", "rid_core.cli.protect", "in", "--model", "rid-n"]

    def run(*options: str) -> dict[str, list[dict[str, str]]]:
        done = subprocess.run([*command, "--json", *options], cwd=tmp_path,
                              capture_output=True, text=True, check=False)  # fmt: skip
        assert done.returncode == 1
        assert done.stderr == "failed: in/c.png: the file is empty\n"
        found: dict[str, list[dict[str, str]]] = json.loads(done.stdout)
        return found

    found = run("-o", "two", "--workers", "2")
    assert [each["source"] for each in found["protected"]] == ["in/a.png", "in/b.png", "in/d.png"]
    run("-o", "one")
    for name in "abd":
        assert (tmp_path / "one" / f"{name}.png").read_bytes() == (
            tmp_path / "two" / f"{name}.png"
        ).read_bytes()


@pytest.mark.slow
def test_ctrl_c_ends_all_processes_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), dtype=np.uint8)
    (tmp_path / "in").mkdir()
    for number in range(6):
        Image.fromarray(noise).save(tmp_path / "in" / f"{number}.png", compress_level=0)
    process = subprocess.Popen(
        [sys.executable, "-m", "rid_core.cli.protect", "in", "-o", "out", "--model", "rid-n",
         "--workers", "2"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline().startswith("in/0.png -> out/0.png")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err.strip() == "interrupted; nothing was left half-written"
    for path in (tmp_path / "out").iterdir():
        assert not path.name.startswith(".")
        Image.open(path).load()
    for _ in range(100):  # who is left alone by its parent is buried by init, in a while
        if not _alive(process.pid):
            break
        time.sleep(0.2)
    assert not _alive(process.pid)


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
