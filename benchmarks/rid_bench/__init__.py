"""Benchmarks of exported defenders: how fast, how faithful, how they compare.

>>> import rid_bench                                                       # doctest: +SKIP
>>> found = rid_bench.run(["dist/", "rid-s"], rid_bench.Options(rounds=3))  # doctest: +SKIP
>>> found.cells[0].total.median                                            # doctest: +SKIP
0.0109
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rid_bench.portable.records import Run


@dataclass(frozen=True)
class Options:
    """What to measure, and how long.

    Attributes:
        threads: numbers of threads; empty for one and all cores.
        runtimes: keys of :data:`rid_core.runtimes.LIBRARIES`; empty for all that are installed.
        kernels: of LiteRT: ``xnnpack``, and ``builtin`` to see what it is worth.
        rounds: turns of every cell.
        batch: seconds of a turn.
        max_seconds: for the interleaved part; no round begins after that.
        peers: whether to time what the defenders are compared with.
        dit_onnx: the paper's network in ONNX Runtime as well (minutes, and gigabytes of memory).
        dit_config: fields of it that differ, for tests.
        surrogate: encoder that PGD is timed on; empty for random weights.
        megapixels: whole photos of these sizes; none if empty.
        photo_model: what protects them; by default the first artefact or checkpoint.
        profile: whether to profile operators.
        name: of the machine, for reports.
    """

    threads: Sequence[int] = ()
    runtimes: Sequence[str] = ()
    kernels: Sequence[str] = ("xnnpack",)
    rounds: int = 10
    batch: float = 0.1
    max_seconds: float = 400.0
    peers: bool = True
    dit_onnx: bool = False
    dit_config: Mapping[str, int] = field(default_factory=dict)
    surrogate: str = ""
    megapixels: Sequence[float] = (1, 12, 48)
    photo_model: str | None = None
    profile: bool = True
    name: str = ""


def run(
    files: Sequence[str | Path],
    options: Options | None = None,
    *,
    resolution: int = 512,
    output: str | Path | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> Run:
    """Measure on this machine, as ``rid-bench run`` does: latency, memory, energy, whole photos.

    Everything runs side by side in turns (A B B A), each cell in a process of its own. An
    interruption ends the run with what there is, ``complete`` False and a ``note``.

    Args:
        files: exported files, folders of them, checkpoints, bundled presets by name.
        options: what to measure, and how long.
        resolution: of checkpoints, in pixels; an exported file states its own.
        output: JSON that holds the results so far after every round; nothing is written if None.
        notify: called with one line per step.

    Returns:
        The results; durations in seconds, sizes in bytes.

    Raises:
        RidError: a file that is nothing to measure, no runtime that fits, or an output that cannot
            be written.
    """
    from rid_bench import results
    from rid_bench.artefacts import open_all
    from rid_bench.devices import host

    artefacts, checkpoints = open_all(files, resolution)

    def keep(found: Run) -> None:
        if output is not None:
            results.save(output, [found])

    return host.run(artefacts, checkpoints, options or Options(), notify=notify, keep=keep)


__all__ = ["Options", "run"]
