"""Reports of benchmarks: one section per machine, as HTML or Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from rid_bench.portable.records import Run
from rid_bench.reference import Reference
from rid_bench.report import charts, figures, tables
from rid_core.budget import Budget
from rid_core.report import Block, Figure, Items, Report, Section
from rid_core.report.pictures import amplified, photo


def build(runs: Sequence[Run], reference: Reference | None = None, *, plots: bool = True) -> Report:
    """The report.

    Args:
        runs: what to show, one section per machine.
        reference: whose first photo is shown with its perturbation; no pictures if None.
        plots: whether there are plots beside the tables; the terminal has none.
    """
    names = ", ".join(dict.fromkeys(run.name for run in runs))
    summary = f"{len(runs)} run{'s' if len(runs) != 1 else ''}: {names}"
    pictures = _pictures(reference) if reference else []
    return Report(
        "RID benchmark", summary, [*pictures, *(section(run, runs, plots=plots) for run in runs)]
    )


def section(run: Run, runs: Sequence[Run], *, plots: bool = True) -> Section:
    """One machine."""
    compared = [tables.comparison(run, n) for n in figures.threads_of(run) if run.peers]
    blocks: list[Block] = [
        tables.facts(run),
        *(charts.of_run(run, runs) if plots else ()),
        tables.latency(run, runs),
        *compared,
        tables.photos(run),
        tables.fidelity(run),
        tables.slowest(run),
        Items("Not measured", figures.failures(run)),
    ]
    return Section(run.name, blocks, warnings=figures.doubts(run))


def _pictures(reference: Reference) -> list[Figure]:
    image, delta = reference.images[0], reference.deltas[0]
    levels = reference.levels
    pictures = (
        ("original", image),
        (
            f"protected by {reference.preset}, {levels} levels",
            Budget(levels).apply_uint8(image, delta),
        ),
        (f"perturbation, {127.5 / levels:.0f} times amplified", amplified(delta)),
    )
    return [Figure(text, photo(pixels, 400)) for text, pixels in pictures]
