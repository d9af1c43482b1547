"""Run a converter in a process of its own.

Converters print pages of logs, keep global state that disturbs the next one, and now and then abort
the whole process. In a child none of that reaches the user: what it prints goes to a log file, and
a crash is one line that names the log.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from rid_core.errors import RidError
from rid_export.layers import QuantizationReport
from rid_export.spec import ExportSpec

if TYPE_CHECKING:
    from rid_export.registry import Target

_REFUSED = 3
_FULL = 4
_GLANCE = 0.05  # seconds between looks at a child
_MARK = "rid-export: "


def convert_isolated(
    target: Target,
    spec: ExportSpec,
    checkpoint: Path,
    path: Path,
    log: Path,
    calibration: Path | None = None,
    stop: threading.Event | None = None,
) -> QuantizationReport | None:
    """Convert ``checkpoint`` to ``path``, metadata included, in a child that prints to ``log``.

    Args:
        target: that converts.
        spec: what to make.
        checkpoint: what from.
        path: of the file; others beside it whose names begin with its name may be written too.
        log: what the converter prints is appended to it.
        calibration: folder of a :class:`rid_export.calibration.CalibrationData`.
        stop: ends the child when it is set.

    Returns:
        What the converter has to tell of a quantization, if it has.

    Raises:
        RidError: it failed or crashed; the text names the reason and the log.
        KeyboardInterrupt: it was stopped.
    """
    report = path.with_name(f"{path.name}.report")
    request = {
        "module": type(target).__module__,
        "target": type(target).__qualname__,
        "spec": spec.to_json(),
        "checkpoint": str(checkpoint),
        "path": str(path),
        "report": str(report),
        "calibration": str(calibration or ""),
    }
    environment = {
        # Converters run side by side. With as many threads each as there are cores, they wait for
        # one another: four times as long on two cores.
        "OMP_NUM_THREADS": "1",
        **os.environ,
        # The child sees the modules its parent sees, however they were found.
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, "-m", "rid_export.isolation", json.dumps(request)]
    with log.open("ab") as sink:
        child = subprocess.Popen(
            command, stdout=sink, stderr=sink, stdin=subprocess.DEVNULL, env=environment
        )
    code = _wait(child, stop or threading.Event())
    if code == 0 and path.exists():
        if not report.exists():
            return None
        return QuantizationReport.from_dict(json.loads(report.read_text()))
    if code == _FULL:
        raise RidError(f"no space left while writing {path.name}; free some and run again")
    lines = log.read_text(errors="replace").strip().splitlines()
    last = next((line for line in reversed(lines) if line.strip()), "it printed nothing")
    if code == _REFUSED:
        raise RidError(last.removeprefix(_MARK))
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        hint = " (out of memory?)" if -code == getattr(signal, "SIGKILL", 9) else ""
        raise RidError(f"the {spec.target} converter crashed ({name}){hint}; its log: {log}")
    if code == 0:
        raise RidError(f"the {spec.target} converter wrote no file; its log: {log}")
    raise RidError(f"the {spec.target} converter failed: {last.strip()[:300]}; its log: {log}")


def _wait(child: subprocess.Popen[bytes], stop: threading.Event) -> int:
    """Exit status of a child, which does not outlive us."""
    try:
        while child.poll() is None:
            if stop.wait(_GLANCE):
                raise KeyboardInterrupt
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    return child.returncode


def _child(request: dict[str, str]) -> None:
    import importlib

    from rid_core.artifact import padded
    from rid_core.checkpoint import load_checkpoint
    from rid_core.quantization.equalization import equalized
    from rid_export.calibration import CalibrationData
    from rid_export.graph import ExportGraph
    from rid_export.metadata import draft

    spec = ExportSpec.from_json(request["spec"])
    target: Target = getattr(importlib.import_module(request["module"]), request["target"])()
    path = Path(request["path"])
    defender, card = load_checkpoint(request["checkpoint"])
    folder = request["calibration"]
    data = CalibrationData.load(Path(folder)) if folder else None
    network = defender
    if spec.precision == "int8" and data is not None and data.images is not None:
        network = equalized(defender, data.images)
    graph = ExportGraph(
        network,
        card.levels,
        target.layout,
        outputs=spec.outputs,
        protected_scale=target.protected_scale,
        io_layout=spec.layout,
    )
    graph.calibration = data
    report = target.convert(graph, spec, path)
    if report is not None:
        Path(request["report"]).write_text(json.dumps(dataclasses.asdict(report)))
    document = draft(
        target,
        spec,
        defender,
        card,
        calibration=data.digest if data else None,
        unfit=data.unfit if data else None,
        float_layers=report.in_float if report is not None else (),
    )
    target.embed(path, padded(document))


if __name__ == "__main__":
    try:
        _child(json.loads(sys.argv[1]))
    except RidError as problem:
        print(f"\n{_MARK}{problem}", flush=True)
        sys.exit(_REFUSED)
    except OSError as problem:
        if problem.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        os._exit(_FULL)  # at once: what is still to be printed would not fit into the log either
