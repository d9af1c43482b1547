"""Section of ``rid-eval large-photos``."""

from __future__ import annotations

from rid_core.plots import Bar, bars
from rid_eval.report.content import (
    Claim,
    Figure,
    Raw,
    Section,
    Table,
    amount,
    builder,
    images,
    made,
)

_CEILING, _NATIVE = "after", "native"


@builder("large photos")
def large_photos(raw: Raw) -> Section:
    """Effect in the attacker's view, by where the perturbation is predicted."""
    label = raw["defender"]
    claims, plots, tables = [], [], []
    for encoder, views in raw["effects"].items():
        ways = list(next(iter(views.values())))
        real = ways[0]
        for view, row in views.items():
            ours, native = row[real], row[_NATIVE]
            claims.append(Claim(
                "kept", label,
                f"Of a large photo that the attacker scales ({view}), {ours['kept']:.0f} % "
                f"[{ours['low']:.0f}, {ours['high']:.0f}] of the effect on {encoder} is left, of "
                f"one protected at full size {native['kept']:.0f} %; 100 % is protecting what the "
                f"attacker has scaled already.",
                {"encoder": encoder, "view": view, "kept": ours["kept"], "low": ours["low"],
                 "high": ours["high"], "native": native["kept"]},
            ))  # fmt: skip
        plots.append(Figure(
            f"{label} on {encoder}, {real}",
            "per cent of the ceiling; the line is protecting at full size",
            bars([Bar(view, row[real]["kept"], row[real]["high"], accent=True,
                      floor=row[_NATIVE]["kept"]) for view, row in views.items()],
                 f"effect kept on large photos, {encoder}", lambda value: f"{value:.0f} %"),
        ))  # fmt: skip
        rows = [
            [view, *(f"{amount(row[way]['effect'])} ({row[way]['kept']:.0f} %)" for way in ways),
             *(f"{row[way]['rms_levels']:.1f}" for way in (real, _NATIVE, _CEILING))]
            for view, row in views.items()
        ]  # fmt: skip
        tables.append(Table(
            f"Effect on {encoder}",
            ["view", *ways, *(f"RMS, {way}" for way in (real, _NATIVE, _CEILING))], rows,
            "Relative latent shift in the attacker's view, in brackets per cent of the ceiling "
            "(after); RMS of the change in that view, in levels.",
        ))  # fmt: skip
    enlarged = raw["images"]["enlarged"]
    warnings = [
        f"{enlarged} of {raw['images']['count']} photos are portraits enlarged to 12 megapixels, "
        "with grain added, not photos of that size."
    ] if enlarged else []  # fmt: skip
    facts = [images(raw), ("bound", f"{raw['levels']} levels"), *made(raw)]
    # One view in a claim is enough for a summary: the first, which is what most scripts do.
    first = [claim for claim in claims if claim.values["view"] == next(iter(raw["views"]))]
    weights = {label: raw["weights"]} if raw.get("weights") else {}
    return Section("Large photos", facts, first, warnings, plots, tables, weights=weights)
