from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rid_bench.portable import machine


def test_an_x86_processor_says_its_name() -> None:
    text = "processor\t: 0\nmodel name\t: Intel(R) Core(TM)  i9-9900K CPU @ 3.60GHz\n"
    assert machine.cpu_model(text) == "Intel(R) Core(TM) i9-9900K CPU @ 3.60GHz"


def test_arm_cores_are_counted_by_kind() -> None:
    core = "processor : {}\nCPU implementer\t: 0x41\nCPU part\t: {}\n"
    text = "".join(core.format(n, "0xd0b" if n < 4 else "0xd05") for n in range(8))
    assert machine.cpu_model(text) == "4 x Cortex-A76 + 4 x Cortex-A55"
    strange = "CPU implementer : 0x99\nCPU part : 0x123\n"
    assert machine.cpu_model(strange) == "1 x ARM core 0x99/0x123"


def test_nothing_is_guessed() -> None:
    assert machine.cpu_model(None, "Apple M2") == "Apple M2"
    assert machine.cpu_model("") == "unknown processor"


def test_description_has_what_reports_need() -> None:
    found = machine.describe(["numpy", "no-such-distribution"], "here")
    assert found.versions == {"numpy": np.__version__}
    assert (found.cores or 0) >= 1
    assert found.cpu
    assert found.name == "here"


def test_a_core_that_is_busy_now_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 0 50 1000 10 0 0 0 0 0\ncpu0 1 2 3 4 5\n")
    later = "cpu  140 0 60 1040 20 0 0 0 0 0\n"  # 50 of 100 ticks: half of all cores
    monkeypatch.setattr(machine.time, "sleep", lambda _: stat.write_text(later))
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 4)
    assert machine.busy_cores(stat) == pytest.approx(2.0)
    monkeypatch.setattr(machine.os, "getloadavg", lambda: (0.7, 0.5, 0.3))
    assert machine.busy_cores(tmp_path / "missing") == 0.7


def rapl(folder: Path, name: str, value: int, top: int = 1_000_000) -> None:
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "energy_uj").write_text(f"{value}\n")
    (folder / name / "max_energy_range_uj").write_text(f"{top}\n")


def test_energy_is_that_of_the_packages(tmp_path: Path) -> None:
    rapl(tmp_path, "intel-rapl:0", 100)
    rapl(tmp_path, "intel-rapl:0:0", 50)  # a part of package 0
    rapl(tmp_path, "intel-rapl:1", 999_000)
    energy = machine.Energy(tmp_path)
    before = energy.read()
    rapl(tmp_path, "intel-rapl:0", 500_100)
    rapl(tmp_path, "intel-rapl:0:0", 900_000)
    rapl(tmp_path, "intel-rapl:1", 9_000)  # started over
    assert energy.joules(before, energy.read()) == pytest.approx(0.5 + 0.01)


def test_no_energy_where_there_is_none(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        energy = machine.Energy(folder)
        assert energy.joules(energy.read(), energy.read()) is None


def test_memory_peak_sees_what_is_gone_again() -> None:
    if not machine.reset_memory_peak():
        pytest.skip("this system cannot reset the peak")
    # In a process of its own: what other tests gave back, an allocator may hold and hand out again.
    code = """
import numpy as np
from rid_bench.portable import machine
def peak():
    machine.reset_memory_peak()
    before = machine.memory_peak()
    np.ones(60_000_000, np.uint8).sum()
    return before, machine.memory_peak()
before, after = peak()
machine.reset_memory_peak()
print(before, after, machine.memory_peak())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after, again = map(int, done.stdout.split())
    assert 50e6 < after - before < 90e6
    assert again < after - 40e6
