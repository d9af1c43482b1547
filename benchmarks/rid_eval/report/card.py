"""The report's part in a checkpoint's model card."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from rid_core.checkpoint import (
    find_checkpoint,
    load_checkpoint,
    save_checkpoint,
    weights_digest,
)
from rid_core.errors import RidError
from rid_eval.report.content import TOPICS, Report, limits

KEY = "evaluation"
"""Of ``ModelCard.figures``."""
DIGITS = 16
"""Of a digest of weights, in measurements."""


def card_section(report: Report, defender: str) -> dict[str, Any]:
    """What the claims say about one defender, by topic, and the limits.

    Raises:
        RidError: there is no claim about it.
    """
    claims = [claim for claim in report.claims if claim.defender == defender]
    if not claims:
        known = ", ".join(report.defenders()) or "none"
        raise RidError(
            f"no measurement is about {defender!r} (they are about: {known}); a checkpoint is "
            "known by its file's name"
        )
    found: dict[str, Any] = {
        "What is protected": "Photos of people, against personalization of diffusion models, "
        "from the moment they are published under this defender."
    }
    for topic, title in TOPICS.items():
        texts = [claim.text for claim in claims if claim.topic == topic]
        if texts:
            found[title] = texts
    found["Limits"] = limits(report)
    found["Sources"] = [dict(source) for source in report.sources]
    return found


def update_card(report: Report, checkpoint: str) -> Path:
    """Write the section into a checkpoint's card, in the place of an older one.

    Args:
        report: with claims about a defender of that file's name.
        checkpoint: a file, or a bundled preset by name.

    Returns:
        The file.

    Raises:
        RidError: no such file, no claim about it, or one that was measured on other weights.
    """
    path = check(report, checkpoint)
    section = card_section(report, path.stem)
    defender, card = load_checkpoint(path)
    fresh = dataclasses.replace(card, figures={**card.figures, KEY: section})
    save_checkpoint(path, defender, fresh)
    return path


def check(report: Report, checkpoint: str) -> Path:
    """Refuse to say of these weights what was measured on others; the checkpoint's file.

    Raises:
        RidError: see :func:`update_card`.
    """
    path = find_checkpoint(checkpoint)
    card_section(report, path.stem)
    digest = weights_digest(load_checkpoint(path)[0])[:DIGITS]
    for section in report.sections:
        if not any(claim.defender == path.stem for claim in section.claims):
            continue
        found = section.weights.get(path.stem)
        if found != digest:
            what = "is of other weights" if found else "does not say of which weights it is"
            raise RidError(f"{section.source}: {what}; measure {path} again")
    return path
