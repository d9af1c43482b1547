"""Time per operator, with what each of them has to do, and which three are the slowest."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from rid_bench.artefacts import Artefact
from rid_bench.layers import tflite_layers
from rid_bench.portable.records import Operator, Profile

_RUNS = 20
_TIMEOUT = 180
_KINDS = {
    "Convolution": ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"),
    "Fully Connected": ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"),
    "Deconvolution": ("TRANSPOSE_CONV",),
    "Batch Matrix": ("BATCH_MATMUL",),
    "Add": ("ADD",),
    "Multiply": ("MUL",),
    "Transpose": ("TRANSPOSE",),
    "TanH": ("TANH",),
    "Static Reshape": ("RESHAPE",),
}
"""How XNNPACK calls what TFLite calls otherwise; a 1x1 convolution becomes "Fully Connected"."""


def profile(artefact: Artefact, threads: int, runs: int = _RUNS) -> Profile:
    """Profile one artefact in the runtime of its format; what goes wrong is the row's error."""
    row = Profile(**vars(artefact.labels()), threads=threads)
    kind = artefact.metadata.format
    programs = {"tflite": "rid_bench.litert_profile", "onnx": "rid_bench.profiles"}
    if kind not in programs:
        return replace(row, error=f"there is no profiler for {row.format} here")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
        "OMP_NUM_THREADS": str(threads),
    }
    command = [sys.executable, "-m", programs[kind], str(artefact.path), str(threads), str(runs)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=environment,
            check=False,
            timeout=_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        return replace(row, error=f"the profiler took more than {_TIMEOUT} s")
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return replace(
            row, error=lines[-1] if lines else f"the profiler ended with {done.returncode}"
        )
    found = [Operator(**event) for event in json.loads(done.stdout.splitlines()[-1])]
    if kind == "tflite":
        found = attach(found, tflite_layers(artefact.path))
    return replace(row, layers=tuple(found), slowest=tuple(slowest(found)))


def slowest(layers: Sequence[Operator], count: int = 3) -> list[str]:
    """``name: share of the whole`` of the operators that take the longest."""
    whole = sum(layer.seconds for layer in layers) or 1.0
    ranked = sorted(layers, key=lambda layer: -layer.seconds)[:count]
    return [f"{layer.name}: {layer.seconds / whole:.0%}" for layer in ranked]


def attach(events: Sequence[Operator], layers: Sequence[Operator]) -> list[Operator]:
    """Tell each kernel that ran which operator of the file it is.

    A delegate keeps the order but drops, fuses and splits operators, so the n-th event of a kind is
    the n-th operator of the same kind; where the counts differ, nothing is claimed for that kind.
    """
    groups = [_group(event.kind) for event in events]
    waiting = {
        group: iter(fit)
        for group in set(groups) - {None}
        if len(fit := [each for each in layers if each.kind in (group or ())])
        == groups.count(group)
    }
    rows = []
    for event, group in zip(events, groups, strict=True):
        layer = next(waiting[group]) if group in waiting else event
        rows.append(replace(layer, kind=event.kind, seconds=event.seconds))
    return rows


def _group(kind: str) -> tuple[str, ...] | None:
    for start, names in _KINDS.items():
        if kind.startswith(start):
            return names
    return None


def onnx_profile(path: str, threads: int, runs: int) -> list[Operator]:
    """Operators of an ONNX file, by ONNX Runtime's profiler; medians over the runs."""
    import numpy as np
    import onnxruntime

    from rid_core.runtimes.onnxruntime import session_options

    with tempfile.TemporaryDirectory() as folder:
        options = session_options(threads)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        (node,) = session.get_inputs()
        shape = [n if isinstance(n, int) else 512 for n in node.shape]
        kinds = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
        image = np.full(shape, 0.5).astype(kinds.get(node.type, np.uint8))
        for _ in range(runs + 3):
            session.run(None, {node.name: image})
        events = json.loads(Path(session.end_profiling()).read_text())
    return parse_onnx_events(events, skip=3)


def parse_onnx_events(events: Sequence[dict[str, Any]], skip: int) -> list[Operator]:
    """Rows out of ONNX Runtime's trace; the first ``skip`` runs of every node are not counted."""
    seconds: dict[str, list[float]] = {}
    about: dict[str, dict[str, Any]] = {}
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") != "Node" or not name.endswith("_kernel_time"):
            continue
        node = name.removesuffix("_kernel_time")
        seconds.setdefault(node, []).append(event["dur"] / 1e6)
        about[node] = event["args"]
    rows = []
    for node, times in seconds.items():
        kind = about[node].get("op_name", "?")
        ins = _shapes(about[node].get("input_type_shape"))
        outs = _shapes(about[node].get("output_type_shape"))
        rows.append(
            Operator(
                kind,
                _onnx_name(kind, ins, outs),
                median(times[skip:] or times),
                _onnx_multiply_adds(kind, ins, outs),
                sum(math.prod(shape) * size for shape, size in (*ins, *outs)) or None,
            )
        )
    return rows


_ONNX_BYTES = {"float": 4, "float16": 2, "int8": 1, "uint8": 1, "int32": 4, "int64": 8, "bool": 1}


def _shapes(value: Any) -> list[tuple[list[int], int]]:
    """(shape, bytes per value) of each tensor in a trace's ``[{"float": [1, 3, 4]}, …]``."""
    return [
        (list(shape), _ONNX_BYTES.get(kind, 4))
        for one in value or []
        for kind, shape in one.items()
    ]


def _weights(kind: str, ins: Sequence[tuple[list[int], int]]) -> list[int] | None:
    place = 3 if kind.startswith("QLinear") else 1
    return ins[place][0] if len(ins) > place else None


def _onnx_multiply_adds(
    kind: str, ins: Sequence[tuple[list[int], int]], outs: Sequence[tuple[list[int], int]]
) -> int | None:
    weights = _weights(kind, ins)
    if "Conv" in kind and "Transpose" not in kind and weights and outs:
        return math.prod(outs[0][0]) * math.prod(weights[1:])
    if kind in ("MatMul", "FusedMatMul", "Gemm") and ins and outs and ins[0][0]:
        return math.prod(outs[0][0]) * ins[0][0][-1]
    return 0


def _onnx_name(
    kind: str, ins: Sequence[tuple[list[int], int]], outs: Sequence[tuple[list[int], int]]
) -> str:
    shape = outs[0][0] if outs else []
    weights = _weights(kind, ins)
    if "Conv" in kind and weights and len(weights) == 4 and len(shape) == 4:
        place = " x ".join(map(str, shape[2:]))
        window = f"{weights[2]}x{weights[3]}"
        if weights[1] == 1 and weights[0] == shape[1] and weights[2:] != [1, 1]:
            return f"depthwise {window}, {shape[1]}, {place}"
        return f"conv {window}, {weights[1]} -> {shape[1]}, {place}"
    return f"{kind}, {' x '.join(map(str, shape[1:] or shape))}"


if __name__ == "__main__":
    found = onnx_profile(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    print(json.dumps([vars(operator) for operator in found]))
