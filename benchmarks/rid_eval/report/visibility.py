"""What a report says of ``rid-eval shift``, ``rid-eval look`` and ``rid-eval judges``."""

from __future__ import annotations

import math

from rid_core.report import Cell, Column, Table
from rid_core.report.plots import Bar
from rid_eval.appearance import LookResult
from rid_eval.latent_shift import FLOOR, ShiftResult
from rid_eval.report.content import (
    BarPlot,
    MeasuredClaim,
    MeasurementSummary,
    facts_of,
    images_fact,
    summarize,
)
from rid_eval.verification import MEAN_CHECK, JudgesResult

_STEPS = {"plain": "plain", "jpeg75": "JPEG 75", "half": "0.5 x"}


@summarize.register
def shift(result: ShiftResult) -> MeasurementSummary:
    """How far latents move at equal look."""
    rows, encoders = result.rows, result.encoders
    facts = [
        images_fact(result.images), ("bound", f"{result.levels} levels"),
        ("equal look", f"JOD {result.look:g}"),
        *((f"{label} attacks", run.attacks) for label, run in result.against.items()),
        *facts_of(result.made, result.device),
    ]  # fmt: skip
    plots = [
        BarPlot(f"Effect on {encoder}", "times random signs of the same JOD; the line is 1",
                [Bar(label, row.effect[encoder]["plain"], accent=label in result.weights, floor=1)
                 for label, row in rows.items()])
        for encoder in encoders
    ]  # fmt: skip
    columns = [(encoder, step) for encoder in encoders for step in _STEPS]
    heads = [f"{encoder}, {_STEPS[step]}" for encoder, step in columns]
    models = [f"{model}, training loss" for model in rows[FLOOR].denoising]
    at_look: list[list[Cell]] = [
        [label, row.strength * result.levels, *(row.effect[e][step] for e, step in columns)]
        for label, row in rows.items()
    ]
    full: list[list[Cell]] = [
        [label, row.psnr, row.jod, row.jod_worst, *(row.shift[e][step] for e, step in columns),
         *(f"x {rise:.2f}" for rise in row.denoising.values())]
        for label, row in rows.items()
    ]  # fmt: skip
    return MeasurementSummary(
        "Latent shift", facts, _shift_findings(result), plots=plots, weights=result.weights,
        tables=[
            Table("Effect at equal look",
                  ["protection", Column("levels", form=".1f"),
                   *(Column(head, form=".1f") for head in heads)], at_look,
                  "Shift at the strength at which the protection has this JOD, over that of random "
                  "signs of the same JOD, each from the clean photo after the same step."),
            Table("Relative latent shift at full strength",
                  ["protection", Column("PSNR", "dB", ".1f"), Column("JOD", form=".2f"),
                   Column("worst", form=".2f"), *(Column(head, form=".2f") for head in heads),
                   *models], full,
                  "Shift from the clean photo after the same step, as a share of the latent; the "
                  "training loss as a multiple of the clean photo's."),
        ],
    )  # fmt: skip


def _shift_findings(result: ShiftResult) -> list[MeasuredClaim]:
    where = f"{result.images.count} portraits at {result.images.size} pixels"
    random, found = result.rows[FLOOR], []
    for label in (label for label in result.rows if label in result.weights):
        row = result.rows[label]
        for encoder, distils in result.encoders.items():
            times = row.effect[encoder]["plain"]
            found.append(MeasuredClaim(
                "effect", label,
                f"{label} moves the latent of {described(encoder, distils)} {times:.1f} times as "
                f"far as random signs of the same JOD, {result.look:g} ({where}).",
                {"encoder": encoder, "effect": times, "look": result.look,
                 "strength": row.strength},
            ))  # fmt: skip
        found.append(MeasuredClaim(
            "seen", label,
            f"{label} at {result.levels} levels has a JOD of {row.jod:.2f}, {row.jod_worst:.2f} on "
            f"the photo that looks worst; random signs {random.jod:.2f} ({where}).",
            {"jod": row.jod, "jod_worst": row.jod_worst, "jod_random": random.jod},
        ))  # fmt: skip
    return found


def described(encoder: str, distils: str | None) -> str:
    """An encoder, and what it is a distillation of."""
    return f"{encoder}, a distillation of {distils}," if distils else encoder


@summarize.register
def look(result: LookResult) -> MeasurementSummary:
    """How visible protections are."""
    rows, random = result.rows, result.rows[result.floor].mean
    where = f"{result.images.count} portraits at {result.images.size} pixels"
    findings = [
        MeasuredClaim(
            "seen", label,
            f"{label} at {result.levels} levels has a JOD of {row.mean.jod:.2f} (10 is no visible "
            f"difference), {row.mean.jod_enlarged:.2f} enlarged twice; random signs "
            f"{random.jod:.2f} ({where}).",
            {**vars(row.mean), "worst_jod": row.worst_jod},
        )
        for label, row in rows.items() if label in result.weights
    ]  # fmt: skip
    cells: list[list[Cell]] = [
        [label, row.mean.jod, row.mean.jod_enlarged, row.mean.ssimulacra2, row.mean.flip,
         row.mean.psnr, row.mean.colour, row.worst_jod,
         None if math.isnan(row.phone_jod) else row.phone_jod]
        for label, row in rows.items()
    ]  # fmt: skip
    plot = BarPlot("JOD", "10 is no visible difference; the line is random signs", [
        Bar(label, row.mean.jod, accent=label in result.weights, floor=random.jod)
        for label, row in rows.items()
    ])  # fmt: skip
    columns = ["protection", Column("JOD", form=".2f"), Column("enlarged twice", form=".2f"),
               Column("SSIMULACRA2", form=".0f"), Column("FLIP", form=".3f"),
               Column("PSNR", "dB", ".1f"), Column("colour", "levels", ".2f"),
               Column("worst JOD", form=".2f"), Column("JOD on a phone", form=".2f")]  # fmt: skip
    return MeasurementSummary(
        "Look", [images_fact(result.images), ("bound", f"{result.levels} levels"),
                 *facts_of(result.made)],
        findings, plots=[plot], weights=result.weights,
        tables=[Table("How visible", columns, cells,
                      f"The last column: {result.large} photos at 12 megapixels, fitted to a "
                      "phone's screen.")],
    )  # fmt: skip


@summarize.register
def judges(result: JudgesResult) -> MeasurementSummary:
    """How well the judges tell people apart."""
    findings: list[MeasuredClaim] = []
    rows: list[list[Cell]] = []
    for name, judge in result.judges.items():
        for label, check in judge.checks.items():
            rows.append([f"{name}, {label}", check.threshold, check.tpr, check.fpr,
                         check.same, check.different])  # fmt: skip
        check = judge.checks[MEAN_CHECK]
        findings.append(MeasuredClaim(
            "judges", "",
            f"The judge {name} recognises {100 * check.tpr:.1f} % of photos at a threshold that "
            f"{100 * check.fpr:.1f} % of other people's exceed ({result.people} people, "
            f"{judge.photos} photos).",
            {"tpr": check.tpr, "fpr": check.fpr, "threshold": check.threshold},
        ))  # fmt: skip
    columns = ["judge and comparison", Column("threshold", form=".4f"), Column("TPR", form=".4f"),
               Column("FPR", form=".4f"), Column("same", form=","),
               Column("different", form=",")]  # fmt: skip
    facts = [("people", str(result.people)), *facts_of(result.made)]
    table = Table("Same person or not", columns, rows)
    return MeasurementSummary("Judges", facts, findings, tables=[table])
