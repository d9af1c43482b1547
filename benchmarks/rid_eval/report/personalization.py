"""What a report says of ``rid-eval personalize``."""

from __future__ import annotations

import math

from rid_core.report import Cell, Table
from rid_core.report.plots import Bar
from rid_eval.personalization.figures import Means, PersonalizationResult
from rid_eval.personalization.protections import Description
from rid_eval.report.content import BarPlot, MeasuredClaim, MeasurementSummary, facts_of, summarize
from rid_eval.statistics import Interval


def _columns(means: Means) -> dict[str, tuple[Interval | None, int]]:
    """What a table shows of a condition, by heading, with decimals."""
    return {
        "no face (FDFR)": (means.fdfr, 2),
        "ISM, found faces": (means.ism_found, 2),
        "ISM, no face is 0": (means.ism_zero, 2),
        "recognised": (means.recognised, 2),
        "JOD": (means.jod, 2),
        "levels": (means.levels, 1),
        "PSNR, dB": (means.psnr, 1),
        "LPIPS": (means.lpips, 2),
        "latent shift": (means.latent_shift, 2),
        "denoising loss, rise": (means.denoising_rise, 3),
    }


@summarize.register
def personalization(result: PersonalizationResult) -> MeasurementSummary:
    """What personalization makes of protected photos."""
    method, model, judge = result.settings["method"], result.surrogate, result.judge
    channel = "" if result.channel == "plain" else f", after {result.channel}"
    title = f"Personalization by {method} on {model}{channel}"
    works = result.attack == "works"
    warnings = [] if works else [
        f"The attack does not work on clean photos, so nothing here measures protection: "
        f"{result.gate.reason}."
    ]  # fmt: skip
    likeness = {label: condition.means.ism_zero for label, condition in result.conditions.items()}
    plot = BarPlot(
        "Likeness of samples to the person",
        f"ISM by {judge.name}, a sample without a face is 0; shorter is better protected; thin: "
        "the interval; the line is the judge's threshold",
        [Bar(label, found.value, _known(found.low), _known(found.high), floor=judge.threshold,
             accent=_of(result, label).defender is not None)
         for label, found in likeness.items() if not math.isnan(found.value)],
    )  # fmt: skip
    facts = [
        ("model", f"{model}, preset {result.preset}"),
        ("people", f"{len(result.people)}: {', '.join(result.people)}"),
        ("attackers' own photos", f"ISM {result.photos_to_person.text()}"),
        ("bound", f"{result.levels} levels"),
        ("judge", f"{judge.name}, threshold {judge.threshold:.3f} ({judge.origin})"),
        ("attack", result.gate.reason),
        *_slow_methods(result.protections),
        *facts_of(result.made, result.device),
    ]
    findings = _findings(result, f"{method} on {model}{channel}") if works else []
    weights = {label: about.weights for label, about in result.protections.items()
               if about.weights}  # fmt: skip
    return MeasurementSummary(title, facts, findings, warnings, [plot], _tables(result), weights)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _of(result: PersonalizationResult, label: str) -> Description:
    return result.protections.get(label, Description())


def _tables(result: PersonalizationResult) -> list[Table]:
    columns = {label: _columns(condition.means) for label, condition in result.conditions.items()}
    heads = [head for head in next(iter(columns.values()))
             if any(found[head][0] for found in columns.values())]  # fmt: skip
    rows: list[list[Cell]] = []
    for label, condition in result.conditions.items():
        shown = [columns[label][head] for head in heads]
        rows.append(
            [
                label,
                condition.attacks,
                *(found.text(digits) if found else None for found, digits in shown),
            ]
        )
    tables = [Table("Samples and photos", ["photos", "attacks", *heads], rows,
                    "Means with 95 % intervals over people.")]  # fmt: skip
    ratios: list[list[Cell]] = [
        [f"{row.of} to {row.to}", row.zero.text(), row.found.text(),
         None if row.target is None else f"at least {row.target:g}"]
        for row in result.ratios
    ]  # fmt: skip
    kept: list[list[Cell]] = [
        [label, *(found.text() if found else None for found in (share.zero, share.found))]
        for label, share in (result.kept or {}).items()
    ]  # fmt: skip
    rules = ["no face is 0", "found faces"]
    if ratios:
        tables.append(Table("Fall of ISM, as multiples of other falls",
                            ["fall under", *rules, "target"], ratios))  # fmt: skip
    if kept:
        tables.append(Table(f"Share of the plain fall of ISM that is left after {result.channel}",
                            ["photos", *rules], kept))  # fmt: skip
    return tables


