"""Plots of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rid_bench.endtoend import linearity
from rid_bench.portable.records import Measured, MeasuredPhoto, Profile, Run, label, measured
from rid_bench.portable.timing import threads_text
from rid_bench.report import figures, tables
from rid_core.report import Figure, duration, size
from rid_core.report.plots import Axis, Bar, Line, Point, bars, chart

_ROOFLINE_KEY = (
    " A point's area is its share of the time, orange are depthwise; those above the slope work "
    "from the caches."
)


def of_run(run: Run, runs: Sequence[Run]) -> list[Figure]:
    """All plots that the run has figures for."""
    found = (
        _latency(run),
        _peers(run),
        _speed_fidelity(run, runs),
        *_rooflines(run),
        _megapixels(run),
        _memory(run),
    )
    return [figure for figure in found if figure is not None]


def _latency(run: Run) -> Figure | None:
    cells = sorted(measured(run.cells), key=lambda cell: cell.total.median)
    items = [
        Bar(
            _full_label(cell),
            cell.total.median,
            high=cell.total.p90,
            note="(?)" if cell.doubt else "",
            accent=(cell.runtime_key or cell.format) in ("litert", "TFLite"),
        )
        for cell in cells
    ]
    if not items:
        return None
    return Figure(
        "Latency of one tile",
        bars(items, "latency", duration),
        "median, pre- and post-processing included; the thin line ends at 90 %",
    )


def _full_label(cell: Measured, *, threads: bool = True) -> str:
    """The runtime is named where a format has another than its usual one."""
    other = ", TensorFlow" if cell.runtime_key == "tensorflow" else ""
    return label(cell, threads=threads) + other


def _peers(run: Run) -> Figure | None:
    threads = figures.threads_of(run)
    rows = figures.comparison(run, threads[0]) if threads and run.peers else []
    if not rows:
        return None
    items = [
        Bar(
            row.label,
            row.seconds,
            note="or more" if row.cell.scaled else "",
            accent=row.cell.name in figures.BASES,
        )
        for row in rows
    ]
    note = f"seconds per photo, {threads_text(threads[0])}, logarithmic"
    if any(row.cell.scaled for row in rows):
        note += "; ≥: a lower bound, some steps on a tiny encoder scaled to the published number"
    plot = bars(items, "seconds per photo", duration, logarithmic=True)
    return Figure("Against others", plot, note)


def _speed_fidelity(run: Run, runs: Sequence[Run]) -> Figure | None:
    """Numbered points, and what they are: names beside them would not fit on a phone."""
    threads = figures.threads_of(run)
    found = [
        (cell.alone.median, faithful.sqnr_db, cell)
        for cell in measured(run.cells)
        if cell.threads == threads[0] and (faithful := figures.fidelity_of(runs, cell))
    ]
    if not found:
        return None
    found.sort(key=lambda one: one[:2])
    points = [
        Point(seconds * 1000, sqnr, str(number), series=0 if cell.format == "TFLite" else 1)
        for number, (seconds, sqnr, cell) in enumerate(found, 1)
    ]
    plot = chart(
        Axis(f"milliseconds, {threads_text(threads[0])}", logarithmic=True),
        Axis("SQNR of delta, dB"),
        "speed against fidelity",
        points=points,
        height=300,
    )
    return Figure(
        "Speed against fidelity",
        plot,
        "up is closer to the float32 network, left is faster; TFLite in blue",
        [
            f"{_full_label(cell, threads=False)}: {duration(seconds)}, {sqnr:.1f} dB"
            for seconds, sqnr, cell in found
        ],
    )


def _rooflines(run: Run) -> Iterator[Figure]:
    key = _ROOFLINE_KEY  # how to read one is said once
    for row in run.layers:
        if not row.error and row.format == "TFLite" and (figure := _roofline(run, row, key)):
            yield figure
            key = ""


def _roofline(run: Run, row: Profile, key: str) -> Figure | None:
    product, copy = (figures.peak(run, kind, row.threads) for kind in ("matmul", "copy"))
    layers = [
        (layer, layer.multiply_adds, layer.bytes)
        for layer in row.layers
        if layer.multiply_adds and layer.bytes and layer.seconds
    ]
    if not product or not copy or not layers:
        return None
    whole = sum(layer.seconds for layer in row.layers)
    slow = sorted((layer for layer, *_ in layers), key=lambda layer: -layer.seconds)[:3]
    points = [
        Point(
            work / traffic,
            2 * work / layer.seconds / 1e9,
            str(slow.index(layer) + 1) if layer in slow else "",
            radius=3 + 14 * (layer.seconds / whole) ** 0.5,
            series=int(layer.name.startswith("depthwise")),
        )
        for layer, work, traffic in layers
    ]
    ridge = product / copy
    ends = [point.x for point in points] + [ridge]
    corners = (min(ends) / 2, ridge, max(ends) * 2.5)
    roof = [2 * min(product, at * copy) / 1e9 for at in corners]
    heights = [point.y for point in points] + roof
    convolutions = sum(layer.seconds for layer, *_ in layers)
    share = sum(work for _, work, _ in layers) / convolutions / product
    return Figure(
        f"Roofline of {label(row)}",
        chart(
            Axis("multiply-adds per byte", corners[0], corners[2], True),
            Axis("GFLOP/s", min(heights) / 2, max(heights) * 2, True),
            "roofline",
            points=points,
            lines=[Line(corners, roof)],
            height=300,
        ),
        f"limits measured in the same run: {2 * product / 1e9:.0f} GFLOP/s and {copy / 1e9:.1f} "
        f"GB/s. Convolutions take {convolutions / whole:.0%} of the time and reach {share:.0%} of "
        f"the matrix-product limit.{key}",
        [f"{layer.name}: {layer.seconds / whole:.0%} of the time" for layer in slow],
    )


def _megapixels(run: Run) -> Figure | None:
    rows = [row for row in run.photos if isinstance(row, MeasuredPhoto)]
    if not rows:
        return None
    points = [Point(row.width * row.height / 1e6, row.total, duration(row.total)) for row in rows]
    line = linearity(rows)
    ends = (0.0, max(point.x for point in points))
    lines = [Line(ends, [line.fixed + line.per_megapixel * at for at in ends])] if line else []
    return Figure(
        "Whole photos, JPEG to JPEG",
        chart(
            Axis("megapixels", 0),
            Axis("seconds", 0),
            "cost against megapixels",
            points=points,
            lines=lines,
        ),
        tables.linear_text(run),
    )


def _memory(run: Run) -> Figure | None:
    threads = figures.threads_of(run)
    items = sorted(
        (
            Bar(_full_label(cell), cell.memory_bytes)
            for cell in (*measured(run.cells), *measured(run.peers))
            if cell.threads in threads[:1] and cell.memory_bytes
        ),
        key=lambda bar: bar.value,
    )
    if not items:
        return None
    return Figure(
        "Memory",
        bars(items, "memory", size, logarithmic=True),
        "peak above what the runtime needs without a network",
    )
