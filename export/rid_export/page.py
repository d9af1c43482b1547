"""The report of a folder of exported files, as the blocks of one page."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rid_core.report import Column, Facts, Figure, Image, Items, Report, Section, Table, plots
from rid_core.report.pictures import amplified, photo
from rid_export.report import Result

_SIDE = 384
_MAP_SIDE = 320
_LOW, _HIGH = -6.0, 1.0
"""Range of the error scales: powers of ten, in 8-bit levels."""
_EDGES = np.linspace(_LOW, _HIGH, 71)
_COLOURS = "inferno"


@dataclass(frozen=True)
class Errors:
    """How far a file's perturbation of a portrait is from the float32 network's, in 8-bit levels.

    Attributes:
        runtime: that ran the file.
        median: of all values.
        high: 99 % are below.
        worst: the largest.
        exact: share of values that are equal.
        counts: how many values lie in each of 70 bins from 1e-6 to 10 levels, logarithmic; those
            beyond are in the first and last.
        map_jpeg: the largest error of each pixel as a colour, Base64.
        map_side: height and width of it in pixels.
    """

    runtime: str
    median: float
    high: float
    worst: float
    exact: float
    counts: tuple[int, ...]
    map_jpeg: str
    map_side: int

    @classmethod
    def measure(cls, runtime: str, truth: np.ndarray, delta: np.ndarray, levels: int) -> Errors:
        """Compare two unit perturbations [side, side, 3] of a bound in levels."""
        from matplotlib import colormaps

        error = np.abs(delta.astype(np.float64) - truth) * levels
        decades = np.log10(error.clip(10**_LOW, 10**_HIGH))
        median, high, worst = (float(value) for value in np.quantile(error, (0.5, 0.99, 1)))
        place = (decades.max(axis=2) - _LOW) / (_HIGH - _LOW)
        picture = photo(colormaps[_COLOURS](place)[..., :3], _MAP_SIDE)
        return cls(
            runtime,
            median,
            high,
            worst,
            exact=float((error <= 10**_LOW).mean()),
            counts=tuple(int(count) for count in np.histogram(decades, _EDGES)[0]),
            map_jpeg=base64.b64encode(picture.data).decode(),
            map_side=picture.width,
        )

    def figures(self, name: str) -> Iterator[Figure]:
        """The map and the histogram; a first bar that would hide the others is cut off."""
        picture = Image(base64.b64decode(self.map_jpeg), "jpeg", self.map_side, self.map_side)
        yield Figure(name, picture, self.runtime)
        rest = max(self.counts[1:])
        cut = " (the first bar, cut off)" if self.counts[0] > rest > 0 else ""
        note = (
            f"median {self.median:.2g}, 99 % below {self.high:.2g}, largest {self.worst:.2g} "
            f"levels; {self.exact:.0%} are exact{cut}"
        )
        axis = plots.Axis("levels", 10**_LOW, 10**_HIGH, logarithmic=True)
        edges = [float(edge) for edge in 10**_EDGES]
        plot = plots.histogram(
            self.counts, edges, axis, f"errors of {name}", top=rest or None, mark=0.5, height=340
        )
        yield Figure(f"Errors of {name}", plot, note)


@dataclass(frozen=True)
class Entry:
    """One file as its latest export left it.

    Attributes:
        result: of that export; its file is relative to the report.
        created: when that was, ISO 8601.
        errors: on one portrait; None if the file was refused.
    """

    result: Result
    created: str
    errors: Errors | None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Entry:
        """Of an object of the report's JSON.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        errors = row["errors"]
        if errors is not None:
            errors = Errors(**{**errors, "counts": tuple(errors["counts"])})
        return cls(Result.from_row(row), str(row["created"]), errors)

    def to_row(self) -> dict[str, Any]:
        """The object of the report's JSON."""
        row = self.result.to_row() | {"created": self.created}
        return row | {"errors": None if self.errors is None else asdict(self.errors)}


