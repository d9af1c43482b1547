"""Sections of ``rid-eval shift`` and ``rid-eval judges``."""

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
    number,
)
from rid_eval.results import LOOK

_STEPS = {"plain": "plain", "jpeg75": "JPEG 75", "half": "0.5 x"}


def defenders(raw: Raw) -> list[str]:
    """Rows of ``rid-eval shift`` that are ours, and not chance or a slow method."""
    return [label for label in raw["rows"] if label in raw["weights"]]


@builder("relative latent shift")
def shift(raw: Raw) -> Section:
    """How far latents move at equal look."""
    rows, encoders = raw["rows"], raw["encoders"]
    where = f"{raw['images']['count']} portraits at {raw['images']['size']} pixels"
    claims = []
    for label in defenders(raw):
        row = rows[label]
        for encoder in encoders:
            times = row["effect"][encoder]["plain"]
            claims.append(Claim(
                "effect", label,
                f"{label} moves the latent of {described(encoder, encoders[encoder])} "
                f"{times:.1f} times as far as random signs of the same JOD, {raw['look']:g} "
                f"({where}).",
                {"encoder": encoder, "effect": times, "look": raw["look"],
                 "strength": row["strength"]},
            ))  # fmt: skip
        claims.append(Claim(
            "seen", label,
            f"{label} at {raw['levels']} levels has a JOD of {row['jod']:.2f}, "
            f"{row['jod_worst']:.2f} on the photo that looks worst; random signs "
            f"{rows['random']['jod']:.2f} ({where}).",
            {"jod": row["jod"], "jod_worst": row["jod_worst"], "jod_random": rows["random"]["jod"]},
        ))  # fmt: skip
    columns = [(encoder, step) for encoder in encoders for step in _STEPS]
    head = [f"{encoder}, {_STEPS[step]}" for encoder, step in columns]
    models = [f"{model}, training loss" for model in rows["random"]["denoising"]]
    at_look = [
        [label, number(row["strength"] * raw["levels"], 1)]
        + [number(row["effect"][encoder][step], 1) for encoder, step in columns]
        for label, row in rows.items()
    ]
    full = [
        [label, number(row["psnr"], 1), number(row["jod"]), number(row["jod_worst"])]
        + [number(row["shift"][encoder][step]) for encoder, step in columns]
        + [f"x {number(rise)}" for rise in row["denoising"].values()]
        for label, row in rows.items()
    ]
    plots = [
        Figure(f"Effect on {encoder}", "times random signs of the same JOD; the line is 1", bars(
            [Bar(label, row["effect"][encoder]["plain"], accent=label in defenders(raw), floor=1)
             for label, row in rows.items()],
            f"effect on {encoder}", amount))
        for encoder in encoders
    ]  # fmt: skip
    facts = [
        images(raw),
        ("bound", f"{raw['levels']} levels"),
        ("equal look", f"JOD {raw['look']:g}"),
    ]
    facts += [(f"{label} attacks", peer["attacks"]) for label, peer in raw["against"].items()]
    return Section(
        "Latent shift", [*facts, *made(raw)], claims, figures=plots,
        tables=[
            Table("Effect at equal look", ["protection", "levels", *head], at_look,
                  "Shift at the strength at which the protection has this JOD, over that of random "
                  "signs of the same JOD, each from the clean photo after the same step."),
            Table("Relative latent shift at full strength",
                  ["protection", "PSNR, dB", "JOD", "worst", *head, *models], full,
                  "Shift from the clean photo after the same step, as a share of the latent; the "
                  "training loss as a multiple of the clean photo's."),
        ],
        weights=raw["weights"],
    )  # fmt: skip


def described(encoder: str, distils: str | None) -> str:
    """An encoder, and what it is a distillation of."""
    return f"{encoder}, a distillation of {distils}," if distils else encoder


@builder("look")
def look(raw: Raw) -> Section:
    """How visible protections are."""
    rows = raw["rows"]
    where = f"{raw['images']['count']} portraits at {raw['images']['size']} pixels"
    claims = [
        Claim(
            "seen", label,
            f"{label} at {raw['levels']} levels has a JOD of {rows[label]['mean']['jod']:.2f} "
            f"(10 is no visible difference), {rows[label]['mean']['jod_enlarged']:.2f} enlarged "
            f"twice; random signs {rows['random']['mean']['jod']:.2f} ({where}).",
            {**rows[label]["mean"], "worst_jod": rows[label]["worst_jod"]},
        )
        for label in defenders(raw)
    ]  # fmt: skip
    table = [
        [label, *(number(row["mean"][key], digits) for key, (_, digits) in LOOK.items()),
         number(row["worst_jod"]), number(row["phone_jod"])]
        for label, row in rows.items()
    ]  # fmt: skip
    plot = Figure("JOD", "10 is no visible difference", bars(
        [Bar(label, row["mean"]["jod"], accent=label in defenders(raw),
             floor=rows["random"]["mean"]["jod"]) for label, row in rows.items()],
        "JOD", amount))  # fmt: skip
    return Section(
        "Look", [images(raw), ("bound", f"{raw['levels']} levels"), *made(raw)], claims,
        figures=[plot],
        tables=[Table("How visible",
                      ["protection", *(name for name, _ in LOOK.values()), "worst JOD",
                       "JOD on a phone"], table,
                      f"The last column: {raw['large']} photos at 12 megapixels, fitted to a "
                      "phone's screen.")],
        weights=raw["weights"],
    )  # fmt: skip


@builder("judges")
def judges(raw: Raw) -> Section:
    """How well the judges tell people apart."""
    claims, rows = [], []
    for name, judge in raw["judges"].items():
        for label, check in judge["checks"].items():
            row = [number(check[key], 4) for key in ("threshold", "tpr", "fpr")]
            counts = [f"{check[key]:,}" for key in ("same", "different")]
            rows.append([f"{name}, {label}", *row, *counts])
            if label.startswith("mean of a person"):
                claims.append(Claim(
                    "judges", "",
                    f"The judge {name} recognises {100 * check['tpr']:.1f} % of photos at a "
                    f"threshold that {100 * check['fpr']:.1f} % of other people's exceed "
                    f"({raw['people']} people, {judge['photos']} photos).",
                    {"tpr": check["tpr"], "fpr": check["fpr"], "threshold": check["threshold"]},
                ))  # fmt: skip
    head = ["judge and comparison", "threshold", "TPR", "FPR", "same", "different"]
    return Section("Judges", [("people", str(raw["people"])), *made(raw)], claims,
                   tables=[Table("Same person or not", head, rows)])  # fmt: skip
