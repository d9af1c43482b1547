"""``rid-bench run``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rid_bench import Options
from rid_bench.commands.common import CANNOT_TELL, numbers, output_option, show
from rid_core.errors import RidError

if TYPE_CHECKING:
    from rid_bench.claims import GateVerdict

_INTERRUPTED = {"interrupted": 130, "terminated": 143}
_Command = TypeVar("_Command", bound=Callable[..., object])


def _measuring(command: _Command) -> _Command:
    """Options whose names are fields of :class:`rid_bench.Options`."""
    options = (
        click.option(
            "--threads", callback=numbers(int), default="", metavar="LIST",
            help="Such as 1,2,4.  [1 and all cores]",
        ),
        click.option(
            "--runtime", "runtimes", multiple=True, metavar="NAME",
            help="litert, onnxruntime, torch, coreml or tensorflow; several times for several.  "
            "[all]",
        ),
        click.option(
            "--builtin-kernels", "kernels", is_flag=True,
            help="LiteRT without XNNPACK, too (slow).",
            callback=lambda _, __, asked: ("xnnpack", "builtin") if asked else ("xnnpack",),
        ),
        click.option(
            "--rounds", default=10, show_default=True, type=click.IntRange(1),
            help="Turns of each cell.",
        ),
        click.option(
            "--batch", default=0.1, show_default=True, type=click.FloatRange(0), metavar="SECONDS",
            help="Length of a turn.",
        ),
        click.option(
            "--max-seconds", default=400.0, show_default=True, help="No round begins after that."
        ),
        click.option(
            "--no-peers", "peers", is_flag=True, help="Leave out the paper's network and PGD.",
            callback=lambda _, __, left_out: not left_out,
        ),
        click.option(
            "--dit-onnx", is_flag=True,
            help="The paper's network in ONNX Runtime, too: minutes, 6 GB.",
        ),
        click.option(
            "--surrogate", default="", metavar="FILE",
            help="Encoder that PGD is timed on.  [random weights]",
        ),
        click.option(
            "--photos", "megapixels", callback=numbers(float), default="1,12,48", show_default=True,
            metavar="LIST", help="Whole photos, megapixels; '' for none.",
        ),
        click.option(
            "--photo-model", metavar="FILE|PRESET", help="What protects them.  [the first file]"
        ),
        click.option(
            "--no-profile", "profile", is_flag=True, help="Leave out the time per operator.",
            callback=lambda _, __, left_out: not left_out,
        ),
        click.option("--name", default="", help="Of this machine, for reports."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.command("run")
@click.argument("files", nargs=-1, required=True, metavar="FILE|FOLDER|PRESET...")
@output_option("bench.json")
@click.option(
    "--resolution", default=512, show_default=True, metavar="PIXELS", help="Of checkpoints."
)
@_measuring
@click.option(
    "--max-latency",
    type=float,
    metavar="SECONDS",
    help="Gate: every network, steps around it included.",
)
@click.option(
    "--max-ratio",
    "max_ratios",
    multiple=True,
    metavar="RATIO",
    help="Gate: share of the paper's network in torch, such as 1/100 or rid-s=1/300.",
)
@click.option("--int8-no-slower", is_flag=True, help="Gate: int8 in LiteRT is as fast as fp32.")
def run_command(
    files: tuple[str, ...],
    output: Path,
    resolution: int,
    max_latency: float | None,
    max_ratios: tuple[str, ...],
    int8_no_slower: bool,
    **measuring: Any,
) -> int:
    """Measure FILES on this machine: latency, memory, energy, limits, whole photos.

    Everything runs side by side in turns (A B B A), each cell in a process of its own. What was
    measured is kept in the output after every round, so an interruption loses little.
    """
    import rid_bench
    from rid_bench import claims
    from rid_core.report.terminal import progress

    for text in max_ratios:
        claims.parse_ratio(text)
    options = Options(**measuring)
    if max_ratios and not options.peers:
        raise RidError("--max-ratio needs the paper's network: leave --no-peers away")
    with progress("measuring") as bar:
        found = rid_bench.run(files, options, resolution=resolution, output=output, notify=bar.line)
    show(found)
    click.echo(f"written to {output}")
    if found.note in _INTERRUPTED:
        return _INTERRUPTED[found.note]
    verdicts = claims.gate_latency(found.cells, max_latency) if max_latency else []
    verdicts += claims.gate_ratio(found.cells, found.peers, max_ratios)
    verdicts += claims.gate_int8(found.cells) if int8_no_slower else []
    if options.runtimes and any(cell.missing for cell in found.cells):
        raise RidError("a runtime that was asked for is not installed; see above")
    return _conclude(verdicts)


def _conclude(verdicts: Sequence[GateVerdict]) -> int:
    """Print the gates' verdicts; the exit code."""
    for verdict in verdicts:
        word = {True: "passed", False: "FAILED", None: "unclear"}[verdict.passed]
        click.echo(f"{word}: {verdict.text}")
    if any(verdict.passed is False for verdict in verdicts):
        return 1
    return CANNOT_TELL if any(verdict.passed is None for verdict in verdicts) else 0