def build(
    preset: str,
    levels: int,
    entries: Sequence[Entry],
    pictures: Mapping[str, np.ndarray],
    *,
    warnings: Sequence[str],
    about: Sequence[tuple[str, str]],
) -> Report:
    """The page.

    Args:
        preset: name of the defender.
        levels: its bound.
        entries: all files of the folder, refused ones included.
        pictures: ``original`` and ``protected``, float32 [H, W, 3] in [0, 1], and ``delta``, the
            unit perturbation.
        warnings: of the lint, one line each.
        about: facts about the latest run, name and text.
    """
    results = [entry.result for entry in entries]
    passed = sum(result.error is None for result in results)
    refused = [f"{r.file.name} was refused: {r.error}" for r in results if r.error is not None]
    delta = amplified(pictures["delta"])
    scale = plots.Axis("levels", 10**_LOW, 10**_HIGH, logarithmic=True)
    remarks = [f"{result.file.name}: {line}" for result in results for line in _remarks(result)]
    return Report(
        f"{preset}: export report",
        f"{passed} of {len(results)} files passed the gate; the bound is {levels} of 255 levels.",
        [
            _files(entries),
            Items("Refused", refused),
            Section(
                "One portrait",
                [
                    Figure("original", photo(pictures["original"], _SIDE)),
                    Figure(f"protected, {levels} levels", photo(pictures["protected"], _SIDE)),
                    Figure(
                        f"perturbation, amplified {127.5 / levels:.0f} times", photo(delta, _SIDE)
                    ),
                ],
            ),
            Section(
                "Errors of the perturbation against float32",
                [
                    "In 8-bit levels, on one logarithmic scale for all files. Left of the dashed "
                    "line, at half a level, an error cannot be seen in a saved photo except by "
                    "rounding.",
                    *(
                        figure
                        for entry in entries
                        if entry.errors is not None
                        for figure in entry.errors.figures(entry.result.file.name)
                    ),
                    Items("Remarks", remarks),
                    *(table for result in results for table in _layers(result)),
                    "The colours of the maps:",
                    Figure("Error map", plots.colour_scale(_COLOURS, scale, "colours of errors")),
                ],
            ),
            Section(
                "Operators",
                [Items("", warnings)]
                if warnings
                else ["No operator that a phone's GPU or NPU is known to refuse."],
            ),
            Section("The latest run", [Facts(about)]),
        ],
    )


def _files(entries: Sequence[Entry]) -> Table:
    columns = (
        "file",
        Column("gate", words=True),
        Column("size", "MB", ".2f"),
        Column("time", "s", ".1f"),
        Column("SQNR", "dB", ".1f"),
        Column("cosine", "", ".6f"),
        Column("signs agree", "", ".2%"),
        Column("largest change", "levels", ".2f"),
        Column("exported", "UTC", words=True),
    )
    names = ("delta_sqnr_db", "delta_cosine", "delta_sign_agreement", "change_levels")
    rows = [
        [
            result.file.name,
            "✓ passed" if result.error is None else "✗ refused",
            result.size / 1e6 if result.error is None else None,
            result.seconds,
            *(result.figure(name) for name in names),
            entry.created[:16].replace("T", " "),
        ]
        for entry in entries
        for result in [entry.result]
    ]
    note = (
        "SQNR, cosine and signs compare the perturbation itself with the float32 network's, never "
        "the image; each is the worst over the gate's portraits and runtimes. The time is that of "
        "conversion and gate on the machine that exported the file, not of a phone."
    )
    return Table("Files", columns, rows, note)


def _remarks(result: Result) -> Iterator[str]:
    yield from result.remarks
    notes = result.notes
    if notes is not None and notes.idle_layers:
        yield f"in float, as 8 bits are no faster there: {', '.join(notes.idle_layers)}"
    if notes is not None and notes.float_layers:
        before, after = notes.before["delta_sqnr_db"], notes.after["delta_sqnr_db"]
        names = ", ".join(notes.float_layers)
        yield f"kept in float: {names} ({before:.1f} dB before, {after:.1f} after)"


def _layers(result: Result) -> Iterator[Table]:
    """What quantization did to every layer; nothing if nothing was quantized."""
    notes = result.notes
    if notes is None or not notes.layers:
        return
    worst = max(notes.layers, key=lambda row: row.added)
    yield Table(
        f"{result.file.name}: {len(notes.layers)} layers, the noisiest {worst.name}",
        ["layer", Column("SQNR", "dB", ".1f"), Column("SQNR of its input", "dB", ".1f")],
        [
            [
                f"{row.name}{' (float)' if row.name in notes.in_float else ''}",
                row.sqnr_db,
                row.inputs_db,
            ]
            for row in notes.layers
        ],
        folded=True,
    )
