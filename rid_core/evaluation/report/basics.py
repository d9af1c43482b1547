"""Sections of ``rid-eval shift`` and ``rid-eval judges``."""

from __future__ import annotations

from rid_core.evaluation.report.content import (
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
from rid_core.plots import Bar, bars

_STEPS = {"plain": "plain", "jpeg75": "JPEG 75", "half": "0.5 x"}


def defenders(raw: Raw) -> list[str]:
    """Rows of ``rid-eval shift`` that are ours, and not chance or a slow method."""
    return [label for label in raw["rows"] if label in raw["weights"]]


@builder("relative latent shift")
def shift(raw: Raw) -> Section:
    """How far latents move, and how visible that is."""
    rows, encoders = raw["rows"], raw["encoders"]
    floor = rows["random"]["shift"]
    where = f"{raw['images']['count']} portraits at {raw['images']['size']} pixels"
    claims = []
    for label in defenders(raw):
        for encoder in encoders:
            value = rows[label]["shift"][encoder]["plain"]["against_same_channel"]
            least = floor[encoder]["plain"]["against_same_channel"]
            claims.append(Claim(
                "effect", label,
                f"{label} moves the latent of {encoder} by {amount(value)} of its own size, random "
                f"signs at the same {raw['levels']} levels by {amount(least)} ({where}).",
                {"encoder": encoder, "shift": value, "random": least, "levels": raw["levels"]},
            ))  # fmt: skip
        claims.append(Claim(
            "seen", label,
            f"{label} leaves a PSNR of {rows[label]['psnr']:.1f} dB and an SSIM of "
            f"{rows[label]['ssim']:.2f}; random signs {rows['random']['psnr']:.1f} dB and "
            f"{rows['random']['ssim']:.2f} ({where}).",
            {"psnr": rows[label]["psnr"], "ssim": rows[label]["ssim"],
             "psnr_random": rows["random"]["psnr"], "ssim_random": rows["random"]["ssim"]},
        ))  # fmt: skip
    head = ["protection", "PSNR, dB", "SSIM"]
    head += [f"{encoder}, {text}" for encoder in encoders for text in _STEPS.values()]
    head += [f"{model}, training loss" for model in rows["random"]["denoising"]]
    table = [
        [label, number(row["psnr"], 1), number(row["ssim"])]
        + [number(row["shift"][encoder][step]["against_same_channel"])
           for encoder in encoders for step in _STEPS]
        + [f"x {number(rise)}" for rise in row["denoising"].values()]
        for label, row in rows.items()
    ]  # fmt: skip
    plots = [
        Figure(f"Latent shift on {encoder}", "more is more effect; the line is random signs", bars(
            [Bar(label, row["shift"][encoder]["plain"]["against_same_channel"],
                 accent=label in defenders(raw),
                 floor=floor[encoder]["plain"]["against_same_channel"])
             for label, row in rows.items()],
            f"latent shift on {encoder}", amount))
        for encoder in encoders
    ]  # fmt: skip
    facts = [images(raw), ("bound", f"{raw['levels']} levels")]
    peers = raw["against"]
    facts += [(f"{label} attacks", peer["attacks"]) for label, peer in peers.items()]
    return Section(
        "Latent shift", [*facts, *made(raw)], claims, figures=plots,
        tables=[
            Table("Relative latent shift", head, table,
                  "Shift from the clean photo after the same step, as a share of the latent; the "
                  "training loss as a multiple of the clean photo's."),
            *(_against(raw, peer) for peer in peers),
        ],
        weights=raw["weights"],
    )  # fmt: skip


def _against(raw: Raw, peer: str) -> Table:
    """Defenders held against a slow method."""
    compared = raw["ratios"][peer]
    models = next(iter(compared.values()))["denoising"]
    head = ["defender", "SSIM"]
    head += [f"{encoder}, {text}" for encoder in raw["encoders"] for text in _STEPS.values()]
    head += [f"{model}, training loss" for model in models]
    rows = [
        [label, f"{one['ssim']:+.3f}"]
        + [number(one["shift"][encoder][step], 2) for encoder in raw["encoders"] for step in _STEPS]
        + [number(share, 2) for share in one["denoising"].values()]
        for label, one in compared.items()
    ]
    return Table(
        f"Against {peer}", head, rows,
        "Shift from the clean photo after the same step as a multiple of the slow method's; SSIM "
        "as a difference; the rise of the training loss above its clean value as a share.",
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
