"""Reports: pages that stand alone, Markdown that says the same, terminal tables, progress."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image as pillow

from rid_core.errors import RidError
from rid_core.report import (
    Claim,
    Column,
    Facts,
    Figure,
    Image,
    Items,
    Report,
    Section,
    Table,
    duration,
    pictures,
    plots,
    terminal,
)

TABLE = Table(
    "Speed of <all> & more",
    ["network", Column("median", "ms", ".2f"), Column("how", words=True)],
    [
        ["rid-s|x", 8.914, "measured"],
        ["rid-<n>", None, "a sentence that may take two lines"],
    ],
    "A note.",
)
BARS = [
    plots.Bar("rid-s <x>", 0.009, high=0.011, accent=True, floor=0.02),
    plots.Bar("$5 & co", 3.35, low=3, note="or more"),
    plots.Bar("slow", 400),
]
PHOTO = np.random.default_rng(0).random((64, 96, 3))


def every_plot() -> dict[str, Image]:
    x = plots.Axis("step", 1, 100, True)
    line = plots.Line([1, 10, 100], [0, 2, 3], "loss", [0, 1, 2], [1, 3, 4])
    point = plots.Point(10, 2, "here", 9, 1)
    return {
        "bars": plots.bars(BARS, "bars", duration),
        "logarithmic": plots.bars(BARS, "logarithmic", "{:g} s", logarithmic=True),
        "chart": plots.chart(x, plots.Axis("y"), "chart", points=[point], lines=[line]),
        "histogram": plots.histogram([1, 5, 2], [1, 5, 10, 50], x, "histogram", mark=9),
        "heat": plots.heat(["a", "b"], ["c"], [[0.1], [float("nan")]], "heat"),
        "scale": plots.colour_scale("inferno", x, "scale"),
    }


@pytest.fixture(scope="module")
def drawn() -> dict[str, Image]:
    return every_plot()


@pytest.fixture(scope="module")
def report(drawn: dict[str, Image]) -> Report:
    photo = pictures.photo(PHOTO, 48)
    return Report(
        "A <title>",
        "A summary & more.",
        [
            "A <paragraph>.",
            Items("Claims", [Claim("It moves.", "shift.json"), "It <stays>."]),
            Items("Nothing", []),
            Section(
                "One",
                [
                    Facts([("processor", "CPU <1>")]),
                    *(Figure(name, plot, "how to read it") for name, plot in drawn.items()),
                    TABLE,
                    Table("No rows", ["a"], []),
                ],
                warnings=["Not <complete>."],
                source="one.json",
            ),
            Section("Two", [Figure("photo", photo), Figure("other", photo, key=["one", "two"])]),
            Section("Two", [Figure("sheet", photo, wide=True), Section("Inner", ["deep"])]),
        ],
    )


class Checker(HTMLParser):
    """Every tag is closed in order; texts and references are kept."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_stands_alone_and_says_all(report: Report) -> None:
    source = report.to_html()
    page = Checker(source)
    assert not {"script", "link"} & set(page.tags)
    assert page.links
    assert all(re.match("#|data:image/(jpeg|png);base64,", link) for link in page.links)
    assert not re.search(r"url\(|@import|https?://", source)
    assert "prefers-color-scheme: dark" in source
    assert "width=device-width" in source
    wanted = ["A <title>", "A <paragraph>.", "It <stays>.", "shift.json", "CPU <1>", "rid-<n>"]
    for text in [*wanted, "Not <complete>.", "rid-s|x", "8.91", "median ms", "deep", "A note."]:
        assert text in page.text
    assert "No rows" not in page.text
    assert "Nothing" not in page.text
    assert len(re.findall("<svg", source)) == 6
    # A column of sentences takes several lines, the others none; a wide table scrolls by itself.
    assert re.findall(r'<th scope="col" class="(\w*)"', source) == ["", "", "long"]
    assert '<div class="wide" tabindex="0"' in source


