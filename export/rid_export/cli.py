"""``rid-export``: the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

import click

from rid_core.cli.common import CONTEXT, OptionalCommandGroup, run, version_option
from rid_export.api import Settings, export
from rid_export.commands import COMMANDS

_EXAMPLES = """
\b
Examples:
  rid-export                                  the bundled rid-s to all targets
  rid-export --target tflite                  dist/rid-s.tflite
  rid-export --target onnx --target coreml -o out/
  rid-export --target tflite --precision int8 --calib photos/
  rid-export --target onnx --dynamic          dist/rid-s.dynamic.onnx, for photos of any size
  rid-export --io uint8 --precision all       bytes in and out, in every precision that can be
  rid-export --checkpoint my.safetensors --target tflite --resolution 768
  rid-export inspect dist/rid-s.tflite        what a file says of itself
  rid-export doctor                           what is installed, what is missing
"""


def _output_names(_ctx: click.Context, _option: click.Parameter, text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


@click.group(
    cls=OptionalCommandGroup,
    invoke_without_command=True,
    context_settings=CONTEXT,
    epilog=_EXAMPLES,
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="NAME",
    help="tflite, onnx, coreml, executorch, or all that can be written so; may be given "
    "several times.  "
    "[default: all]",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    metavar="NAME",
    help="fp32, fp16, w8 and pal8 (small weights), w8a16 and int8 (integer activations too), or "
    "all that the target has; may be given several times.  [default: fp32]",
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
    help="Height and width of the input, a multiple of 16; attackers scale photos to 512.",
)
@click.option(
    "--layout",
    default="",
    metavar="nhwc|nchw",
    help="Order of axes of image, protected and delta.  [default: what the target likes best]",
)
@click.option(
    "--io",
    default="float32",
    show_default=True,
    metavar="float32|uint8",
    help="Type of image and protected, 0..1 or 0..255; delta is always a float.",
)
@click.option(
    "--outputs",
    default="protected,delta",
    show_default=True,
    callback=_output_names,
    metavar="NAMES",
    help="What the network gives: delta, the perturbation, and protected, the finished image; the "
    "latter may be left out.",
)
@click.option(
    "--dynamic",
    is_flag=True,
    help="Take any height and width that are multiples of 16 (ONNX); proved at nine sizes.",
)
@click.option(
    "--calib",
    default="",
    metavar="DIR",
    help="Photos to calibrate integer activations on.  [default: views of the bundled portraits]",
)
@click.option(
    "--calib-samples",
    default=128,
    show_default=True,
    metavar="N",
    help="How many images to calibrate on; 128 are plenty.",
)
@click.option("--allow-noise", is_flag=True, help="Let --calib be 'noise'; the file is unfit then.")
@click.option(
    "--portraits",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="At least 8 photos to measure the files on.  [default: 8 views of 2 portraits]",
)
@click.option(
    "--surrogate",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A tiny autoencoder's encoder, to measure the effect that is left as well.",
)
@click.option(
    "-o",
    "--out",
    default=Path("dist"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder for the files; their names say what is not the default.",
)
@click.option("--bare", is_flag=True, help="Only the models: no wrappers for apps, no report.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@version_option
@click.pass_context
def main_command(
    ctx: click.Context,
    targets: tuple[str, ...],
    precisions: tuple[str, ...],
    checkpoint: str,
    portraits: Path | None,
    surrogate: Path | None,
    out: Path,
    bare: bool,
    as_json: bool,
    **settings: Unpack[Settings],
) -> int:
    """Export a defender to TFLite, ONNX and Core ML, and prove every file.

    A file gets its name only after it has run on a real portrait and agreed with the float32
    network: otherwise the reason is printed and the file that was there before stays. Beside it go
    a typed wrapper for apps (Kotlin or Swift) and a report of the run (HTML and JSON).
    """
    if ctx.invoked_subcommand is not None:
        return 0
    from rid_core.report import terminal
    from rid_export import report

    with terminal.progress("exporting") as bar:
        results = export(
            checkpoint,
            targets=targets or "all",
            precisions=precisions or "fp32",
            output=out,
            portraits=portraits,
            surrogate=surrogate,
            beside=not bare,
            notify=lambda line: bar.line(f"  {line}"),
            progress=lambda done, total: bar.update(done=done, total=total),
            **settings,
        )
    table = terminal.text(report.table(results))
    click.echo(report.as_json(results, results.left_out) if as_json else table)
    for line in results.left_out:
        click.echo(f"left out: {line}", err=True)
    refused = [result for result in results if result.error is not None]
    for result in refused:
        click.echo(f"error: {result.file}: {result.error}", err=True)
    return 1 if refused else 0


for _command in COMMANDS:
    main_command.add_command(_command)


def main() -> Any:
    """Entry point of the console script."""
    return run(main_command)
