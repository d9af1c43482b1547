from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from rid_bench.report import figures, markdown, page
from rid_bench.results import Run
from rid_core import plots

Cell = Callable[..., dict[str, Any]]


@pytest.fixture
def run(cell: Cell, machine: dict[str, Any]) -> Run:
    """A run with something of everything, names that need escaping included."""
    layer = {
        "name": "conv 1x1, 3 -> 8 <&>",
        "kind": "c",
        "seconds": 0.004,
        "multiply_adds": 10**8,
        "bytes": 10**6,
    }
    plain = layer | {"name": "add", "seconds": 0.001, "multiply_adds": 0}
    steps = dict.fromkeys(("decode", "scale", "network", "apply", "encode"), 0.01)
    photo = steps | {"height": 1000, "memory_bytes": 10**7, "error": None}
    good = {"cosine": 1.0, "sign_agreement": 1.0, "max_error": 1e-5, "rms_error": 1e-6}
    failed = {"name": "rid-b", "threads": 2, "error": "Core ML runs on macOS only"}
    return Run(
        "2026-01-01T00:00:00+00:00",
        machine | {"cpu": "CPU <1> & co"},
        cells=[
            cell(),
            cell("rid-n", 0.003),
            cell(precision="int8", median=0.02, spread=0.6),
            failed,
        ],
        peers=[
            cell("rid-dit", 3.35, format="torch", scaled=None, note="random weights"),
            cell("PhotoGuard", 400.0, format="", precision="", scaled={"steps": 200}, note="x"),
        ],
        peaks=[
            {"kind": "matmul", "threads": 2, "per_second": 9e10, "what": "torch"},
            {"kind": "copy", "threads": 2, "per_second": 2e10, "what": "numpy"},
        ],
        photos=[
            photo
            | {
                "width": 1000 * size,
                "megapixels": size,
                "total": 0.05 * size,
                "seconds_per_megapixel": 0.05,
            }
            for size in (1, 12, 48)
        ],
        layers=[cell() | {"layers": [layer, plain], "slowest": ["conv: 80%"], "error": None}],
        fidelity=[
            {
                "name": "rid-s",
                "format": "TFLite",
                "precision": "fp32",
                "weights": "w" * 64,
                "runtime": "LiteRT",
                "images": [good | {"photo": n, "sqnr_db": 100.0 + n} for n in range(2)],
                "error": None,
                "gate": None,
                "floor": {"float64": {"sqnr_db": 120.0}},
            }
        ],
    )


