from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rid_bench import report
from rid_bench.portable.records import (
    Cell,
    Fidelity,
    Figures,
    Labels,
    Machine,
    Measured,
    MeasuredPhoto,
    Operator,
    Peak,
    Profile,
    Run,
    Scaled,
    measured,
)
from rid_bench.report import figures, tables
from rid_core.fidelity import ErrorStatistics
from rid_core.report import Figure, terminal

Make = Callable[..., Measured]


@pytest.fixture
def run(cell: Make, machine: Machine) -> Run:
    """A run with something of everything, names that need escaping included."""
    layers = (
        Operator("c", "conv 1x1, 3 -> 8 <&>", 0.004, 10**8, 10**6),
        Operator("c", "add", 0.001, 0, 10**6),
    )
    labels = Labels("rid-s", "TFLite", "fp32", "w" * 64)
    steps = dict.fromkeys(("decode", "scale", "network", "apply", "encode"), 0.01)
    images = tuple(Figures(100.0 + n, 1.0, 1.0, 1e-5, 1e-6, photo=str(n)) for n in range(2))
    floor = {"float64": ErrorStatistics(120.0, 1.0, 1.0, 1e-6, 1e-7)}
    scaled = Scaled(2, 200)
    return Run(
        "2026-01-01T00:00:00+00:00",
        replace(machine, cpu="CPU <1> & co"),
        cells=[
            cell(),
            cell("rid-n", 0.003),
            cell(precision="int8", median=0.02, spread=0.6),
            Cell("rid-b", threads=2, error="Core ML runs on macOS only"),
        ],
        peers=[
            cell("rid-dit", 3.35, format="torch", note="random weights"),
            cell("PhotoGuard", 400.0, format="", precision="", scaled=scaled, note="x"),
        ],
        peaks=[Peak("torch", "matmul", 2, 9e10), Peak("numpy", "copy", 2, 2e10)],
        photos=[
            MeasuredPhoto(
                *("rid-s", size, 2),
                **steps,
                total=0.05 * size,
                width=1000 * size,
                height=1000,
                seconds_per_megapixel=0.05,
                memory_bytes=10**7,
            )
            for size in (1, 12, 48)
        ],
        layers=[Profile(**vars(labels), threads=2, layers=layers, slowest=("conv: 80%",))],
        fidelity=[Fidelity(**vars(labels), runtime="LiteRT", images=images, floor=floor)],
    )


def test_the_page_holds_everything(run: Run, reference: Any) -> None:
    page = report.build([run], reference).to_html()
    assert "CPU &lt;1&gt; &amp; co" in page
    assert "$" not in page
    assert page.count("data:image/jpeg;base64,") == 3
    labels = re.findall(r'<svg[^>]*aria-label="([^"]*)"', page)
    assert labels == [
        "latency",
        "seconds per photo",
        "speed against fidelity",
        "roofline",
        "cost against megapixels",
        "memory",
    ]


def figures_of(run: Run) -> dict[str, Figure]:
    blocks = report.section(run, [run]).blocks
    return {block.title: block for block in blocks if isinstance(block, Figure)}


def test_every_number_of_a_plot_is_explained(run: Run) -> None:
    run.cells += [replace(run.cells[0], runtime_key="tensorflow")]
    figure = figures_of(run)["Speed against fidelity"]
    assert re.findall(r">(\d)</text>", figure.image.data.decode())[-2:] == ["1", "2"]  # after ticks
    assert list(figure.key) == [
        "rid-s TFLite fp32: 9 ms, 100.0 dB",
        "rid-s TFLite fp32, TensorFlow: 9 ms, 100.0 dB",
    ]
    roofline = figures_of(run)["Roofline of rid-s TFLite fp32, 2 threads"]
    assert list(roofline.key) == ["conv 1x1, 3 -> 8 <&>: 80% of the time"]
    assert "180 GFLOP/s and 20.0 GB/s" in roofline.note


def test_markdown_says_the_same(run: Run) -> None:
    text = report.build([run], plots=False).to_markdown()
    assert "| rid-n TFLite fp32 |" in text
    assert "SQNR, dB" in text
    assert " 100.0 |" in text  # the worst photo, not the best
    assert "no size is further than 0% from that line" in text
    assert "Core ML runs on macOS only" in text
    assert "rid-s TFLite int8 (?)" in text  # too noisy to be believed
    assert "120 dB from float64" in text
    assert "Measured limits, 2 threads: 180 GFLOP/s, 20.0 GB/s." in text
    assert "### Against others, 2 threads" in text
    run.cells = [replace(cell, threads=1) for cell in run.cells]
    assert "### Against others, 1 thread\n" in report.build([run], plots=False).to_markdown()


def test_tables_in_the_terminal_have_headers_and_units(run: Run) -> None:
    text = terminal.text(tables.latency(run, [run]), terminal=False)
    head, first = text.splitlines()[1:3]
    assert "median, ms" in head
    assert "memory, MB" in head
    assert first.startswith("rid-s TFLite fp32")
    cells = tables.latency(run, [run]).cells[0]
    assert cells[2:6] == ["2", "9", "8.55", "9.18"]  # threads; median, least, 90 % of the network
    assert cells[-5:] == ["30", "1", "–", "111%", "100.0"]


def test_ratios_are_to_litert(run: Run) -> None:
    rows = {row.label: row.ratios for row in figures.comparison(run, 2)}
    assert rows["rid-dit torch fp32"]["rid-s"] == pytest.approx(335)
    assert rows["rid-s TFLite fp32"]["rid-n"] == pytest.approx(10 / 3)
    assert tables.comparison(run, 2).cells[-1][1:3] == ["≥ 6.67 min", "≥ 40,000"]


def test_share_of_the_peak(run: Run) -> None:
    (first, *_) = measured(run.cells)
    assert figures.share_of_peak(run, first) == pytest.approx(900e6 / 0.009 / 9e10)


def test_doubts_come_first(run: Run) -> None:
    assert any("too noisy" in line for line in figures.doubts(run))
    run.complete, run.note = False, "interrupted"
    run.machine = replace(run.machine, load_before=4.0)
    text = " ".join(figures.doubts(run))
    assert "not complete: interrupted" in text
    assert "4.0 of 2 cores" in text


def test_an_empty_run_is_a_report(machine: Machine) -> None:
    empty = report.build([Run("2026", machine)])
    assert "test machine" in empty.to_html()
    assert "test machine" in empty.to_markdown()
