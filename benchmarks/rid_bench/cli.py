"""``rid-bench``: the command line."""

from __future__ import annotations

from typing import Any

import click

from rid_bench.commands import devices, files
from rid_bench.commands.run import run_command
from rid_core.cli.common import CONTEXT, run, version_option

_EXAMPLES = """
\b
Examples:
  rid-bench run dist/ rid-s -o bench.json                  everything on this machine
  rid-bench run dist/rid-s.tflite --max-latency 1.0        a gate: exit code 1 if slower
  rid-bench reference --device cuda -o rid-s.reference.safetensors
  rid-bench fidelity --reference rid-s.reference.safetensors dist/ -o fidelity.json
  rid-bench bundle --reference rid-s.reference.safetensors dist/ -o bench.zip
  rid-bench ssh pi@board bench.zip -o board.json
  rid-bench report bench.json fidelity.json board.json -o report.html -o report.md
  rid-bench compare old.json new.json                      exit code 1 if something is slower

\b
Exit code: 0 fine, 1 an error, a failed gate or something slower, 2 wrong usage,
3 a gate that the machine was too noisy to tell, 130 interrupted.
"""


@click.group(context_settings=CONTEXT, epilog=_EXAMPLES)
@version_option
def main_command() -> None:
    """Measure exported defenders: how fast, how faithful, how they compare."""


for _command in (
    run_command,
    files.reference_command,
    files.fidelity_command,
    files.bundle_command,
    devices.ssh_command,
    devices.adb_command,
    files.merge_command,
    files.report_command,
    files.compare_command,
):
    main_command.add_command(_command)


def main() -> Any:
    """Entry point of the console script."""
    return run(main_command)


if __name__ == "__main__":
    main()
