"""The report's part in a checkpoint's model card."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from rid_core.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint
from rid_core.errors import RidError
from rid_core.evaluation.report.content import TOPICS, Report, limits

KEY = "evaluation"
"""Of ``ModelCard.figures``."""


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
        RidError: no such file, or no claim about it.
    """
    path = find_checkpoint(checkpoint)
    section = card_section(report, path.stem)
    defender, card = load_checkpoint(path)
    fresh = dataclasses.replace(card, figures={**card.figures, KEY: section})
    save_checkpoint(path, defender, fresh)
    return path
