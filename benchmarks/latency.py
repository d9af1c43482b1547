"""Time exported defenders against the paper's network, all in one run.

    python benchmarks/latency.py dist/rid-s.tflite dist/rid-s.onnx --json latency.json

Each round runs every contender once (A B C A B C ...), so that a machine whose speed drifts slows
all alike; the paper's network is slow and joins every fifth round. What counts is medians and their
ratios. Pre- and post-processing are not in it.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np

from rid_core.cli.common import CONTEXT, run

_SIZE = 512
_SLOW_EVERY = 5


Predict = Callable[[np.ndarray], object]


def paper_network(threads: int) -> Predict:
    """``rid-dit`` at full size in torch, float32; random weights do for timing."""
    import torch

    from rid_core.defenders import create_defender

    torch.set_num_threads(threads)
    network = create_defender("rid-dit").eval().requires_grad_(False)

    def predict(image: np.ndarray) -> object:
        with torch.inference_mode():
            return network(torch.from_numpy(image).permute(2, 0, 1)[None])

    return predict


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    return {"cpu": model, "cores": os.cpu_count(), "system": platform.system()}


@click.command(context_settings=CONTEXT)
@click.argument("files", nargs=-1, required=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--rounds", default=40, show_default=True)
@click.option("--min-ratio", type=float, help="Fail if the first file is not so many times faster.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures.")
def command(
    files: tuple[str, ...],
    threads: int,
    rounds: int,
    min_ratio: float | None,
    json_path: Path | None,
) -> int:
    """Milliseconds per 512 x 512 image of FILES, and how many times faster than the paper's.

    FILES are exported files, checkpoints or bundled presets.
    """
    from rid_core.files import write_text
    from rid_core.runtimes import load_runtime

    image = np.random.default_rng(0).random((_SIZE, _SIZE, 3), np.float32)
    runtimes = {name: load_runtime(name, threads=threads) for name in files}
    contenders = {name: runtime.perturb for name, runtime in runtimes.items()}
    slow = paper_network(threads)
    for predict in (*contenders.values(), slow):
        predict(image)
    samples: dict[str, list[float]] = {name: [] for name in (*contenders, "rid-dit")}
    with click.progressbar(range(rounds), label="Timing") as bar:
        for number in bar:
            turn: dict[str, Predict] = dict(contenders)
            if number % _SLOW_EVERY == 0:
                turn["rid-dit"] = slow
            for name, predict in turn.items():
                begin = time.perf_counter()
                predict(image)
                samples[name].append((time.perf_counter() - begin) * 1e3)
    reference = statistics.median(samples["rid-dit"])
    rows = {
        name: {
            "runtime": runtimes[name].name if name in runtimes else "torch, the paper's network",
            "median_ms": round(statistics.median(times), 3),
            "min_ms": round(min(times), 3),
            "p90_ms": round(float(np.quantile(times, 0.9)), 3),
            "times_faster": round(reference / statistics.median(times), 1),
            "runs": len(times),
        }
        for name, times in samples.items()
    }
    for name, row in rows.items():
        click.echo(
            f"{name:32} {row['median_ms']:10.2f} ms  p90 {row['p90_ms']:10.2f}  "
            f"x{row['times_faster']:<8} {row['runtime']}"
        )
    report = {"machine": machine(), "threads": threads, "size": _SIZE, "rows": rows}
    if json_path is not None:
        write_text(json_path, json.dumps(report, indent=2) + "\n")
    first = rows[files[0]]
    if min_ratio is not None and float(str(first["times_faster"])) < min_ratio:
        click.echo(f"error: {files[0]} is not {min_ratio:g} times faster than rid-dit", err=True)
        return 1
    return 0


if __name__ == "__main__":
    run(command)
