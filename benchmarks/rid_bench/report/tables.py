"""Tables of a run, for the page, Markdown and the terminal alike."""

from __future__ import annotations

from collections.abc import Sequence

from rid_bench import endtoend
from rid_bench.compare import Comparison
from rid_bench.portable.records import MeasuredPhoto, Run, label, measured
from rid_bench.portable.timing import threads_text
from rid_bench.report import figures
from rid_core.report import Column, Facts, Items, Table, duration


def facts(run: Run) -> Facts:
    """About the machine."""
    machine = run.machine
    memory, hertz = machine.memory_bytes, machine.max_hertz
    found = (
        ("processor", f"{machine.cpu}, {machine.cores or '?'} cores usable"),
        ("board", machine.board),
        ("memory", f"{memory / 2**30:.0f} GiB" if memory else None),
        ("frequency", f"up to {hertz / 1e9:.2f} GHz" if hertz else "not readable"),
        ("governor", machine.governor or "not readable"),
        ("energy", "by RAPL" if machine.energy else "not readable"),
        ("system", f"{machine.system or '?'}, Python {machine.python or '?'}"),
        ("versions", ", ".join(f"{name} {text}" for name, text in machine.versions.items())),
        ("measured", run.created),
    )
    return Facts([(name, text) for name, text in found if text])


