"""What a report says of ``rid-eval large-photos``."""

from __future__ import annotations

from rid_core.report import Table
from rid_core.report.plots import Bar
from rid_eval.large_photos import CEILING, NATIVE, LargePhotosResult
from rid_eval.report.content import (
    BarPlot,
    MeasuredClaim,
    MeasurementSummary,
    amount,
    facts_of,
    images_fact,
    summarize,
)


@summarize.register
def large_photos(result: LargePhotosResult) -> MeasurementSummary:
    """Effect in the attacker's view, by where the perturbation is predicted."""
    label = result.defender
    # One view in a finding is enough for a summary: the first, which is what most scripts do.
    first = next(iter(result.views))
    findings, plots, tables = [], [], []
    for encoder, views in result.effects.items():
        ways = list(next(iter(views.values())))
        real = ways[0]
        ours, native = views[first][real], views[first][NATIVE]
        findings.append(MeasuredClaim(
            "kept", label,
            f"Of a large photo that the attacker scales ({first}), {ours.kept:.0f} % "
            f"[{ours.low:.0f}, {ours.high:.0f}] of the effect on {encoder} is left, of one "
            f"protected at full size {native.kept:.0f} %; 100 % is protecting what the attacker "
            "has scaled already.",
            {"encoder": encoder, "view": first, "kept": ours.kept, "low": ours.low,
             "high": ours.high, "native": native.kept},
        ))  # fmt: skip
        plots.append(BarPlot(
            f"{label} on {encoder}, {real}",
            "per cent of the ceiling; the line is protecting at full size",
            [Bar(view, row[real].kept, row[real].low, row[real].high, accent=True,
                 floor=row[NATIVE].kept) for view, row in views.items()],
            "{:.0f} %",
        ))  # fmt: skip
        shown = (real, NATIVE, CEILING)
        tables.append(Table(
            f"Effect on {encoder}", ["view", *ways, *(f"RMS, {way}" for way in shown)],
            [[view, *(f"{amount(row[way].effect)} ({row[way].kept:.0f} %)" for way in ways),
              *(f"{row[way].rms_levels:.1f}" for way in shown)] for view, row in views.items()],
            "Relative latent shift in the attacker's view, in brackets per cent of the ceiling "
            "(after); RMS of the change in that view, in levels.",
        ))  # fmt: skip
    enlarged = result.images.enlarged
    warnings = [
        f"{enlarged} of {result.images.count} photos are portraits enlarged to 12 megapixels, "
        "with grain added, not photos of that size."
    ] if enlarged else []  # fmt: skip
    facts = [images_fact(result.images), ("bound", f"{result.levels} levels"),
             *facts_of(result.made, result.device)]  # fmt: skip
    weights = {label: result.weights} if result.weights else {}
    return MeasurementSummary("Large photos", facts, findings, warnings, plots, tables, weights)
