"""``rid-export``: the command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rid_core.cli.common import CONTEXT, OptionalCommandGroup, run, version_option
from rid_core.errors import MissingExtraError, RidError
from rid_export.commands import COMMANDS

if TYPE_CHECKING:
    from rid_core.report.terminal import Bar
    from rid_export.pipeline import Job, Stage
    from rid_export.spec import ExportSpec

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
    help="tflite, onnx, coreml, or all that can be written so; may be given several times.  "
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
    "io_type",
    default="float32",
    show_default=True,
    metavar="float32|uint8",
    help="Type of image and protected, 0..1 or 0..255; delta is always a float.",
)
@click.option(
    "--outputs",
    default="protected,delta",
    show_default=True,
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
    resolution: int,
    layout: str,
    io_type: str,
    outputs: str,
    dynamic: bool,
    calib: str,
    calib_samples: int,
    allow_noise: bool,
    portraits: Path | None,
    surrogate: Path | None,
    out: Path,
    bare: bool,
    as_json: bool,
) -> int:
    """Export a defender to TFLite, ONNX and Core ML, and prove every file.

    A file gets its name only after it has run on a real portrait and agreed with the float32
    network: otherwise the reason is printed and the file that was there before stays. Beside it go
    a typed wrapper for apps (Kotlin or Swift) and a report of the run (HTML and JSON).
    """
    if ctx.invoked_subcommand is not None:
        return 0
    from rid_core.checkpoint import find_checkpoint
    from rid_core.report import terminal
    from rid_export import delivery, pipeline, report

    specs, left_out = _specs(
        targets or ("all",),
        precisions or ("fp32",),
        resolution=resolution,
        layout=layout,
        io=io_type,
        outputs=tuple(name.strip() for name in outputs.split(",") if name.strip()),
        dynamic=dynamic,
        calib=calib,
        calib_samples=calib_samples,
        allow_noise=allow_noise,
    )
    source = find_checkpoint(checkpoint)
    with terminal.progress("exporting", len(specs) * len(pipeline.STAGES) + 1) as bar:

        def notify(line: str) -> None:
            bar.line(f"  {line}")

        results = pipeline.export(
            *(specs, source, out),
            notify=notify,
            stages=_counted(pipeline.STAGES, bar),
            portraits=portraits,
            surrogate=surrogate,
        )
        if not bare:
            delivery.deliver(results, source, out, notify=notify, left_out=left_out)
    shown = report.as_json(results, left_out) if as_json else terminal.text(report.table(results))
    click.echo(shown)
    for line in left_out:
        click.echo(f"left out: {line}", err=True)
    refused = [result for result in results if result.error is not None]
    for result in refused:
        click.echo(f"error: {result.file}: {result.error}", err=True)
    return 1 if refused else 0


def _specs(
    targets: tuple[str, ...], precisions: tuple[str, ...], **settings: Any
) -> tuple[list[ExportSpec], list[str]]:
    """What to make, and of what ``all`` stands for why some cannot be made so, one line each."""
    from rid_export.registry import get_target, list_targets
    from rid_export.spec import ExportSpec

    wanted: dict[tuple[str, str], bool] = {}  # whether it was named itself
    for target in targets:
        for name in list_targets() if target == "all" else [target]:
            for precision in precisions:
                every = get_target(name).precisions if precision == "all" else (precision,)
                for each in every:
                    named = "all" not in (target, precision)
                    wanted[name, each] = wanted.get((name, each), False) or named
    specs = []
    left_out = []
    for (name, precision), named in wanted.items():
        spec = ExportSpec(target=name, precision=precision, **settings)
        try:
            get_target(name).check(spec)
        except MissingExtraError:
            raise
        except RidError as error:
            if named:
                raise
            left_out.append(str(error))
        else:
            specs.append(spec)
    if not specs:
        raise RidError("; ".join(left_out))
    return specs, left_out


def _counted(stages: Sequence[Stage], bar: Bar) -> list[Stage]:
    """The stages, each of which moves the bar on; those that a refused file skips move it too."""

    def counted(stage: Stage, left: int) -> Stage:
        def run(job: Job) -> None:
            try:
                stage.run(job)
            except BaseException:
                bar.advance(left)
                raise
            bar.advance()

        return dataclasses.replace(stage, run=run)

    return [counted(stage, len(stages) - done) for done, stage in enumerate(stages)]


for _command in COMMANDS:
    main_command.add_command(_command)


def main() -> Any:
    """Entry point of the console script."""
    return run(main_command)
