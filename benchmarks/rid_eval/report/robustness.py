"""Section of ``rid-eval robustness``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

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
    times,
)

_PLAIN = "identity"
_JPEG = "jpeg75"
_NAMED = 3
"""Purifications that a claim names: those that leave least."""


@builder("robustness")
def robustness(raw: Raw) -> Section:
    """The matrix: what is left of the effect, with noise of equal norm as floor."""
    cells, steps = raw["matrix"]["cells"], raw["steps"]
    encoders = list(raw["matrix"]["alone"])
    claims, plots = [], []
    for label, about in raw["protections"].items():
        if not about["defender"]:
            continue
        for encoder in encoders:
            row = cells[label][encoder]
            seen = encoder in about["trained_on"]
            claims.append(_effect(raw, label, encoder, seen))
            claims += _kept(label, encoder, row, steps)
            claims += _removed(label, encoder, row, steps)
            note = "per cent of the plain effect; the line is noise of equal norm"
            plots.append(Figure(f"{label} on {encoder}", note, _bars(row, label, encoder)))
    facts = [
        images(raw),
        ("bound", f"{raw['levels']} levels"),
        *((label, _about(about)) for label, about in raw["protections"].items()),
        *made(raw),
    ]
    weights = {
        label: about["weights"]
        for label, about in raw["protections"].items()
        if about.get("weights")
    }
    return Section("Robustness", facts, claims, figures=plots, tables=_tables(raw, encoders),
                   weights=weights)  # fmt: skip


def _effect(raw: Raw, label: str, encoder: str, seen: bool) -> Claim:
    plain = raw["matrix"]["cells"][label][encoder][_PLAIN]
    values: dict[str, Any] = {
        "encoder": encoder, "effect": plain["effect"], "floor": plain["floor"]
    }  # fmt: skip
    text = (
        f"On {encoder}, which {label} was {'' if seen else 'not '}trained against, the latent "
        f"moves by {amount(plain['effect'])} of its own size: "
        f"{times(plain['effect'], plain['floor'])} what noise of equal norm does "
        f"({amount(plain['floor'])})"
    )
    peers = [name for name, about in raw["protections"].items()
             if not about["defender"] and about["trained_on"]]  # fmt: skip
    for peer in peers:
        other = raw["matrix"]["cells"][peer][encoder][_PLAIN]["effect"]
        against = ", ".join(raw["protections"][peer]["trained_on"])
        values[peer] = other
        text += f"; {peer} made against {against} reaches {amount(other)}"
    return Claim("effect" if seen else "unseen", label, text + ".", values)


def _kept(label: str, encoder: str, row: Raw, steps: Raw) -> list[Claim]:
    channels = _of_kind(row, steps, "channel")
    if not channels:
        return []
    least, most = (pick(channels, key=lambda n: channels[n]["kept"]) for pick in (min, max))
    claims = [Claim(
        "kept", label,
        f"On {encoder} {label} keeps {channels[least]['kept']:.0f} % ({least}) to "
        f"{channels[most]['kept']:.0f} % ({most}) of its effect after {len(channels)} channels.",
        {"encoder": encoder, **{name: channel["kept"] for name, channel in channels.items()}},
    )]  # fmt: skip
    if _JPEG in channels:
        jpeg = channels[_JPEG]
        claims.append(Claim(
            "kept", label,
            f"On {encoder} {label} keeps {jpeg['kept']:.0f} % [{jpeg['low']:.0f}, "
            f"{jpeg['high']:.0f}] after JPEG 75; noise of equal norm has "
            f"{jpeg['floor_kept']:.0f} % there.",
            {"encoder": encoder, "kept": jpeg["kept"], "low": jpeg["low"], "high": jpeg["high"],
             "floor": jpeg["floor_kept"]},
        ))  # fmt: skip
    return claims


def _removed(label: str, encoder: str, row: Raw, steps: Raw) -> list[Claim]:
    found = {**_of_kind(row, steps, "purification"), **_of_kind(row, steps, "combined")}
    if not found:
        return []
    order = sorted(found, key=lambda name: float(found[name]["kept"]))
    named = "; ".join(
        f"{steps[name]['text']}: {found[name]['kept']:.0f} % "
        f"(noise {found[name]['floor_kept']:.0f} %)"
        for name in order[:_NAMED]
    )
    return [Claim(
        "removed", label, f"On {encoder}, what leaves least of {label}'s effect: {named}.",
        {"encoder": encoder, **{name: found[name]["kept"] for name in order}},
    )]  # fmt: skip


def _of_kind(row: Raw, steps: Raw, kind: str) -> dict[str, Raw]:
    return {name: cell for name, cell in row.items()
            if steps[name]["kind"] == kind and name != _PLAIN}  # fmt: skip


def _bars(row: Mapping[str, Raw], label: str, encoder: str) -> str:
    items = [
        Bar(name, max(cell["kept"], 0), cell["high"], floor=cell["floor_kept"], accent=True)
        for name, cell in row.items()
        if name != _PLAIN
    ]
    return bars(items, f"effect kept by {label} on {encoder}", lambda value: f"{value:.0f} %")


def _tables(raw: Raw, encoders: Iterable[str]) -> list[Table]:
    protections, steps = list(raw["protections"]), raw["steps"]
    found = []
    for encoder in encoders:
        rows = []
        for name in steps:
            cells = [raw["matrix"]["cells"][label][encoder][name] for label in protections]
            shown = [
                f"{amount(cell['effect'])} ({amount(cell['floor'])})" if name == _PLAIN
                else f"{cell['kept']:.0f} % ({cell['floor_kept']:.0f})" for cell in cells
            ]  # fmt: skip
            alone = raw["matrix"]["alone"][encoder][name]
            rows.append([name, *shown, f"{amount(alone)}"])
        found.append(Table(
            f"Effect on {encoder}", ["step", *protections, "step alone"], rows,
            "First row: relative latent shift, in brackets that of noise of equal norm. Others: "
            "per cent of it that is left, in brackets the noise on the same scale. Last column: "
            "shift by the step alone, what it costs the attacker.",
        ))  # fmt: skip
    rows = [[name, step["kind"], step["text"]] for name, step in steps.items()]
    return [*found, Table("Steps", ["step", "kind", "what it does"], rows)]


def _about(about: Raw) -> str:
    against = f", made against {', '.join(about['trained_on'])}" if about["trained_on"] else ""
    return f"{about['rms_levels']:.1f} levels RMS, {about['psnr']:.1f} dB{against}"
