"""``rid-eval``: measure what a defender does."""

from __future__ import annotations

import click

from rid_core.cli.common import CONTEXT, run, version_option
from rid_eval.commands.judges import judges
from rid_eval.commands.large_photos import large_photos
from rid_eval.commands.look import look
from rid_eval.commands.personalize import personalize
from rid_eval.commands.report import report as report_command
from rid_eval.commands.robustness import robustness
from rid_eval.commands.shift import shift


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
