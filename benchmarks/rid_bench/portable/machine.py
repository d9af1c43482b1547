"""What a machine is, how much memory a process took, how much energy the package drew.

Standard library only. Everything that cannot be read is None: nothing is guessed.
"""

from __future__ import annotations

import os
import platform
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from .records import Machine

_POWERCAP = Path("/sys/class/powercap")
_CPUS = Path("/sys/devices/system/cpu")
_MIDR_PARTS = {
    (0x41, 0xD03): "Cortex-A53",
    (0x41, 0xD05): "Cortex-A55",
    (0x41, 0xD07): "Cortex-A57",
    (0x41, 0xD08): "Cortex-A72",
    (0x41, 0xD0A): "Cortex-A75",
    (0x41, 0xD0B): "Cortex-A76",
    (0x41, 0xD0C): "Neoverse N1",
    (0x41, 0xD40): "Neoverse V1",
    (0x41, 0xD41): "Cortex-A78",
    (0x41, 0xD44): "Cortex-X1",
    (0x41, 0xD46): "Cortex-A510",
    (0x41, 0xD47): "Cortex-A710",
    (0x41, 0xD48): "Cortex-X2",
    (0x41, 0xD49): "Neoverse N2",
}
"""Implementer and part number of /proc/cpuinfo to the name ARM gives the core."""


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip("\0 \n")
    except OSError:
        return None


def _integer(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text and text.lstrip("-").isdigit() else None


def cpu_model(cpuinfo: str | None, fallback: str = "") -> str:
    """Name of the processor from the text of /proc/cpuinfo.

    x86 says it in words. ARM gives numbers of implementer and part, one pair per core; the cores
    are counted by kind, as in ``4 x Cortex-A76 + 4 x Cortex-A55``.
    """
    text = cpuinfo or ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    if found:
        return re.sub(r"\s+", " ", found[1]).strip()
    makers = re.findall(r"^CPU implementer\s*:\s*(\S+)$", text, re.MULTILINE)
    parts = re.findall(r"^CPU part\s*:\s*(\S+)$", text, re.MULTILINE)
    counts: dict[str, int] = {}
    for maker, part in zip(makers, parts):  # noqa: B905 - strict= came with 3.10
        key = (int(maker, 16), int(part, 16))
        name = _MIDR_PARTS.get(key, "ARM core {:#x}/{:#x}".format(*key))
        counts[name] = counts.get(name, 0) + 1
    if counts:
        return " + ".join(f"{count} x {name}" for name, count in counts.items())
    return fallback or "unknown processor"


def describe(packages: Sequence[str] = (), name: str = "") -> Machine:
    """The machine, for a report.

    Args:
        packages: distributions whose versions are stated where they are installed.
        name: of the machine; its processor if empty.
    """
    from importlib import metadata

    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    board = _text(Path("/proc/device-tree/model")) or _text(
        Path("/sys/devices/virtual/dmi/id/product_name")
    )
    memory = None
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    frequency = _integer(_CPUS / "cpu0/cpufreq/cpuinfo_max_freq")
    cpu = cpu_model(_text(Path("/proc/cpuinfo")), _mac_cpu() or platform.processor())
    return Machine(
        cpu=cpu,
        name=name or cpu,
        architecture=platform.machine(),
        cores=usable_cores(),
        memory_bytes=memory,
        max_hertz=frequency * 1000.0 if frequency else None,
        governor=_text(_CPUS / "cpu0/cpufreq/scaling_governor"),
        board=board,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        versions=versions,
        load_before=busy_cores(),
        energy=bool(Energy().domains),
    )


def busy_cores(stat: Path = Path("/proc/stat"), seconds: float = 0.5) -> float | None:
    """How many cores others keep busy at this moment.

    The load average, which is all that other systems than Linux have, still holds what ended a
    minute ago, our own work included.
    """

    def times() -> tuple[float, float] | None:
        words = (_text(stat) or "").split("\n")[0].split()
        if len(words) < 6 or words[0] != "cpu":
            return None
        ticks = [float(word) for word in words[1:9]]
        return sum(ticks), sum(ticks) - ticks[3] - ticks[4]  # neither idle nor waiting for a disk

    before = times()
    if before is None:
        return os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    time.sleep(seconds)
    after = times() or before
    whole = after[0] - before[0]
    return (os.cpu_count() or 1) * (after[1] - before[1]) / whole if whole > 0 else None


def _mac_cpu() -> str | None:
    if sys.platform != "darwin":
        return None
    import subprocess

    try:
        return subprocess.check_output(
            ["sysctl", "-n", "machdep.cpu.brand_string"], text=True
        ).strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def usable_cores() -> int:
    """Cores this process may run on: fewer than the machine has, in a container or a queue."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def current_hertz() -> float | None:
    """Frequency of the first core at this moment, where the kernel tells."""
    kilohertz = _integer(_CPUS / "cpu0/cpufreq/scaling_cur_freq")
    return kilohertz * 1000.0 if kilohertz else None


class Energy:
    """Joules that the processor packages drew, by RAPL (Intel and AMD, Linux, often root only)."""

    def __init__(self, root: Path = _POWERCAP) -> None:
        self.domains = []
        if not root.is_dir():
            return
        for folder in sorted(root.glob("intel-rapl:*")):
            # intel-rapl:0 is a package; intel-rapl:0:1 a part of it, counted there already.
            if folder.name.count(":") == 1 and _integer(folder / "energy_uj") is not None:
                self.domains.append(folder)

    def read(self) -> dict[str, int]:
        """Counters in microjoules, by domain; empty where there are none."""
        values = {folder.name: _integer(folder / "energy_uj") for folder in self.domains}
        return {name: value for name, value in values.items() if value is not None}

    def joules(self, before: dict[str, int], after: dict[str, int]) -> float | None:
        """Energy between two readings, or None; a counter that started over is accounted for."""
        total = 0.0
        for folder in self.domains:
            if folder.name not in before or folder.name not in after:
                return None
            drawn = after[folder.name] - before[folder.name]
            if drawn < 0:
                drawn += _integer(folder / "max_energy_range_uj") or 0
            total += drawn / 1e6
        return total if self.domains else None


def memory_now() -> int | None:
    """Bytes of this process that are in memory, or None."""
    return _status("VmRSS")


def memory_peak() -> int | None:
    """The most bytes of this process that were in memory, since its start or the last reset."""
    peak = _status("VmHWM")
    if peak is not None:
        return peak
    try:
        import resource
    except ImportError:  # Windows
        return None
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


def reset_memory_peak() -> bool:
    """Make :func:`memory_peak` start anew; Linux only, elsewhere False."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _status(key: str) -> int | None:
    found = re.search(rf"^{key}:\s*(\d+) kB", _text(Path("/proc/self/status")) or "", re.MULTILINE)
    return int(found[1]) * 1024 if found else None
