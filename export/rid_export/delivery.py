"""What goes beside the models of a run: wrappers for apps, a JSON document and an HTML page.

``<preset>.export.json`` describes one run of ``rid-export``, refused files included. Its schema::

    schema      1
    created     ISO 8601, UTC
    version     of rid-defender
    preset, levels, weights (SHA-256), checkpoint (file name)
    machine     python, system, processor kind, versions of packages
    warnings    of the lint, one line each
    left_out    why some of what "all" stands for cannot be made with these settings, one line each
    artefacts   one object per file: target, precision, file, seconds, size in bytes, parity (per
                runtime: figures with their bounds), error (null, or why it was refused), and for
                files that exist operators with counts, the network's SHA-256, the digest of the
                calibration, unfit (null, or why not to ship it), tools with versions, sizes at
                which it was proved (height, width), the wrapper

Files are named relative to the document.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rid_core._version import __version__
from rid_core.artifact import read_metadata
from rid_core.budget import Budget
from rid_core.files import write_text
from rid_core.operators import operator_counts
from rid_core.output import suppress_output
from rid_export import report
from rid_export.codegen import write_wrapper
from rid_export.doctor import system
from rid_export.lint import lint_lines
from rid_export.loading import load_runners, target_of
from rid_export.page import Shown, Story, render
from rid_export.report import Result

if TYPE_CHECKING:
    import numpy as np

    from rid_core.runtimes.torch import TorchRuntime

SCHEMA = 1

Notify = Callable[[str], None]


def deliver(
    results: Sequence[Result],
    checkpoint: Path,
    out: Path,
    *,
    notify: Notify = lambda _: None,
    left_out: Sequence[str] = (),
) -> list[Path]:
    """Write everything that goes beside the models.

    Args:
        results: of :func:`rid_export.pipeline.export`.
        checkpoint: what they were made from.
        out: folder of the models.
        notify: called with one line per step.
        left_out: why some files were not tried, one line each.

    Returns:
        What was written: wrappers, then the document, then the page.

    Raises:
        RidError: something cannot be written.
    """
    from rid_core.runtimes.torch import TorchRuntime

    made = [result for result in results if result.error is None]
    if not made:
        return []
    notify("writing wrappers and report")
    wrappers = {result.file: write_wrapper(result.file) for result in made}
    runtime = TorchRuntime(checkpoint)
    first = read_metadata(made[0].file)
    lines = lint_lines(
        runtime.defender,
        [read_metadata(result.file).layout for result in made],
        first.resolution,
    )
    machine = system()
    document = run_document(results, wrappers) | {
        "preset": first.preset,
        "levels": first.levels,
        "weights": first.weights,
        "checkpoint": checkpoint.name,
        "machine": machine,
        "warnings": lines,
        "left_out": list(left_out),
    }
    stem = out / f"{first.preset}.export"
    target = stem.with_name(f"{stem.name}.json")
    write_text(target, json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n")
    page = stem.with_name(f"{stem.name}.html")
    with suppress_output():
        story = _story(results, made, runtime, lines, document, machine)
    write_text(page, render(story))
    return [*wrappers.values(), target, page]


def run_document(results: Sequence[Result], wrappers: dict[Path, Path]) -> dict[str, Any]:
    """The part of the document that the results alone give."""
    rows = json.loads(report.as_json(results))["artefacts"]
    for row, result in zip(rows, results, strict=True):
        row["file"] = result.file.name
        if result.error is None:
            row["operators"] = operator_counts(result.file)
            metadata = read_metadata(result.file)
            for name in ("network", "calibration", "unfit", "tools", "sizes"):
                row[name] = getattr(metadata, name)
            row["wrapper"] = wrappers[result.file].name
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"schema": SCHEMA, "created": now, "version": __version__, "artefacts": rows}


def _story(
    results: Sequence[Result],
    made: Sequence[Result],
    runtime: TorchRuntime,
    lines: Sequence[str],
    document: dict[str, Any],
    machine: dict[str, str],
) -> Story:
    from rid_export.portraits import bundled_portraits

    resolution = read_metadata(made[0].file).resolution
    portrait = bundled_portraits(resolution)[0]
    truth = runtime.run(portrait)["delta"]
    about = [
        ("made", f"{document['created']} by rid-defender {document['version']}"),
        ("checkpoint", f"{document['checkpoint']}, weights {document['weights'][:12]}"),
        ("input", f"{resolution} x {resolution} pixels"),
        *(("left out", line) for line in document["left_out"]),
        *((name, text) for name, text in machine.items() if name != "rid-defender"),
    ]
    return Story(
        preset=document["preset"],
        levels=document["levels"],
        about=about,
        warnings=lines,
        portrait=portrait,
        truth=truth,
        protected=Budget(document["levels"]).apply(portrait, truth),
        results=results,
        shown=[_show(result, portrait) for result in made],
    )


def _show(result: Result, portrait: np.ndarray) -> Shown:
    target = target_of(read_metadata(result.file), result.file)
    runner = load_runners(target, result.file)[0]
    return Shown(result, runner.name, runner.run(portrait)["delta"])
