"""The report as Markdown tables."""

from __future__ import annotations

from collections.abc import Sequence

from rid_bench import endtoend
from rid_bench.portable.timing import doubt, threads_text
from rid_bench.report import figures
from rid_bench.results import Run, label, measured
from rid_core.plots import duration, size


def render(runs: Sequence[Run]) -> str:
    """All runs, one section per machine."""
    lines = ["# RID benchmark", ""]
    for run in runs:
        lines += _section(run, runs)
    return "\n".join(lines).rstrip() + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table; the first column is left-aligned, the others right."""
    if not rows:
        return []
    lines = [
        f"| {' | '.join(head)} |",
        "| " + " | ".join([":--"] + ["--:"] * (len(head) - 1)) + " |",
    ]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


def about(run: Run) -> list[tuple[str, str]]:
    """Facts about the machine, as (name, text)."""
    machine = run.machine
    memory, hertz = machine.get("memory_bytes"), machine.get("max_hertz")
    facts = [
        ("processor", f"{machine['cpu']}, {machine.get('cores', '?')} cores usable"),
        ("board", machine.get("board")),
        ("memory", f"{memory / 2**30:.0f} GiB" if memory else None),
        ("frequency", f"up to {hertz / 1e9:.2f} GHz" if hertz else "not readable"),
        ("governor", machine.get("governor") or "not readable"),
        ("energy", "by RAPL" if machine.get("energy") else "not readable"),
        ("system", f"{machine.get('system', '?')}, Python {machine.get('python', '?')}"),
        ("versions", ", ".join(f"{k} {v}" for k, v in (machine.get("versions") or {}).items())),
        ("measured", run.created),
    ]
    return [(name, str(text)) for name, text in facts if text]


LATENCY_HEAD = (
    "network", "runtime", "threads", "median", "min", "90 %", "99 %", "pre", "post", "load",
    "first run", "memory", "file", "energy", "of peak", "SQNR",
)  # fmt: skip


def latency_rows(run: Run, runs: Sequence[Run]) -> list[list[str]]:
    """One row per measured cell; "median" to "99 %" are of the network alone."""
    rows = []
    for cell in measured(run.cells):
        network = cell["network"]
        share = figures.share_of_peak(run, cell)
        fidelity = figures.fidelity_of(runs, cell)
        rows.append(
            [
                label(cell, threads=False) + (" (?)" if doubt(cell) else ""),
                str(cell.get("runtime", "?")),
                str(cell["threads"]),
                *(duration(network[key]) for key in ("median", "minimum", "p90", "p99")),
                duration(cell["pre"]["median"]),
                duration(cell["post"]["median"]),
                duration(cell["load_s"]),
                duration(cell["first_s"]),
                size(cell["memory_bytes"]) if cell.get("memory_bytes") is not None else "–",
                size(cell["size_bytes"]) if cell.get("size_bytes") else "–",
                f"{cell['joules'] * 1000:.3g} mJ" if cell.get("joules") else "–",
                f"{share:.0%}" if share else "–",
                f"{fidelity['sqnr_db']:.1f} dB" if fidelity else "–",
            ]
        )
    return rows


def comparison_head() -> list[str]:
    """Of :func:`comparison_rows`."""
    return ["", "per photo", *(f"x {name}" for name in figures.BASES), "how"]


def times(ratio: float) -> str:
    """A multiple for people: ``2.95``, ``307``, ``40,000``."""
    return f"{ratio:,.0f}" if ratio >= 1000 else f"{ratio:.3g}"


def comparison_rows(run: Run, threads: int) -> list[list[str]]:
    """Seconds per photo, and multiples of our own."""
    rows = []
    for text, seconds, ratios, row in figures.comparison(run, threads):
        least = "≥ " if row.get("scaled") else ""
        multiples = [
            f"{least}{times(ratios[name])}" if name in ratios else "–" for name in figures.BASES
        ]
        how = row.get("note") or row.get("runtime") or ""
        rows.append([text, least + duration(seconds), *multiples, str(how)])
    return rows


PHOTO_HEAD = ("photo", "whole", "per megapixel", *endtoend.STEPS, "memory")


def photo_rows(run: Run) -> list[list[str]]:
    """Whole photos, file to file."""
    return [
        [
            f"{row['width']} x {row['height']}",
            duration(row["total"]),
            duration(row["seconds_per_megapixel"]),
            *(duration(row[step]) for step in endtoend.STEPS),
            size(row["memory_bytes"]) if row.get("memory_bytes") is not None else "–",
        ]
        for row in run.photos
        if not row.get("error")
    ]


def linear_text(run: Run) -> str:
    """How close the cost is to linear, in a sentence; empty if it cannot be told."""
    line = endtoend.linearity(run.photos)
    if line is None:
        return ""
    return (
        f"{duration(line['per_megapixel'])} per megapixel plus {duration(max(line['fixed'], 0))}; "
        f"no size is further than {line['deviation']:.0%} from that line."
    )


FIDELITY_HEAD = (
    "file", "runtime", "SQNR", "cosine", "signs", "largest error", "PSNR", "SSIM", "change",
    "shift kept", "gate",
)  # fmt: skip


def fidelity_rows(run: Run) -> list[list[str]]:
    """Each artefact against the reference, the worst photo of each figure."""
    rows = []
    for row in run.fidelity:
        if row.get("error"):
            continue
        figure = figures.worst(row)
        rows.append(
            [
                label(row),
                str(row.get("runtime", "?")),
                f"{figure['sqnr_db']:.1f} dB",
                f"{figure['cosine']:.6f}",
                f"{figure['sign_agreement']:.2%}",
                f"{figure['max_error']:.2g}",
                f"{figure['psnr_db']:.1f} dB" if "psnr_db" in figure else "–",
                f"{figure['ssim']:.4f}" if "ssim" in figure else "–",
                f"{figure['change_levels']:.0f} levels" if "change_levels" in figure else "–",
                f"{figure['retained_shift']:.0%}" if "retained_shift" in figure else "–",
                str(row.get("gate") or "passed"),
            ]
        )
    return rows


def floor_text(run: Run) -> str:
    """The reference's own noise, in a sentence; empty if it was not measured."""
    floors: dict[str, float] = {}
    for row in run.fidelity:
        for name, found in (row.get("floor") or {}).items():
            floors[name] = min(floors.get(name, float("inf")), found["sqnr_db"])
    if not floors:
        return ""
    parts = " and ".join(f"{value:.0f} dB from {name}" for name, value in floors.items())
    return f"The reference itself is {parts}: more than that cannot be told."


