"""What a report says of ``rid-eval robustness``."""

from __future__ import annotations

from collections.abc import Mapping

from rid_core.report import Cell, Column, Table
from rid_core.report.plots import Bar
from rid_eval.report.content import (
    BarPlot,
    MeasuredClaim,
    MeasurementSummary,
    amount,
    facts_of,
    images_fact,
    summarize,
    times,
)
from rid_eval.robustness import Cell as MatrixCell
from rid_eval.robustness import ProtectionRow, RobustnessResult, StepRow
from rid_eval.steps import CHANNEL, COMBINED, IDENTITY, PURIFICATION

_JPEG = "jpeg75"
_MOST_NAMED = 3
"""Purifications that a finding names: those that leave least."""

Row = Mapping[str, MatrixCell]
"""By name of the step."""


@summarize.register
def robustness(result: RobustnessResult) -> MeasurementSummary:
    """The matrix: what is left of the effect, with noise of equal norm as floor."""
    findings, plots = [], []
    for label, about in result.protections.items():
        for encoder in result.matrix.alone if about.defender else ():
            row = result.matrix.cells[label][encoder]
            findings.append(_effect(result, label, encoder))
            findings += _kept(label, encoder, row, result.steps)
            findings += _removed(label, encoder, row, result.steps)
            plots.append(BarPlot(
                f"{label} on {encoder}",
                "per cent of the plain effect; the line is noise of equal norm",
                [Bar(name, max(cell.kept, 0), max(cell.low, 0), cell.high, accent=True,
                     floor=cell.floor_kept) for name, cell in row.items() if name != IDENTITY],
                "{:.0f} %",
            ))  # fmt: skip
    facts = [
        images_fact(result.images), ("bound", f"{result.levels} levels"),
        *((label, _about(about)) for label, about in result.protections.items()),
        *facts_of(result.made, result.device),
    ]  # fmt: skip
    weights = {label: about.weights for label, about in result.protections.items()
               if about.weights}  # fmt: skip
    return MeasurementSummary("Robustness", facts, findings, plots=plots, tables=_tables(result),
                   weights=weights)  # fmt: skip


def _effect(result: RobustnessResult, label: str, encoder: str) -> MeasuredClaim:
    cells, about = result.matrix.cells, result.protections
    seen = encoder in about[label].trained_on
    plain = cells[label][encoder][IDENTITY]
    values: dict[str, object] = {
        "encoder": encoder, "effect": plain.effect, "floor": plain.floor
    }  # fmt: skip
    text = (
        f"On {encoder}, which {label} was {'' if seen else 'not '}trained against, the latent "
        f"moves by {amount(plain.effect)} of its own size: {times(plain.effect, plain.floor)} what "
        f"noise of equal norm does ({amount(plain.floor)})"
    )
    for peer, other in about.items():
        if other.trained_on and not other.defender:
            values[peer] = effect = cells[peer][encoder][IDENTITY].effect
            against = ", ".join(other.trained_on)
            text += f"; {peer} made against {against} reaches {amount(effect)}"
    return MeasuredClaim("effect" if seen else "unseen", label, text + ".", values)


def _kept(label: str, encoder: str, row: Row, steps: Mapping[str, StepRow]) -> list[MeasuredClaim]:
    channels = _of_kinds(row, steps, CHANNEL)
    if not channels:
        return []
    least, most = (pick(channels, key=lambda n: channels[n].kept) for pick in (min, max))
    found = [MeasuredClaim(
        "kept", label,
        f"On {encoder} {label} keeps {channels[least].kept:.0f} % ({least}) to "
        f"{channels[most].kept:.0f} % ({most}) of its effect after {len(channels)} channels.",
        {"encoder": encoder, **{name: channel.kept for name, channel in channels.items()}},
    )]  # fmt: skip
    if _JPEG in channels:
        jpeg = channels[_JPEG]
        found.append(MeasuredClaim(
            "kept", label,
            f"On {encoder} {label} keeps {jpeg.kept:.0f} % [{jpeg.low:.0f}, {jpeg.high:.0f}] after "
            f"JPEG 75; noise of equal norm has {jpeg.floor_kept:.0f} % there.",
            {"encoder": encoder, "kept": jpeg.kept, "low": jpeg.low, "high": jpeg.high,
             "floor": jpeg.floor_kept},
        ))  # fmt: skip
    return found


def _removed(
    label: str, encoder: str, row: Row, steps: Mapping[str, StepRow]
) -> list[MeasuredClaim]:
    found = _of_kinds(row, steps, PURIFICATION, COMBINED)
    if not found:
        return []
    order = sorted(found, key=lambda name: found[name].kept)
    named = "; ".join(
        f"{steps[name].text}: {found[name].kept:.0f} % (noise {found[name].floor_kept:.0f} %)"
        for name in order[:_MOST_NAMED]
    )
    return [MeasuredClaim(
        "removed", label, f"On {encoder}, what leaves least of {label}'s effect: {named}.",
        {"encoder": encoder, **{name: found[name].kept for name in order}},
    )]  # fmt: skip


def _of_kinds(row: Row, steps: Mapping[str, StepRow], *kinds: str) -> dict[str, MatrixCell]:
    return {name: cell for kind in kinds for name, cell in row.items()
            if steps[name].kind == kind and name != IDENTITY}  # fmt: skip


def _tables(result: RobustnessResult) -> list[Table]:
    protections, steps = list(result.protections), result.steps
    found = []
    for encoder, alone in result.matrix.alone.items():
        rows: list[list[Cell]] = []
        for name in steps:
            cells = [result.matrix.cells[label][encoder][name] for label in protections]
            shown = [
                f"{amount(cell.effect)} ({amount(cell.floor)})" if name == IDENTITY
                else f"{cell.kept:.0f} % ({cell.floor_kept:.0f})" for cell in cells
            ]  # fmt: skip
            rows.append([name, *shown, amount(alone[name])])
        found.append(Table(
            f"Effect on {encoder}", ["step", *protections, "step alone"], rows,
            "First row: relative latent shift, in brackets that of noise of equal norm. Others: "
            "per cent of it that is left, in brackets the noise on the same scale. Last column: "
            "shift by the step alone, what it costs the attacker.",
        ))  # fmt: skip
    words = [Column("step"), Column("kind", words=True), Column("what it does", words=True)]
    return [*found, Table("Steps", words, [[name, step.kind, step.text]
                                           for name, step in steps.items()])]  # fmt: skip


def _about(about: ProtectionRow) -> str:
    against = f", made against {', '.join(about.trained_on)}" if about.trained_on else ""
    return f"{about.rms_levels:.1f} levels RMS, {about.psnr:.1f} dB{against}"
