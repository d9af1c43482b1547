"""What goes beside the models of a run: wrappers for apps, a JSON document and an HTML page.

``<preset>.export.json`` describes the files of a folder: those of the latest run, refused ones
included, and those of earlier runs that still lie there unchanged. Its schema::

    schema      2
    preset
    artefacts   one object per file: target, precision, file, seconds, size in bytes, created (ISO
                8601, UTC), parity (per runtime: figures with their bounds), error (null, or why it
                was refused), and for files that exist errors on one portrait, operators with
                counts, levels, weights and network (SHA-256), the digest of the calibration, unfit
                (null, or why not to ship it), tools with versions, sizes at which it was proved
                (height, width), the wrapper
    created, version, levels, weights, checkpoint (file name)
                of the latest run, as is what follows
    machine     python, system, processor kind, versions of packages
    warnings    of the lint, one line each
    left_out    why some of what "all" stands for cannot be made with these settings, one line each

Files are named relative to the document.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rid_core._version import __version__
from rid_core.artifact import read_metadata
from rid_core.budget import Budget
from rid_core.errors import RidError
from rid_core.files import write_text
from rid_core.operators import operator_counts
from rid_core.output import suppress_output
from rid_export.codegen import write_wrapper
from rid_export.doctor import system
from rid_export.lint import lint_lines
from rid_export.loading import load_runners, target_of
from rid_export.page import Entry, Errors, build
from rid_export.portraits import bundled_portraits
from rid_export.report import Result

if TYPE_CHECKING:
    import numpy as np

SCHEMA = 2

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
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    wrappers = {result.file.name: write_wrapper(result.file) for result in made}
    runtime = TorchRuntime(checkpoint)
    first = read_metadata(made[0].file)
    with suppress_output():
        portrait = bundled_portraits(first.resolution)[0]
        truth = runtime.run(portrait)["delta"]
        fresh = [_row(result, now, wrappers, portrait, truth) for result in results]
    stem = out / f"{first.preset}.export"
    target, page = (stem.with_name(stem.name + suffix) for suffix in (".json", ".html"))
    # In the order in which they first came.
    rows = list({row["file"]: row for row in (*_earlier(target), *fresh)}.values())
    layouts = [read_metadata(out / row["file"]).layout for row in rows if row["error"] is None]
    machine = system()
    warnings = lint_lines(runtime.defender, layouts, first.resolution)
    document = {
        "schema": SCHEMA,
        "preset": first.preset,
        "artefacts": rows,
        "created": now,
        "version": __version__,
        "levels": first.levels,
        "weights": first.weights,
        "checkpoint": checkpoint.name,
        "machine": machine,
        "warnings": warnings,
        "left_out": list(left_out),
    }
    write_text(target, json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n")
    build(
        first.preset,
        first.levels,
        [Entry.from_row(row) for row in rows],
        {
            "original": portrait,
            "protected": Budget(first.levels).apply(portrait, truth),
            "delta": truth,
        },
        warnings=warnings,
        about=[
            ("made", f"{now} by rid-defender {__version__}"),
            ("checkpoint", f"{checkpoint.name}, weights {first.weights[:12]}"),
            ("input", f"{first.resolution} x {first.resolution} pixels"),
            *(("left out", line) for line in left_out),
            *((name, text) for name, text in machine.items() if name != "rid-defender"),
        ],
    ).write(page)
    return [*wrappers.values(), target, page]


def _row(
    result: Result,
    now: str,
    wrappers: dict[str, Path],
    portrait: np.ndarray,
    truth: np.ndarray,
) -> dict[str, Any]:
    """A file's object in the document."""
    here = dataclasses.replace(result, file=Path(result.file.name))
    if result.error is not None:
        return Entry(here, now, None).to_row()
    metadata = read_metadata(result.file)
    runner = load_runners(target_of(metadata, result.file), result.file)[0]
    delta = runner.run(portrait)["delta"]
    row = Entry(here, now, Errors.measure(runner.name, truth, delta, metadata.levels)).to_row()
    names = ("levels", "weights", "network", "calibration", "unfit", "tools", "sizes")
    return row | {
        **{name: getattr(metadata, name) for name in names},
        "operators": operator_counts(result.file),
        "wrapper": wrappers[here.file.name].name,
    }


def _earlier(document: Path) -> list[dict[str, Any]]:
    """Objects of earlier runs that still hold: of refused files, and of those that lie unchanged.

    What is no document of this schema counts as none.
    """
    try:
        found = json.loads(document.read_text())
        rows = found["artefacts"] if found["schema"] == SCHEMA else []
        for row in rows:
            Entry.from_row(row)
        return [row for row in rows if _holds(row, document.parent)]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _holds(row: dict[str, Any], folder: Path) -> bool:
    try:
        return bool(row["error"] or read_metadata(folder / row["file"]).network == row["network"])
    except RidError:
        return False