def test_markdown_says_the_same_with_images_beside(report: Report, tmp_path: Path) -> None:
    report.write(tmp_path / "report.md")
    text = (tmp_path / "report.md").read_text()
    shown = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert shown[0] == "figures/one-1.svg"
    assert shown[-3:] == ["figures/two-1.jpg", "figures/two-2.jpg", "figures/two-3.jpg"]
    assert sorted(shown) == sorted(f"figures/{p.name}" for p in (tmp_path / "figures").iterdir())
    for path in shown[:-3]:
        root = ElementTree.parse(tmp_path / path).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "prefers-color-scheme: dark" in "".join(root.itertext())
    with pillow.open(tmp_path / shown[-1]) as opened:
        assert opened.size == (48, 32)
    for line in (
        "# A &lt;title>",
        "- It moves. `shift.json`",
        "> **Not &lt;complete>.**",
        "- processor: CPU &lt;1>",
        "| network | median, ms | how |",
        "| :-- | --: | :-- |",
        r"| rid-s\|x | 8.91 | measured |",
        "| rid-&lt;n> | – | a sentence that may take two lines |",
        "2. two",
        "### Inner",
    ):
        assert line in text.splitlines(), line
    assert "No rows" not in text
    with pytest.raises(RidError, match=r"\.html or \.md"):
        report.write(tmp_path / "report.pdf")


def test_a_row_has_as_many_cells_as_there_are_columns() -> None:
    with pytest.raises(ValueError, match="2 columns"):
        Table("x", ["a", "b"], [["1"]])


def test_plots_are_xml_inside_their_frame_and_always_the_same(drawn: dict[str, Image]) -> None:
    again = every_plot()
    for name, plot in drawn.items():
        assert plot.data == again[name].data
        root = ElementTree.fromstring(plot.data)
        assert root.get("aria-label") == name
        assert root.get("viewBox") == f"0 0 360 {plot.height}"
        places = [
            tuple(map(float, pair))
            for path in root.iter("path")
            if (path.get("id") or "") == ""
            for pair in re.findall(r"[ML] ?(-?[\d.]+) (-?[\d.]+)", path.get("d") or "")
        ]
        places += [(float(n.get("x") or 0), float(n.get("y") or 0)) for n in root.iter("text")]
        assert places
        for x, y in places:
            assert -1 <= x <= 361, name
            assert -1 <= y <= plot.height + 1, name
        assert b"#1d2126" not in plot.data.replace(b"var(--ink, #1d2126)", b"")
    assert "$5 & co" in [
        text.text for text in ElementTree.fromstring(drawn["bars"].data).iter("text")
    ]


def bar_ends(plot: Image) -> list[float]:
    """Right ends of the bars, from top to bottom."""
    paths = re.findall(r'<path d="([^"]*)" style="fill: var\(--(?:calm|one)', plot.data.decode())
    return [max(float(x) for x in re.findall(r"[ML] ([\d.]+)", path)) for path in paths]


def test_bars_are_as_long_as_their_values() -> None:
    values = (1, 2, 4)
    ends = bar_ends(plots.bars([plots.Bar(str(v), v) for v in values], "x"))
    assert ends[2] / ends[0] == pytest.approx(4, rel=0.05)
    powers = [plots.Bar(str(v), v) for v in (1, 10, 100)]
    first, second, third = bar_ends(plots.bars(powers, "x", logarithmic=True))
    assert third - second == pytest.approx(second - first, abs=0.1)


