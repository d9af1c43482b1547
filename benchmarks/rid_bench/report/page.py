"""The report as one page of HTML that needs nothing else: no script, no other file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import resources
from string import Template

from rid_bench.endtoend import linearity
from rid_bench.portable.timing import doubt, threads_text
from rid_bench.reference import Reference
from rid_bench.report import figures, markdown
from rid_bench.results import Row, Run, label, measured
from rid_core.plots import (
    Axis,
    Bar,
    Point,
    axis_for,
    bars,
    duration,
    escape,
    scatter,
    size,
    style,
)


def render(runs: Sequence[Run], reference: Reference | None = None) -> str:
    """The page.

    Args:
        runs: what to show, one section per machine.
        reference: whose first photo is shown with its perturbation; no pictures if None.
    """
    template = Template((resources.files("rid_bench") / "report" / "page.html").read_text())
    names = ", ".join(dict.fromkeys(run.name for run in runs))
    return template.substitute(
        title="RID benchmark",
        style=style(),
        summary=escape(f"{len(runs)} run{'s' if len(runs) != 1 else ''}: {names}"),
        pictures=_pictures(reference) if reference else "",
        sections="".join(_section(run, runs) for run in runs),
    )


def _section(run: Run, runs: Sequence[Run]) -> str:
    facts = "".join(f"<dt>{escape(n)}</dt><dd>{escape(t)}</dd>" for n, t in markdown.about(run))
    warnings = "".join(f"<p class='warn'>{escape(line)}</p>" for line in figures.doubts(run))
    parts = [
        _figure(
            "Latency of one square",
            "median, pre- and post-processing included; the thin line ends at 90 %",
            _latency(run),
        ),
        _figure("Against others", _peer_note(run), _peers(run)),
        _figure(
            "Speed against fidelity",
            "up is closer to the float32 network, left is faster; TFLite in blue",
            _speed_fidelity(run, runs),
        ),
        *_rooflines(run),
        _figure("Whole photos, JPEG to JPEG", markdown.linear_text(run), _megapixels(run)),
        _figure("Memory", "peak above what the runtime needs without a network", _memory(run)),
    ]
    tables = [
        _table("Latency", markdown.LATENCY_HEAD, markdown.latency_rows(run, runs)),
        *(
            _table(
                f"Against others, {threads_text(threads)}",
                markdown.comparison_head(),
                markdown.comparison_rows(run, threads),
            )
            for threads in figures.threads_of(run)
            if run.peers
        ),
        _table("Whole photos", markdown.PHOTO_HEAD, markdown.photo_rows(run)),
        _table("Fidelity", markdown.FIDELITY_HEAD, markdown.fidelity_rows(run)),
    ]
    floor = markdown.floor_text(run)
    return (
        f"<section><h2>{escape(run.name)}</h2><dl>{facts}</dl>{warnings}"
        f"<div class='plots'>{''.join(parts)}</div>{''.join(tables)}"
        f"{f'<p>{escape(floor)}</p>' if floor else ''}"
        f"{_list('Slowest operators', markdown.profile_lines(run))}"
        f"{_list('Not measured', figures.failures(run))}</section>"
    )


def _figure(title: str, note: str, plot: str) -> str:
    if not plot:
        return ""
    caption = f"<p>{escape(note)}</p>" if note else ""
    return f"<figure><figcaption>{escape(title)}</figcaption>{caption}{plot}</figure>"


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    names = "".join(f"<th scope='col'{_kind(name)}>{escape(name)}</th>" for name in head)
    body = "".join(
        f"<tr><th scope='row'>{escape(row[0])}</th>"
        + "".join(_cell(name, cell) for name, cell in zip(head[1:], row[1:], strict=True))
        + "</tr>"
        for row in rows
    )
    return (
        f"<h3>{escape(title)}</h3><div class='wide'><table><thead><tr>{names}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _kind(name: str) -> str:
    kinds = {"runtime": "text", "how": "text long", "gate": "text long"}
    return f" class='{kinds[name]}'" if name in kinds else ""


def _cell(name: str, text: str) -> str:
    return f"<td{_kind(name)}>{escape(text)}</td>"


def _list(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<h3>{escape(title)}</h3><ul>{items}</ul>"


def _latency(run: Run) -> str:
    cells = sorted(measured(run.cells), key=lambda cell: float(cell["total"]["median"]))
    items = [
        Bar(
            _full_label(cell),
            cell["total"]["median"],
            cell["total"]["p90"],
            "(?)" if doubt(cell) else "",
            accent=cell.get("runtime_key", cell.get("format")) in ("litert", "TFLite"),
        )
        for cell in cells
    ]
    return bars(items, "latency", duration)


def _full_label(cell: Row) -> str:
    return label(cell) + _runtime(cell)


def _runtime(cell: Row) -> str:
    """Named where a format has another than its usual one."""
    return ", TensorFlow" if cell.get("runtime_key") == "tensorflow" else ""


def _most_threads(run: Run) -> int | None:
    found = figures.threads_of(run)
    return found[0] if found else None


def _peer_note(run: Run) -> str:
    threads = threads_text(_most_threads(run) or 1)
    scaled = any(row.get("scaled") for row in run.peers)
    text = f"seconds per photo, {threads}, logarithmic"
    if scaled:
        text += "; ≥: a lower bound, some steps on a tiny encoder scaled to the published number"
    return text


def _peers(run: Run) -> str:
    threads = _most_threads(run)
    if threads is None or not run.peers:
        return ""
    items = [
        Bar(
            text,
            seconds,
            note="or more" if row.get("scaled") else "",
            accent=text.split()[0] in figures.BASES,
        )
        for text, seconds, _, row in figures.comparison(run, threads)
    ]
    return bars(items, "seconds per photo", duration, logarithmic=True)


def _speed_fidelity(run: Run, runs: Sequence[Run]) -> str:
    """Numbered points, and what they are: names beside them would not fit on a phone."""
    threads = _most_threads(run)
    found = [
        (cell["network"]["median"], figure["sqnr_db"], cell)
        for cell in measured(run.cells)
        if cell["threads"] == threads and (figure := figures.fidelity_of(runs, cell))
    ]
    if not found:
        return ""
    found.sort(key=lambda one: one[:2])
    points = [
        Point(
            seconds * 1000,
            sqnr,
            str(number),
            series=0 if cell["format"] == "TFLite" else 1,
            tip=_full_label(cell),
        )
        for number, (seconds, sqnr, cell) in enumerate(found, 1)
    ]
    x = axis_for(
        f"milliseconds, {threads_text(threads or 1)}", [p.x for p in points], logarithmic=True
    )
    y = axis_for("SQNR of delta, dB", [p.y for p in points], logarithmic=False)
    plot = scatter(points, x, y, "speed against fidelity", height=300)
    return plot + _names(
        f"{label(cell, threads=False)}{_runtime(cell)}: {duration(seconds)}, {sqnr:.1f} dB"
        for seconds, sqnr, cell in found
    )


def _names(lines: Iterable[str]) -> str:
    """What the numbers in a plot stand for."""
    return f"<ol>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ol>"


_ROOFLINE_KEY = (
    " A point's area is its share of the time, orange are depthwise; those above the slope work "
    "from the caches."
)


def _rooflines(run: Run) -> list[str]:
    rows = [row for row in run.layers if not row.get("error") and row["format"] == "TFLite"]
    found = [(row, *_roofline(run, row)) for row in rows]
    # How to read one is said once.
    return [
        _figure(f"Roofline of {label(row)}", note + ("" if number else _ROOFLINE_KEY), plot)
        for number, (row, note, plot) in enumerate(found)
    ]


def _roofline(run: Run, row: Row) -> tuple[str, str]:
    """(note, plot) of one profile."""
    product, copy = (figures.peak(run, kind, row["threads"]) for kind in ("matmul", "copy"))
    layers = [x for x in row["layers"] if x.get("multiply_adds") and x["bytes"] and x["seconds"]]
    if not product or not copy or not layers:
        return "", ""
    whole = sum(layer["seconds"] for layer in row["layers"])
    slow = sorted(layers, key=lambda layer: -layer["seconds"])[:3]
    points = [
        Point(
            layer["multiply_adds"] / layer["bytes"],
            2 * layer["multiply_adds"] / layer["seconds"] / 1e9,
            str(slow.index(layer) + 1) if layer in slow else "",
            radius=3 + 14 * (layer["seconds"] / whole) ** 0.5,
            series=int(layer["name"].startswith("depthwise")),
            tip=f"{layer['name']}: {duration(layer['seconds'])}, {layer['seconds'] / whole:.0%}",
        )
        for layer in layers
    ]
    ridge = product / copy
    x_values = [p.x for p in points] + [ridge]
    x = Axis("multiply-adds per byte", min(x_values) / 2, max(x_values) * 2.5, True)
    roof = [(at, 2 * min(product, at * copy) / 1e9) for at in (x.low, ridge, x.high)]
    y_values = [p.y for p in points] + [top for _, top in roof]
    y = Axis("GFLOP/s", min(y_values) / 2, max(y_values) * 2, True)
    convolutions = sum(layer["seconds"] for layer in layers)
    work = sum(layer["multiply_adds"] for layer in layers)
    note = (
        f"limits measured in the same run: {2 * product / 1e9:.0f} GFLOP/s and {copy / 1e9:.1f} "
        f"GB/s. Convolutions take {convolutions / whole:.0%} of the time and reach "
        f"{work / convolutions / product:.0%} of the matrix-product limit."
    )
    plot = scatter(points, x, y, "roofline", lines=[roof], height=300)
    return note, plot + _names(
        f"{layer['name']}: {layer['seconds'] / whole:.0%} of the time" for layer in slow
    )


def _megapixels(run: Run) -> str:
    rows = [row for row in run.photos if not row.get("error")]
    if not rows:
        return ""
    points = [
        Point(row["width"] * row["height"] / 1e6, row["total"], duration(row["total"]))
        for row in rows
    ]
    x = axis_for("megapixels", [0.0, *(p.x for p in points)], logarithmic=False, zero=True)
    y = axis_for("seconds", [0.0, *(p.y for p in points)], logarithmic=False, zero=True)
    line = linearity(rows)
    lines = []
    if line is not None:
        ends = (0.0, max(p.x for p in points))
        lines = [[(at, line["fixed"] + line["per_megapixel"] * at) for at in ends]]
    return scatter(points, x, y, "cost against megapixels", lines=lines)


def _memory(run: Run) -> str:
    threads = _most_threads(run)
    cells = [
        cell
        for cell in (*measured(run.cells), *measured(run.peers))
        if cell["threads"] == threads and cell.get("memory_bytes")
    ]
    items = [
        Bar(_full_label(cell), cell["memory_bytes"])
        for cell in sorted(cells, key=lambda cell: int(cell["memory_bytes"]))
    ]
    return bars(items, "memory", size, logarithmic=True)


def _pictures(reference: Reference) -> str:
    from rid_export.plots import amplified, data_uri

    from rid_core.budget import Budget

    image, delta = reference.images[0], reference.deltas[0]
    pictures = (
        ("original", image),
        (
            f"protected by {reference.preset}, {reference.levels} levels",
            Budget(reference.levels).apply_uint8(image, delta),
        ),
        (f"perturbation, {127.5 / reference.levels:.0f} times amplified", amplified(delta)),
    )
    return "".join(
        f'<figure class="picture"><img src="{data_uri(pixels, 400)}" alt="{escape(text)}">'
        f"<figcaption>{escape(text)}</figcaption></figure>"
        for text, pixels in pictures
    )