def _milli(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def _mega(count: float | None) -> float | None:
    return count / 1e6 if count else None


def latency(run: Run, runs: Sequence[Run]) -> Table:
    """One row per measured cell; "median" to "99 %" are of the network alone."""
    rows: list[list[str | float | None]] = []
    for cell in measured(run.cells):
        alone = cell.alone
        faithful = figures.fidelity_of(runs, cell)
        rows.append(
            [
                label(cell, threads=False) + (" (?)" if cell.doubt else ""),
                cell.runtime or "?",
                cell.threads,
                *map(_milli, (alone.median, alone.minimum, alone.p90, alone.p99)),
                _milli(cell.pre.median if cell.pre else None),
                _milli(cell.post.median if cell.post else None),
                *map(_milli, (cell.load_s, cell.first_s)),
                *map(_mega, (cell.memory_bytes, cell.size_bytes)),
                _milli(cell.joules),
                figures.share_of_peak(run, cell),
                faithful.sqnr_db if faithful else None,
            ]
        )
    times = ("median", "min", "90 %", "99 %", "pre", "post", "load", "first run")
    return Table(
        "Latency",
        [
            "network",
            Column("runtime", words=True),
            "threads",
            *(Column(name, "ms", ".3g") for name in times),
            Column("memory", "MB", ".3g"),
            Column("file", "MB", ".3g"),
            Column("energy", "mJ", ".3g"),
            Column("of peak", form=".0%"),
            Column("SQNR", "dB", ".1f"),
        ],
        rows,
        limits_text(run),
    )


def times(ratio: float) -> str:
    """A multiple for people: ``2.95``, ``307``, ``40,000``."""
    return f"{ratio:,.0f}" if ratio >= 1000 else f"{ratio:.3g}"


def comparison(run: Run, threads: int) -> Table:
    """Time per photo, and multiples of our own."""
    rows = []
    for row in figures.comparison(run, threads):
        least = "≥ " if row.cell.scaled else ""
        multiples = [
            f"{least}{times(row.ratios[name])}" if name in row.ratios else None
            for name in figures.BASES
        ]
        how = row.cell.note or row.cell.runtime
        rows.append([row.label, least + duration(row.seconds), *multiples, how])
    return Table(
        f"Against others, {threads_text(threads)}",
        [
            "network",
            "per photo",
            *(f"x {name}" for name in figures.BASES),
            Column("how", words=True),
        ],
        rows,
    )


def photos(run: Run) -> Table:
    """Whole photos, file to file."""
    return Table(
        "Whole photos, JPEG to JPEG",
        [
            "photo",
            *(Column(name, "ms", ".4g") for name in ("whole", "per megapixel", *endtoend.STEPS)),
            Column("memory", "MB", ".3g"),
        ],
        [
            [
                f"{row.width} x {row.height}",
                *map(_milli, (row.total, row.seconds_per_megapixel)),
                *map(_milli, (row.decode, row.scale, row.network, row.apply, row.encode)),
                _mega(row.memory_bytes),
            ]
            for row in run.photos
            if isinstance(row, MeasuredPhoto)
        ],
        linear_text(run),
    )


def linear_text(run: Run) -> str:
    """How close the cost is to linear, in a sentence; empty if it cannot be told."""
    line = endtoend.linearity(run.photos)
    if line is None:
        return ""
    return (
        f"{duration(line.per_megapixel)} per megapixel plus {duration(max(line.fixed, 0))}; "
        f"no size is further than {line.deviation:.0%} from that line."
    )


def fidelity(run: Run) -> Table:
    """Each artefact against the reference, the worst photo of each figure."""
    rows: list[list[str | float | None]] = []
    for row in run.fidelity:
        if row.error or not row.images:
            continue
        found = figures.worst(row)
        rows.append(
            [
                label(row),
                row.runtime or "?",
                found.sqnr_db,
                found.cosine,
                found.sign_agreement,
                found.max_error,
                found.psnr_db,
                found.ssim,
                found.change_levels,
                found.retained_shift,
                row.gate or "passed",
            ]
        )
    return Table(
        "Fidelity",
        [
            "file",
            Column("runtime", words=True),
            Column("SQNR", "dB", ".1f"),
            Column("cosine", form=".6f"),
            Column("signs", form=".2%"),
            Column("largest error", form=".2g"),
            Column("PSNR", "dB", ".1f"),
            Column("SSIM", form=".4f"),
            Column("change", "levels", ".0f"),
            Column("shift kept", form=".0%"),
            Column("gate", words=True),
        ],
        rows,
        floor_text(run),
    )


def floor_text(run: Run) -> str:
    """The reference's own noise, in a sentence; empty if it was not measured."""
    floors: dict[str, float] = {}
    for row in run.fidelity:
        for name, found in row.floor.items():
            floors[name] = min(floors.get(name, float("inf")), found.sqnr_db)
    if not floors:
        return ""
    parts = " and ".join(f"{value:.0f} dB from {name}" for name, value in floors.items())
    return f"The reference itself is {parts}: more than that cannot be told."


def slowest(run: Run) -> Items:
    """The three slowest operators of every profile."""
    lines = [f"{label(row)}: {'; '.join(row.slowest)}" for row in run.layers if not row.error]
    return Items("Slowest operators", lines)


def limits_text(run: Run) -> str:
    """The measured limits of the machine, in a sentence; empty if they were not measured."""
    parts = []
    for threads in figures.threads_of(run):
        product, copy = (figures.peak(run, kind, threads) for kind in ("matmul", "copy"))
        if product and copy:
            parts.append(
                f"{threads_text(threads)}: {2 * product / 1e9:.0f} GFLOP/s, {copy / 1e9:.1f} GB/s"
            )
    return f"Measured limits, {'; '.join(parts)}." if parts else ""


def changes(found: Comparison) -> Table:
    """Two results side by side."""
    rows: list[list[str | float | None]] = []
    for change in found.changes:
        word = "SLOWER" if change.slower else "faster" if change.faster else "same"
        rows.append(
            [
                change.label,
                change.before * 1000,
                change.after * 1000,
                change.relative,
                change.margin,
                f"cannot tell: {change.doubt}" if change.doubt else word,
            ]
        )
    gone = [None] * 4
    rows += [[name, *gone, "not measured any more"] for name in found.missing]
    rows += [[name, *gone, "new"] for name in found.new]
    return Table(
        "",
        [
            "network alone",
            Column("before", "ms", ".3f"),
            Column("after", "ms", ".3f"),
            Column("change", form="+.1%"),
            Column("noise", form=".1%"),
            Column("verdict", words=True),
        ],
        rows,
    )
