"""Section of ``rid-eval personalize``."""

from __future__ import annotations

from typing import Any

from rid_core.plots import Bar, bars
from rid_eval.report.content import (
    Claim,
    Figure,
    Raw,
    Section,
    Table,
    builder,
    interval,
    made,
)

_COLUMNS = {
    "fdfr": ("no face (FDFR)", 2),
    "ism_found": ("ISM, found faces", 2),
    "ism_zero": ("ISM, no face is 0", 2),
    "recognised": ("recognised", 2),
    "jod": ("JOD", 2),
    "levels": ("levels", 1),
    "psnr": ("PSNR, dB", 1),
    "lpips": ("LPIPS", 2),
    "latent_shift": ("latent shift", 2),
    "denoising_rise": ("denoising loss, rise", 3),
}


@builder("personalization")
def personalization(raw: Raw) -> Section:
    """What personalization makes of protected photos."""
    conditions = raw["conditions"]
    method, model = raw["settings"]["method"], raw["surrogate"]
    channel = "" if raw["channel"] == "plain" else f", after {raw['channel']}"
    title = f"Personalization by {method} on {model}{channel}"
    works = raw["attack"] == "works"
    warnings = [] if works else [
        f"The attack does not work on clean photos, so nothing here measures protection: "
        f"{raw['gate']['reason']}."
    ]  # fmt: skip
    judge = raw["judge"]
    bars_of = [
        Bar(label, value["value"], value["high"], floor=judge["threshold"],
            accent="defender" in raw["protections"].get(label, {}))
        for label, row in conditions.items()
        if (value := row["means"]["ism_zero"])["value"] is not None
    ]  # fmt: skip
    plots = [Figure(
        "Likeness of samples to the person",
        f"ISM by {judge['name']}, a sample without a face is 0; shorter is better protected; thin: "
        "to the end of the interval; the line is the judge's threshold",
        bars(bars_of, title, lambda value: f"{value:.2f}"),
    )]  # fmt: skip
    columns = [name for name in _COLUMNS if any(name in c["means"] for c in conditions.values())]
    rows = [
        [label, str(row["attacks"]),
         *(interval(row["means"].get(name), _COLUMNS[name][1]) for name in columns)]
        for label, row in conditions.items()
    ]  # fmt: skip
    head = ["photos", "attacks", *(_COLUMNS[name][0] for name in columns)]
    tables = [Table("Samples and photos", head, rows, "Means with 95 % intervals over people.")]
    if raw["ratios"]:
        ratios = [
            [f"{row['of']} to {row['to']}", interval(row["zero"]), interval(row["found"]),
             "–" if row.get("target") is None else f"at least {row['target']:g}"]
            for row in raw["ratios"]
        ]  # fmt: skip
        head = ["fall under", "no face is 0", "found faces", "target"]
        tables.append(Table("Fall of ISM, as multiples of other falls", head, ratios))
    facts = [
        ("model", f"{model}, preset {raw['preset']}"),
        ("people", f"{len(raw['people'])}: {', '.join(raw['people'])}"),
        ("bound", f"{raw['levels']} levels"),
        ("judge", f"{judge['name']}, threshold {judge['threshold']:.3f} ({judge['from']})"),
        ("attack", raw["gate"]["reason"]),
        *_slow_methods(raw["protections"]),
        *made(raw),
    ]
    claims = _claims(raw, method, model, channel) if works else []
    weights = {label: about["weights"] for label, about in raw["protections"].items()
               if about.get("weights")}  # fmt: skip
    return Section(title, facts, claims, warnings, plots, tables, weights=weights)


def _slow_methods(protections: Raw) -> list[tuple[str, str]]:
    """What slow methods attacked, and what was scaled to another's look."""
    facts = []
    for label, about in protections.items():
        # Earlier files named what was attacked by its digest alone.
        models = about.get("attacked")
        if isinstance(models, list):
            names = ", ".join(
                f"{m['name']} (a distillation of {m['distils']})" if "distils" in m else m["name"]
                for m in models
            )
            facts.append((label, f"attacked {names}"))
    alike = [label for label, about in protections.items() if "look_of" in about]
    if alike:
        of = protections[alike[0]]["look_of"]["defender"]
        facts.append(("look", f"{', '.join(alike)}: scaled to the JOD of the photos under {of}"))
    return facts


def _claims(raw: Raw, method: str, model: str, channel: str) -> list[Claim]:
    conditions, found = raw["conditions"], []
    clean = conditions["clean"]["means"]
    for label, about in raw["protections"].items():
        if "defender" not in about or label not in conditions:
            continue
        means = conditions[label]["means"]
        people = means["ism_zero"]["identities"]
        where = f"{method} on {model}{channel}, {people} people"
        look = f"; JOD of the photos {interval(means['jod'])}" if "jod" in means else ""
        # Of partly protected photos the share of the effect counts, which is of the same people.
        found += [] if "share" in about else [Claim(
            "effect", label,
            f"Trained on photos under {label}, samples are less like the person: ISM "
            f"{interval(means['ism_zero'])} instead of {interval(clean['ism_zero'])} where no face "
            f"counts 0, {interval(means['ism_found'])} instead of {interval(clean['ism_found'])} "
            f"over found faces; no face is found in {interval(means['fdfr'])} instead of "
            f"{interval(clean['fdfr'])} ({where}{look})."
            if _less(means, clean) else
            f"Trained on photos under {label}, samples are as much like the person as before: ISM "
            f"{interval(means['ism_zero'])} against {interval(clean['ism_zero'])} where no face "
            f"counts 0 ({where}{look}).",
            {name: {"protected": means[name], "clean": clean[name]}
             for name in ("ism_zero", "ism_found", "fdfr")}
            | ({"jod": means["jod"]} if "jod" in means else {}),
        )]  # fmt: skip
        for row in raw["ratios"]:
            if row["of"] != label or row["zero"].get("value") is None:
                continue
            target = row.get("target")
            wanted = "" if target is None else f" (wanted: at least {target:g})"
            found.append(Claim(
                "effect", label,
                f"The fall of ISM under {label} is {interval(row['zero'])} times the one under "
                f"{row['to']}{wanted} ({where}).",
                {"to": row["to"], "ratio": row["zero"], "target": target},
            ))  # fmt: skip
        kept = raw.get("kept", {}).get(label)
        if kept and kept["zero"].get("value") is not None:
            found.append(Claim(
                "kept", label,
                f"Of the fall of ISM under {label} {interval(kept['zero'])} is left after "
                f"{raw['channel']} ({method} on {model}).",
                {"channel": raw["channel"], "kept": kept["zero"]},
            ))  # fmt: skip
    return found


def _less(means: dict[str, Any], clean: dict[str, Any]) -> bool:
    """Whether ISM fell at all; how surely, the intervals say."""
    return bool(means["ism_zero"]["value"] < clean["ism_zero"]["value"])
