"""The report's part in a checkpoint's model card."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from rid_core.checkpoint import (
    find_checkpoint,
    load_checkpoint,
    save_checkpoint,
    weights_digest,
)
from rid_core.errors import RidError
from rid_eval.comparison import DIGEST_DIGITS, labels_of
from rid_eval.latent_shift import ShiftResult
from rid_eval.report.content import TOPICS, Evaluation
from rid_eval.results import as_json

KEY = "evaluation"
"""Of ``ModelCard.figures``."""


def add_figures(checkpoint: str, figures: Mapping[str, object]) -> Path:
    """Write figures into a checkpoint's model card, in the place of older ones of their names."""
    path = find_checkpoint(checkpoint)
    defender, card = load_checkpoint(path)
    fresh = dataclasses.replace(card, figures={**card.figures, **figures})
    save_checkpoint(path, defender, fresh)
    return path


def add_shift(checkpoints: Sequence[str], result: ShiftResult) -> None:
    """Write each defender's row of a measurement into its model card."""
    key = f"shift at {result.images.size}, {result.images.count} portraits, {result.levels} levels"
    rows = as_json(result)["rows"]
    assert isinstance(rows, dict)
    for name, label in labels_of(checkpoints).items():
        add_figures(name, {key: rows[label]})


def card_section(report: Evaluation, defender: str) -> dict[str, object]:
    """What the findings say about one defender, by topic, and the limits.

    Raises:
        RidError: there is no finding about it.
    """
    findings = [one for one in report.findings if one.defender == defender]
    if not findings:
        known = ", ".join(report.defenders) or "none"
        raise RidError(
            f"no measurement is about {defender!r} (they are about: {known}); a checkpoint is "
            "known by its file's name"
        )
    found: dict[str, object] = {
        "What is protected": "Photos of people, against personalization of diffusion models, "
        "from the moment they are published under this defender."
    }
    for topic, title in TOPICS.items():
        texts = [one.text for one in findings if one.topic == topic]
        if texts:
            found[title] = texts
    found["Limits"] = report.limits
    found["Sources"] = [dict(vars(source)) for source in report.sources]
    return found


def update_card(report: Evaluation, checkpoint: str) -> Path:
    """Write the section into a checkpoint's card, in the place of an older one.

    Args:
        report: with findings about a defender of that file's name.
        checkpoint: a file, or a bundled preset by name.

    Returns:
        The file.

    Raises:
        RidError: no such file, no finding about it, or one that was measured on other weights.
    """
    path = check(report, checkpoint)
    return add_figures(checkpoint, {KEY: card_section(report, path.stem)})


def check(report: Evaluation, checkpoint: str) -> Path:
    """Refuse to say of these weights what was measured on others; the checkpoint's file.

    Raises:
        RidError: see :func:`update_card`.
    """
    path = find_checkpoint(checkpoint)
    card_section(report, path.stem)
    digest = weights_digest(load_checkpoint(path)[0])[:DIGEST_DIGITS]
    for summary in report.summaries:
        if not any(finding.defender == path.stem for finding in summary.findings):
            continue
        found = summary.weights.get(path.stem)
        if found != digest:
            what = "is of other weights" if found else "does not say of which weights it is"
            raise RidError(f"{summary.source}: {what}; measure {path} again")
    return path