def profile_lines(run: Run) -> list[str]:
    """The three slowest operators of every profile."""
    return [
        f"{label(row)}: {'; '.join(row['slowest'])}" for row in run.layers if not row.get("error")
    ]


def _section(run: Run, runs: Sequence[Run]) -> list[str]:
    lines = [f"## {run.name}", ""]
    lines += _items([f"{name}: {text}" for name, text in about(run)])
    lines += [f"> **{line}**" for line in figures.doubts(run)]
    lines += [""] if figures.doubts(run) else []
    if measured(run.cells):
        lines += ["### Latency", "", *table(LATENCY_HEAD, latency_rows(run, runs))]
        lines += [_peaks(run), ""] if _peaks(run) else []
    for threads in figures.threads_of(run):
        rows = comparison_rows(run, threads)
        if run.peers and rows:
            lines += [f"### Against others, {threads_text(threads)}", ""]
            lines += table(comparison_head(), rows)
    if photo_rows(run):
        lines += ["### Whole photos, JPEG to JPEG", ""]
        lines += table(PHOTO_HEAD, photo_rows(run))
        lines += [linear_text(run), ""] if linear_text(run) else []
    if fidelity_rows(run):
        lines += ["### Fidelity", "", *table(FIDELITY_HEAD, fidelity_rows(run))]
        lines += [floor_text(run), ""] if floor_text(run) else []
    if profile_lines(run):
        lines += ["### Slowest operators", "", *_items(profile_lines(run))]
    if figures.failures(run):
        lines += ["### Not measured", "", *_items(figures.failures(run))]
    return lines


def _items(lines: Sequence[str]) -> list[str]:
    return [*(f"- {line}" for line in lines), ""]


def _peaks(run: Run) -> str:
    parts = []
    for threads in figures.threads_of(run):
        product, copy = (figures.peak(run, kind, threads) for kind in ("matmul", "copy"))
        if product and copy:
            parts.append(
                f"{threads_text(threads)}: {2 * product / 1e9:.0f} GFLOP/s, {copy / 1e9:.1f} GB/s"
            )
    return f"Measured limits, {'; '.join(parts)}." if parts else ""