def _slow_methods(protections: dict[str, Description]) -> list[tuple[str, str]]:
    """What slow methods attacked, and what was scaled to another's look."""
    facts = []
    for label, about in protections.items():
        if isinstance(about.attacked, list):
            names = ", ".join(
                f"{one.name} (a distillation of {one.distils})" if one.distils else one.name
                for one in about.attacked
            )
            facts.append((label, f"attacked {names}"))
    alike = {label: about.look_of for label, about in protections.items() if about.look_of}
    if alike:
        of = next(iter(alike.values())).defender
        facts.append(("look", f"{', '.join(alike)}: scaled to the JOD of the photos under {of}"))
    return facts


def _findings(result: PersonalizationResult, setting: str) -> list[MeasuredClaim]:
    found = []
    clean = result.conditions["clean"].means
    for label, about in result.protections.items():
        if about.defender is None or label not in result.conditions:
            continue
        means = result.conditions[label].means
        where = f"{setting}, {means.ism_zero.identities} people"
        # Of partly protected photos the share of the effect counts, which is of the same people.
        if about.share is None:
            found.append(_likeness(label, means, clean, where))
        for row in result.ratios:
            if row.of != label or math.isnan(row.zero.value):
                continue
            wanted = "" if row.target is None else f" (wanted: at least {row.target:g})"
            found.append(MeasuredClaim(
                "effect", label,
                f"The fall of ISM under {label} is {row.zero.text()} times the one under {row.to}"
                f"{wanted} ({where}).",
                {"to": row.to, "ratio": row.zero, "target": row.target},
            ))  # fmt: skip
        kept = (result.kept or {}).get(label)
        if kept and kept.zero and not math.isnan(kept.zero.value):
            found.append(MeasuredClaim(
                "kept", label,
                f"Of the fall of ISM under {label} {kept.zero.text()} is left after "
                f"{result.channel} ({result.settings['method']} on {result.surrogate}).",
                {"channel": result.channel, "kept": kept.zero},
            ))  # fmt: skip
    return found


def _likeness(label: str, means: Means, clean: Means, where: str) -> MeasuredClaim:
    """Whether samples are less like the person; how surely, the intervals say."""
    look = f"; JOD of the photos {means.jod.text()}" if means.jod else ""
    if means.ism_zero.value < clean.ism_zero.value:
        text = (
            f"Trained on photos under {label}, samples are less like the person: ISM "
            f"{means.ism_zero.text()} instead of {clean.ism_zero.text()} where no face counts 0, "
            f"{means.ism_found.text()} instead of {clean.ism_found.text()} over found faces; no "
            f"face is found in {means.fdfr.text()} instead of {clean.fdfr.text()} ({where}{look})."
        )
    else:
        text = (
            f"Trained on photos under {label}, samples are as much like the person as before: ISM "
            f"{means.ism_zero.text()} against {clean.ism_zero.text()} where no face counts 0 "
            f"({where}{look})."
        )
    values: dict[str, object] = {
        "ism_zero": {"protected": means.ism_zero, "clean": clean.ism_zero},
        "ism_found": {"protected": means.ism_found, "clean": clean.ism_found},
        "fdfr": {"protected": means.fdfr, "clean": clean.fdfr},
    }
    return MeasuredClaim(
        "effect", label, text, {**values, "jod": means.jod} if means.jod else values
    )
