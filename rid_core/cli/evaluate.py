"""``rid-eval``: measure what a defender does."""

from __future__ import annotations

import click

from rid_core.cli.common import CONTEXT, run, version_option
from rid_core.cli.evaluation_judges import judges
from rid_core.cli.evaluation_large_photos import large_photos
from rid_core.cli.evaluation_look import look
from rid_core.cli.evaluation_personalize import personalize
from rid_core.cli.evaluation_report import report as report_command
from rid_core.cli.evaluation_robustness import robustness
from rid_core.cli.evaluation_shift import shift


@click.group(context_settings=CONTEXT)
@version_option
def group() -> None:
    """Measure what a defender does, and how visible it is."""


group.add_command(look)
group.add_command(shift)
group.add_command(judges)
group.add_command(robustness)
group.add_command(large_photos)
group.add_command(report_command)
group.add_command(personalize)


def main() -> None:
    """Entry point."""
    run(group)


if __name__ == "__main__":
    main()