class Checker(HTMLParser):
    """Every tag is closed in order, and nothing is loaded from elsewhere."""

    VOID = frozenset({"meta", "img", "br", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> without a beginning"
        assert self.open.pop() == tag


def check(text: str) -> Checker:
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    return checker


def test_the_page_stands_alone(run: Run, reference: Any) -> None:
    text = page.render([run], reference)
    checker = check(text)
    assert "script" not in checker.tags
    assert checker.links
    assert all(link.startswith("data:image/jpeg;base64,") for link in checker.links)
    assert "http" not in re.sub(r"data:[^\"]*", "", text)
    assert "CPU &lt;1&gt; &amp; co" in text
    assert "$" not in text


def test_every_plot_is_there_and_is_xml(run: Run) -> None:
    text = page.render([run])
    svgs = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    labels = [ElementTree.fromstring(svg).get("aria-label") for svg in svgs]
    assert labels == [
        "latency",
        "seconds per photo",
        "speed against fidelity",
        "roofline",
        "cost against megapixels",
        "memory",
    ]
    assert "prefers-color-scheme: dark" in text
    assert "width=device-width" in text


def test_nothing_is_drawn_outside(run: Run) -> None:
    for svg in re.findall(r"<svg.*?</svg>", page.render([run]), re.DOTALL):
        root = ElementTree.fromstring(svg)
        width, height = (float(v) for v in (root.get("viewBox") or "").split()[2:])
        for node in root.iter():
            for key, limit in (("x", width), ("cx", width), ("y", height), ("cy", height)):
                value = node.get(key)
                assert value is None or -1 <= float(value) <= limit + 1, (node.tag, key, value)
            end = float(node.get("x") or 0) + float(node.get("width") or 0)
            assert end <= width


def test_labels_do_not_overlap() -> None:
    """Twelve files that are nearly as fast and as faithful as each other, at a corner as well."""
    crowd = [plots.Point(5 + n % 3 * 0.05, 100 + n % 4 * 0.2, str(n)) for n in range(10, 20)]
    points = [*crowd, plots.Point(9, 110, "a long one"), plots.Point(9, 110, "another")]
    x, y = plots.Axis("", 4, 9.1), plots.Axis("", 95, 110.1)
    root = ElementTree.fromstring(plots.scatter(points, x, y, ""))
    width = float((root.get("viewBox") or "").split()[2])
    boxes = []
    for node in root.iter("text"):
        if node.get("class") == "label":
            half = 3.2 * len(node.text or "")  # wider than any browser draws it
            middle, base = float(node.get("x") or 0), float(node.get("y") or 0)
            boxes.append((middle - half, base - 9, middle + half, base + 1))
    assert len(boxes) == len(points)
    for number, one in enumerate(boxes):
        assert one[0] >= 0
        assert one[2] <= width
        for other in boxes[:number]:
            apart = one[0] >= other[2] or other[0] >= one[2]
            assert apart or one[1] >= other[3] or other[1] >= one[3], (one, other)


def test_every_number_of_a_plot_is_explained(run: Run) -> None:
    run.cells += [run.cells[0] | {"runtime_key": "tensorflow"}]
    text = page.render([run])
    plot = text[text.index('aria-label="speed against fidelity"') :]
    plot = plot[: plot.index("</figure>")]
    assert re.findall(r'class="label"[^>]*>(\d)<', plot) == ["1", "2"]
    assert re.findall(r"<li>(.*?)</li>", plot) == [
        "rid-s TFLite fp32: 9 ms, 100.0 dB",
        "rid-s TFLite fp32, TensorFlow: 9 ms, 100.0 dB",
    ]


def test_markdown_says_the_same(run: Run) -> None:
    text = markdown.render([run])
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")
    assert "rid-n TFLite fp32" in text
    assert "100.0 dB" in text  # the worst photo, not the best
    assert "no size is further than 0% from that line" in text
    assert "Core ML runs on macOS only" in text
    assert "rid-s TFLite int8 (?)" in text  # too noisy to be believed
    assert "120 dB from float64" in text
    assert "### Against others, 2 threads" in text
    alone = markdown.render(
        [dataclasses.replace(run, cells=[c | {"threads": 1} for c in run.cells])]
    )
    assert "### Against others, 1 thread\n" in alone


def test_ratios_are_to_litert(run: Run) -> None:
    rows = {label: ratios for label, _, ratios, _ in figures.comparison(run, 2)}
    assert rows["rid-dit torch fp32"]["rid-s"] == pytest.approx(335)
    assert rows["rid-s TFLite fp32"]["rid-n"] == pytest.approx(10 / 3)
    assert markdown.comparison_rows(run, 2)[-1][1:3] == ["≥ 6.67 min", "≥ 40,000"]


def test_share_of_the_peak(run: Run) -> None:
    share = figures.share_of_peak(run, run.cells[0])
    assert share == pytest.approx(900e6 / 0.009 / 9e10)


def test_doubts_come_first(run: Run) -> None:
    assert any("too noisy" in line for line in figures.doubts(run))
    run.complete, run.note = False, "interrupted"
    run.machine["load_before"] = 4.0
    text = " ".join(figures.doubts(run))
    assert "not complete: interrupted" in text
    assert "4.0 of 2 cores" in text


def test_an_empty_run_is_a_report(machine: dict[str, Any]) -> None:
    check(page.render([Run("2026", machine)]))
    assert "test machine" in markdown.render([Run("2026", machine)])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2e-6, "2 µs"), (0.0032, "3.2 ms"), (1.4, "1.4 s"), (300, "5 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert plots.duration(seconds) == text


def test_axes() -> None:
    axis = plots.Axis("", 1, 1000, True)
    assert [axis.place(v) for v in (1, 1000, 0.1, 10**6)] == [0, 1, 0, 1]
    assert axis.place(10) == pytest.approx(1 / 3)
    assert axis.ticks() == [1, 10, 100, 1000]
    assert plots.Axis("", 2, 40, True).ticks() == [2, 5, 10, 20]
    assert plots.Axis("", 0, 10).ticks() == [0, 2, 4, 6, 8, 10]
    flat = plots.axis_for("", [5.0, 5.0], logarithmic=False)
    assert flat.low < 5 < flat.high
