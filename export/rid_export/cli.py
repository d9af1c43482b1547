"""``rid-export``: the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rid_core.cli.common import CONTEXT, run, version_option
from rid_core.errors import RidError

if TYPE_CHECKING:
    from rid_export.spec import ExportSpec

_EXAMPLES = """
\b
Examples:
  rid-export                                  the bundled rid-s to all targets
  rid-export --target tflite                  dist/rid-s.tflite
  rid-export --target onnx --target coreml -o out/
  rid-export --checkpoint my.safetensors --target tflite --resolution 768
  rid-export inspect dist/rid-s.tflite        what a file says of itself
"""


class _Group(click.Group):
    """A group whose usage line shows that a command is optional."""

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, "[OPTIONS] | COMMAND FILE")


@click.group(cls=_Group, invoke_without_command=True, context_settings=CONTEXT, epilog=_EXAMPLES)
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="NAME",
    help="tflite, onnx, coreml or all; may be given several times.  [default: all]",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    metavar="NAME",
    help="Of weights and activations; may be given several times.  [default: fp32]",
)
@click.option(
    "--checkpoint",
    default="rid-s",
    show_default=True,
    metavar="FILE|PRESET",
    help="A .safetensors file, or a defender that comes with the package.",
)
@click.option(
    "--resolution",
    default=512,
    show_default=True,
    metavar="PIXELS",
    help="Height and width of the input.",
)
@click.option(
    "-o",
    "--out",
    default=Path("dist"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder for the files.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@version_option
@click.pass_context
def main_command(
    ctx: click.Context,
    targets: tuple[str, ...],
    precisions: tuple[str, ...],
    checkpoint: str,
    resolution: int,
    out: Path,
    as_json: bool,
) -> int:
    """Export a defender to TFLite, ONNX and Core ML, and prove every file.

    A file gets its name only after it has run on a real portrait and agreed with the float32
    network: otherwise the reason is printed and the file that was there before stays.
    """
    if ctx.invoked_subcommand is not None:
        return 0
    from rid_core.checkpoint import find_checkpoint
    from rid_export import pipeline, report

    specs = _specs(targets or ("all",), precisions or ("fp32",), resolution)
    results = pipeline.export(specs, find_checkpoint(checkpoint), out, notify=_notify)
    click.echo(report.as_json(results) if as_json else report.table(results))
    refused = [result for result in results if result.error is not None]
    for result in refused:
        click.echo(f"error: {result.file}: {result.error}", err=True)
    return 1 if refused else 0


def _specs(
    targets: tuple[str, ...], precisions: tuple[str, ...], resolution: int
) -> list[ExportSpec]:
    from rid_export.registry import get_target, list_targets
    from rid_export.spec import ExportSpec

    names: list[str] = []
    for target in targets:
        names += list_targets() if target == "all" else [target]
    pairs = [(name, precision) for name in names for precision in precisions]
    specs = [
        ExportSpec(target=name, precision=precision, resolution=resolution)
        for name, precision in dict.fromkeys(pairs)
    ]
    for spec in specs:
        get_target(spec.target).check(spec)
    return specs


def _notify(line: str) -> None:
    click.echo(f"  {line}", err=True)


@main_command.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the metadata as JSON.")
def inspect(file: Path, as_json: bool) -> int:
    """Show what an exported FILE says of itself, and whether it is as it was exported.

    Needs none of the converters.
    """
    from rid_core.artifact import FORMATS, check_digest, payload_size, read_metadata

    metadata = read_metadata(file)
    try:
        check_digest(file, metadata)
        problem = None
    except RidError as error:
        problem = str(error)
    if as_json:
        click.echo(metadata.to_json())
    else:
        rows: list[tuple[str, Any]] = [
            ("file", f"{file} ({payload_size(file) / 1e6:.2f} MB, {FORMATS[metadata.format]})"),
            ("defender", f"{metadata.preset}, weights {metadata.weights[:12]}"),
            ("bound", f"{metadata.levels} levels of 255"),
            ("precision", metadata.precision),
        ]
        for kind, infos in (("input", metadata.inputs), ("output", metadata.outputs)):
            rows += [
                (kind, f"{i.name}: {i.dtype} {list(i.shape)} in [{i.low:g}, {i.high:g}]")
                for i in infos
            ]
        for entry in metadata.parity:
            figures = ", ".join(f"{check.name} {check.value:.6g}" for check in entry.checks)
            rows.append(("measured", f"{entry.runtime}: {figures}"))
        tools = ", ".join(f"{name} {version}" for name, version in metadata.tools.items())
        rows += [
            ("made", f"{metadata.created} by rid-defender {metadata.version} ({tools})"),
            ("licence", metadata.licence),
        ]
        for name, text in rows:
            click.echo(f"{name:<10} {text}")
    if problem is not None:
        raise RidError(problem)
    return 0


def main() -> Any:
    """Entry point of the console script."""
    return run(main_command)
