"""Sub-commands of ``rid-export``: what looks at files instead of making them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rid_core.cli.common import CONTEXT
from rid_core.errors import RidError
from rid_export.publish import publish

if TYPE_CHECKING:
    from rid_core.artifact import ArtifactMetadata
    from rid_export.doctor import Diagnosis
    from rid_export.lint import Finding
    from rid_export.loading import DefenderComparison, OpenedArtefact

SCHEMA = 1
"""Of what ``--json`` prints."""

_FILE = click.Path(path_type=Path)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def _examples(*lines: str) -> str:
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def _print_json(document: dict[str, Any]) -> None:
    click.echo(json.dumps({"schema": SCHEMA} | document, indent=2, allow_nan=False))


def _print_rows(rows: Sequence[tuple[str, str]]) -> None:
    from rid_core.report import Column, Table, terminal

    click.echo(terminal.text(Table("", ["", Column("", words=True)], rows)))


def _counted(operators: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in operators.items()) or "none"


# -- inspect -------------------------------------------------------------------------------------


@click.command(
    context_settings=CONTEXT,
    epilog=_examples(
        "rid-export inspect dist/rid-s.tflite",
        "rid-export inspect dist/rid-s.mlpackage --json | jq .operators",
    ),
)
@click.argument("file", type=_FILE)
@_json_option
def inspect(file: Path, as_json: bool) -> int:
    """Show what an exported FILE says of itself, and whether it is as it was exported.

    Metadata, inputs and outputs, size, operators with counts. Needs none of the converters.
    """
    from rid_core.artifact import check_digest, payload_size, read_metadata
    from rid_core.operators import operator_counts

    metadata = read_metadata(file)
    operators = operator_counts(file)
    size = payload_size(file)
    try:
        check_digest(file, metadata)
        problem = None
    except RidError as error:
        problem = str(error)
    if as_json:
        document = {"file": str(file), "bytes": size, "problem": problem, "operators": operators}
        _print_json(document | {"metadata": json.loads(metadata.to_json())})
    else:
        _print_rows(_inspect_rows(file, metadata, size, operators))
    if problem is not None:
        raise RidError(problem)
    return 0


def _inspect_rows(
    file: Path, metadata: ArtifactMetadata, size: int, operators: dict[str, int]
) -> list[tuple[str, str]]:
    from rid_core.artifact import FORMATS

    rows = [
        ("file", f"{file} ({size / 1e6:.2f} MB, {FORMATS[metadata.format]})"),
        ("defender", f"{metadata.preset}, weights {metadata.weights[:12]}"),
        ("bound", f"{metadata.levels} levels of 255"),
        ("precision", metadata.precision),
        ("size", _sizes(metadata)),
    ]
    if metadata.sizes:
        rows.append(("proved at", _listed(metadata.sizes)))
    for kind, infos in (("input", metadata.inputs), ("output", metadata.outputs)):
        for info in infos:
            text = f"{info.name}: {info.dtype} {list(info.shape)} in [{info.low:g}, {info.high:g}]"
            if info.scale is not None:
                text += f", (stored - {info.zero_point}) * {info.scale:.6g}"
            rows.append((kind, text))
    rows.append(("operators", _counted(operators)))
    if metadata.calibration is not None:
        rows.append(("calibrated", f"on images with digest {metadata.calibration[:12]}"))
    if metadata.float_layers:
        rows.append(("in float", ", ".join(metadata.float_layers)))
    if metadata.unfit is not None:
        rows.append(("unfit", metadata.unfit))
    for entry in metadata.parity:
        figures = ", ".join(f"{check.name} {check.value:.6g}" for check in entry.checks)
        rows.append(("measured", f"{entry.runtime}: {figures}"))
    tools = ", ".join(f"{name} {version}" for name, version in metadata.tools.items())
    return [
        *rows,
        ("made", f"{metadata.created} by rid-defender {metadata.version} ({tools})"),
        ("licence", metadata.licence),
    ]


def _sizes(metadata: ArtifactMetadata) -> str:
    size = f"{metadata.resolution} x {metadata.resolution} pixels"
    if metadata.dynamic:
        size = f"any multiple of {metadata.stride} pixels"
    return f"{size}, {metadata.layout}, {metadata.colour}"


def _listed(sizes: tuple[tuple[int, int], ...]) -> str:
    """``512 x 512, 16 x 16 pixels``, height first."""
    return f"{', '.join(f'{height} x {width}' for height, width in sizes)} pixels"


# -- doctor --------------------------------------------------------------------------------------


@click.command(
    context_settings=CONTEXT,
    epilog=_examples("rid-export doctor", "rid-export doctor --json"),
)
@_json_option
def doctor(as_json: bool) -> int:
    """Say what each target needs, what is missing, and the pip line that brings it.

    Every converter is imported once, in a process of its own: half a minute. The exit code is 1 if
    a target cannot be used.
    """
    from rid_export.doctor import examine_all, options, system

    about = system()
    found = examine_all()
    optional = options()
    if as_json:
        document = {"system": about, "targets": [dataclasses.asdict(entry) for entry in found]}
        _print_json(document | {"optional": [dataclasses.asdict(entry) for entry in optional]})
    else:
        rows = list(about.items())
        for diagnosis in found:
            rows += _doctor_rows(diagnosis)
        rows.append(("", ""))
        for option in optional:
            rows.append(("optional", f"{option.name}: {option.missing or 'ready'}"))
            if option.remedy:
                rows.append(("  fix", option.remedy))
        _print_rows(rows)
    return 1 if any(diagnosis.problem for diagnosis in found) else 0


def _doctor_rows(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    packages = ", ".join(f"{p.name} {p.version or 'missing'}" for p in diagnosis.packages)
    rows = [("", ""), (diagnosis.target, diagnosis.problem or "ready"), ("  has", packages)]
    if diagnosis.remedy:
        rows.append(("  fix", diagnosis.remedy))
    return rows


# -- verify --------------------------------------------------------------------------------------


@click.command(
    context_settings=CONTEXT,
    epilog=_examples(
        "rid-export verify dist/rid-s.int8.tflite",
        "rid-export verify my.onnx --against my.safetensors",
    ),
)
@click.argument("file", type=_FILE)
@click.option(
    "--against",
    metavar="CHECKPOINT|PRESET",
    help="What it was made from.  [default: the bundled preset that its metadata names]",
)
@_json_option
def verify(file: Path, against: str | None, as_json: bool) -> int:
    """Put an exported FILE through the gate again, in every runtime that this machine has.

    Digest, metadata and figures are held against the checkpoint; the first that does not fit is
    printed with its likely cause, and the exit code is 1.
    """
    from rid_core.output import suppress_output
    from rid_core.report import Column, Table, terminal
    from rid_export.verification import verify as run_gate

    try:
        with suppress_output():
            done = run_gate(file, against)
    except RidError as error:
        if as_json:
            _print_json({"file": str(file), "passed": False, "problem": str(error)})
        raise
    if as_json:
        _print_json(
            {
                "file": str(file),
                "passed": True,
                "checkpoint": str(done.checkpoint),
                "sizes": done.sizes,
                "parity": [dataclasses.asdict(entry) for entry in done.parity],
            }
        )
        return 0
    click.echo(f"{file} agrees with {done.checkpoint} at {_listed(done.sizes)}")
    words = {"min": "at least", "max": "at most"}
    columns = ("figure", Column("value", form=".6g"), Column("bound", words=True))
    for entry in done.parity:
        rows = [(c.name, c.value, f"{words[c.sense]} {c.bound:g}") for c in entry.checks]
        title = f"{entry.runtime}, {entry.portraits} portrait(s)"
        click.echo(terminal.text(Table(title, columns, rows)))
    return 0


# -- compare -------------------------------------------------------------------------------------


@click.command(
    context_settings=CONTEXT,
    epilog=_examples(
        "rid-export compare dist/rid-s.tflite dist/rid-s.int8.tflite",
        "rid-export compare my.safetensors my.onnx",
        "rid-export compare rid-s dist/rid-s.mlpackage --json",
    ),
)
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@_json_option
def compare(first: str, second: str, as_json: bool) -> int:
    """Compare the perturbations of A and B on the gate's portraits.

    Each is a checkpoint, an exported file or a bundled preset; A is the reference.
    """
    from rid_core.output import suppress_output
    from rid_export.loading import compare_files

    with suppress_output():
        found = compare_files(first, second)
    if as_json:
        _print_json(
            {
                "resolution": found.resolution,
                "portraits": found.portraits,
                "a": _side(found.first),
                "b": _side(found.second),
                "delta": dataclasses.asdict(found.delta)
                | {"max_error_levels": found.max_error_levels},
            }
        )
        return 0
    _print_rows(_compare_rows(found))
    return 0


def _side(loaded: OpenedArtefact) -> dict[str, Any]:
    names = ("kind", "preset", "levels", "weights", "operators")
    side = {name: getattr(loaded, name) for name in names}
    return {"file": str(loaded.path), "bytes": loaded.size, "runtime": loaded.runner.name} | side


def _compare_rows(found: DefenderComparison) -> list[tuple[str, str]]:
    rows = []
    for name, side in (("A", found.first), ("B", found.second)):
        about = f"{side.kind}, {side.size / 1e6:.2f} MB, {side.preset}, {side.levels} levels"
        rows += [(name, f"{side.path} ({about})"), ("  runs in", side.runner.name)]
        if side.operators:
            rows.append(("  operators", _counted(side.operators)))
    if found.first.weights != found.second.weights:
        rows.append(("note", "they were made from different weights"))
    delta = found.delta
    return [
        *rows,
        ("", ""),
        ("delta of B", f"against A, {found.portraits} portrait(s) at {found.resolution} pixels"),
        ("  SQNR", f"{delta.sqnr_db:.1f} dB"),
        ("  cosine", f"{delta.cosine:.6f}"),
        ("  sign", f"{100 * delta.sign_agreement:.2f} % agree where A is above one level"),
        ("  max error", f"{delta.max_error:.3g}, or {found.max_error_levels:.3g} levels"),
    ]


# -- lint ----------------------------------------------------------------------------------------


@click.command(
    context_settings=CONTEXT,
    epilog=_examples(
        "rid-export lint --preset rid-dit",
        "rid-export lint --checkpoint my.safetensors --target tflite",
    ),
)
@click.option("--preset", metavar="NAME", help="A defender without its weights.  [default: rid-s]")
@click.option("--checkpoint", type=_FILE, help="A .safetensors file.")
@click.option(
    "--target", "targets", multiple=True, metavar="NAME", help="Only for these.  [default: all]"
)
@click.option(
    "--resolution",
    default=512,
    show_default=True,
    metavar="PIXELS",
    help="Height and width of the input; operators can depend on it.",
)
@_json_option
def lint(
    preset: str | None,
    checkpoint: Path | None,
    targets: tuple[str, ...],
    resolution: int,
    as_json: bool,
) -> int:
    """Name operators that a phone's GPU or NPU will leave to the CPU, and what to use instead.

    Needs no converter. Findings are advice: the exit code is 0.
    """
    from rid_core.checkpoint import find_checkpoint
    from rid_core.output import suppress_output
    from rid_export.lint import lint_checkpoint, lint_preset
    from rid_export.registry import get_target, list_targets

    if preset and checkpoint:
        raise click.UsageError("give --preset or --checkpoint, not both")
    layouts = [get_target(name).layout for name in targets or list_targets()]
    with suppress_output():
        if checkpoint is not None:
            findings = lint_checkpoint(find_checkpoint(checkpoint), layouts, resolution)
        else:
            findings = lint_preset(preset or "rid-s", layouts, resolution)
    subject = str(checkpoint or preset or "rid-s")
    if as_json:
        _print_json({"subject": subject, "findings": [finding.to_dict() for finding in findings]})
        return 0
    print_findings(findings)
    if not findings:
        click.echo(f"{subject}: nothing that a delegate is known to refuse")
    return 0


def print_findings(findings: list[Finding], *, err: bool = False) -> None:
    """One line each."""
    for finding in findings:
        click.echo(f"warning: {finding.line()}", err=err)


COMMANDS = (inspect, doctor, verify, compare, lint, publish)
"""All of them, for the group."""