def test_labels_of_a_chart_do_not_overlap() -> None:
    """Twelve files that are nearly as fast and as faithful as each other, at a corner as well."""
    crowd = [plots.Point(5 + n % 3 * 0.05, 100 + n % 4 * 0.2, str(n)) for n in range(10, 20)]
    points = [*crowd, plots.Point(9, 110, "a long one"), plots.Point(9, 110, "another")]
    x, y = plots.Axis("", 4, 9.1), plots.Axis("", 95, 110.1)
    root = ElementTree.fromstring(plots.chart(x, y, "", points=points).data)
    wanted = {point.label for point in points}
    boxes = []
    for node in root.iter("text"):
        if node.text in wanted and "--ink" in (node.get("style") or ""):
            half = 3.2 * len(node.text)
            middle, base = float(node.get("x") or 0), float(node.get("y") or 0)
            boxes.append((middle - half, base - 9, middle + half, base + 1))
    assert len(boxes) == len(points)
    for number, one in enumerate(boxes):
        assert one[0] >= 0
        assert one[2] <= plots.WIDTH
        for other in boxes[:number]:
            apart = one[0] >= other[2] or other[0] >= one[2]
            assert apart or one[1] >= other[3] or other[1] >= one[3], (one, other)


def test_photos_are_no_larger_than_asked() -> None:
    image = pictures.photo(PHOTO, 48)
    assert (image.width, image.height) == (48, 32)
    with pillow.open(io.BytesIO(pictures.photo(PHOTO, 500).data)) as opened:
        assert opened.size == (96, 64)
    grey = pictures.photo(pictures.amplified(np.zeros((8, 8, 3))), 8)
    with pillow.open(io.BytesIO(grey.data)) as opened:
        assert np.unique(np.asarray(opened)).tolist() == [128]


def test_a_sheet_that_is_no_picture_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    pillow.new("RGB", (3200, 100)).save(path)
    assert pictures.sheet(path).width == 1600
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(RidError, match="cannot be read as a picture"):
        pictures.sheet(path)


def test_a_terminal_table_in_a_pipe_is_plain() -> None:
    lines = terminal.text(TABLE, terminal=False).splitlines()
    assert lines == [
        "Speed of <all> & more",
        "network  median, ms  how",
        "rid-s|x        8.91  measured",
        "rid-<n>           –  a sentence that may take two lines",
        "A note.",
    ]
    pairs = Table("", ["", Column("", words=True)], [["file", "a [b] c"], ["size", "x" * 300]])
    assert terminal.text(pairs, terminal=False).splitlines() == [
        "file  a [b] c",
        f"size  {'x' * 300}",
    ]


PROGRAM = """
import click
from rid_core.output import suppress_output
from rid_core.report import Column, Table, terminal
with terminal.progress("working on <it>", 3) as bar:
    with suppress_output():
        bar.advance()
        print("a library speaks")
    bar.line("  a [line]")
    bar.update(label="nearly done", done=3)
click.echo(terminal.text(Table("", ["name", Column("size", "MB", ".1f")], [["x" * 200, 3.14]])))
"""


def run(program: str, *, tty: bool) -> str:
    """What a program prints into a terminal of 80 columns, or into pipes."""
    command = [sys.executable, "-c", program]
    if not tty:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stderr + done.stdout
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        seen = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other side is closed
                break
            if not part:
                break
            seen += part
    os.close(ours)
    assert process.returncode == 0, seen
    return seen.decode()


def test_progress_in_a_pipe_is_its_lines_alone() -> None:
    name = "x" * 200
    assert run(PROGRAM, tty=False).splitlines() == [
        "  a [line]",
        f"name{' ' * 198}size, MB",
        f"{name}{' ' * 7}3.1",
    ]


def test_progress_in_a_terminal_is_a_bar_and_tables_fit() -> None:
    seen = run(PROGRAM, tty=True)
    assert "working on <it>" in seen
    assert "3/3" in seen
    assert "a [line]" in seen
    assert "a library speaks" not in seen
    after = seen[seen.rindex("3/3") :]
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", after).splitlines()
    assert max(map(len, plain[1:])) <= 80
    assert sum(line.count("x") for line in plain) == 200


@pytest.mark.parametrize(
    ("seconds", "text"), [(2e-6, "2 µs"), (0.0032, "3.2 ms"), (1.4, "1.4 s"), (300, "5 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
