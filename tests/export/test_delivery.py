"""What lies beside the models: wrappers, the document, the page."""

from __future__ import annotations

import base64
import dataclasses
import io
import itertools
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rid_core.artifact import Check, Parity, read_metadata
from rid_core.budget import Budget
from rid_core.checkpoint import find_checkpoint
from rid_core.report import Report
from rid_export import delivery
from rid_export.layers import LayerError, QuantizationReport
from rid_export.page import Entry, Errors, build
from rid_export.report import Result

SIDE = 64


def result(name: str, **changes: Any) -> Result:
    checks = (
        Check("delta_sqnr_db", 43.21, 40, "min"),
        Check("delta_cosine", 0.999912, 0.9999, "min"),
        Check("delta_sign_agreement", 0.9987, 0.999, "min"),
        Check("change_levels", 7.99, 8.001, "max"),
    )
    made = Result("onnx", "fp16", Path(name), 12.3, 1_600_000, (Parity("a runtime", 8, checks),))
    return dataclasses.replace(made, **changes)


@pytest.fixture(scope="module")
def report() -> Report:
    rng = np.random.default_rng(0)
    portrait = np.rint(rng.random((SIDE, SIDE, 3)) * 255).astype(np.float32) / 255
    truth = np.tanh(rng.normal(size=portrait.shape)).astype(np.float32)
    notes = QuantizationReport(
        float_layers=("stem", "to_image.conv"),
        before={"delta_sqnr_db": 19.04},
        after={"delta_sqnr_db": 23.12},
        layers=(
            LayerError("stem", "Conv", 51.2, 60.0, 1e-6),
            LayerError("encoder.0.<expand>", "Conv", 21.5, 33.3, 6e-3),
        ),
    )
    good = result("rid-s.fp16.onnx", remarks=("XNNPACK takes <all> of it",), notes=notes)
    bad = result("rid-s.int8.onnx", parity=(), size=0, error="delta_sqnr_db is 9 & <bad>")
    noisy = truth + rng.normal(0, 0.01, truth.shape).astype(np.float32)
    entries = [
        Entry(good, "2026-01-02T03:04:05+00:00", Errors.measure("a runtime", truth, noisy, 8)),
        Entry(bad, "2026-01-03T03:04:05+00:00", None),
    ]
    # The page is made of what the JSON holds.
    rows = json.loads(json.dumps([entry.to_row() for entry in entries]))
    assert [Entry.from_row(row) for row in rows] == entries
    return build(
        "rid-s",
        8,
        [Entry.from_row(row) for row in rows],
        {"original": portrait, "protected": Budget(8).apply(portrait, truth), "delta": truth},
        warnings=["warning: blocks.0 (_Block): gelu [LiteRT GPU]: no; use relu"],
        about=[("python", "3.12"), ("torch", "2.13")],
    )


class Page(HTMLParser):
    """Tags, texts and references; refuses tags that are not closed."""

    VOID = ("meta", "img")

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page_is_whole_and_needs_nothing(report: Report) -> None:
    source = report.to_html()
    page = Page(source)
    tags = [tag for tag, _ in page.seen]
    assert "script" not in tags
    assert "link" not in tags
    for tag, attributes in page.seen:
        for name in {"src", "href"} & attributes.keys():
            inside = "data:image/jpeg;base64," if tag == "img" else ("#", "data:image/png;base64,")
            assert str(attributes[name]).startswith(inside)
    assert not re.search(r"url\(|@import|https?://", source)
    assert tags.count("img") == 4  # original, protected, perturbation, one error map
    assert all(attributes.get("alt") for tag, attributes in page.seen if tag == "img")


def test_page_tells_all(report: Report) -> None:
    text = re.sub(r"\s+", " ", Page(report.to_html()).text)
    assert "1 of 2 files passed the gate" in text
    for cell in ("43.2", "0.999912", "99.87%", "7.99", "1.60", "12.3", "2026-01-02 03:04"):
        assert cell in text, cell
    assert "rid-s.int8.onnx was refused: delta_sqnr_db is 9 & <bad>" in text
    assert "rid-s.fp16.onnx: XNNPACK takes <all> of it" in text
    assert "blocks.0 (_Block): gelu" in text
    assert "kept in float: stem, to_image.conv (19.0 dB before, 23.1 after)" in text
    assert "2 layers, the noisiest encoder.0.<expand>" in text
    assert "stem (float)51.260.0" in text
    assert "median" in text
    assert "torch" in text


def test_errors_are_measured_in_levels() -> None:
    truth = np.zeros((SIDE, SIDE, 3), np.float32)
    delta = np.full_like(truth, 0.01)
    delta[:32] = 0
    delta[0, 0] = 5
    errors = Errors.measure("x", truth, delta, 8)
    assert errors.worst == 40
    assert errors.high == pytest.approx(0.08, rel=1e-6)
    assert errors.exact == pytest.approx(0.5, abs=1e-3)
    counts = np.array(errors.counts)
    assert set(counts.nonzero()[0]) == {0, int((np.log10(0.08) + 6) * 10), 69}
    assert counts.sum() == truth.size
    with Image.open(io.BytesIO(base64.b64decode(errors.map_jpeg))) as opened:
        shown = np.asarray(opened)
    assert shown[8:24].max() < 30  # dark where there is no error
    assert shown[40:].max(axis=2).min() > 150


def test_histogram_shows_the_few_behind_the_many_that_are_exact() -> None:
    counts = [0] * 70
    counts[0], counts[40], counts[50] = 100_000, 10, 5
    errors = Errors("x", 0, 0, 0.1, 0.99, tuple(counts), "", SIDE)
    plot = list(errors.figures("a file"))[1]
    path = re.search(r'<path d="([^"]*)" style="fill: var\(--one', plot.image.data.decode())
    assert path is not None
    heights = [340 - float(y) for y in re.findall(r"[ML] [\d.]+ ([\d.]+)", path[1])]
    tops = [height - min(heights) for height, _ in itertools.groupby(heights)]
    assert [top for top in tops if top] == pytest.approx(
        [max(tops)] * 2 + [max(tops) / 2], rel=0.01
    )
    assert "99% are exact (the first bar, cut off)" in plot.note


def test_exports_into_one_folder_add_up(tmp_path: Path) -> None:
    checkpoint = find_checkpoint("rid-n")
    made = checkpoint.with_suffix(".onnx")  # comes with the package, as rid-export wrote it
    metadata = read_metadata(made)

    def deliver(name: str, seconds: float, *others: Result) -> dict[str, Any]:
        shutil.copy(made, tmp_path / name)
        here = Result("onnx", "fp32", tmp_path / name, seconds, 1, metadata.parity)
        written = delivery.deliver([here, *others], checkpoint, tmp_path)
        assert [path.suffix for path in written] == [".kt", ".json", ".html"]
        assert [path.name for path in written[1:]] == ["rid-n.export.json", "rid-n.export.html"]
        document = json.loads(written[1].read_text())
        assert str(tmp_path) not in written[1].read_text()
        text = Page(written[2].read_text()).text
        assert all(row["file"] in text for row in document["artefacts"])
        assert all(row["created"][:16].replace("T", " ") in text for row in document["artefacts"])
        found: dict[str, Any] = document
        return found

    refused = result(str(tmp_path / "rid-n.int8.tflite"), error="no", parity=(), size=0)
    document = deliver("rid-n.onnx", 1, refused)
    assert document["schema"] == 2
    for name in ("preset", "levels", "weights"):
        assert document[name] == getattr(metadata, name)
    good, bad = document["artefacts"]
    assert good["file"] == "rid-n.onnx"
    assert good["network"] == metadata.network
    assert good["operators"]["DepthToSpace"] == 3
    assert good["tools"] == metadata.tools
    assert good["unfit"] is None
    assert good["wrapper"] == "RidNOnnx.kt"
    assert good["parity"][0]["checks"][0]["name"] == "delta_sqnr_db"
    assert good["errors"]["worst"] < 0.01
    assert bad["error"] == "no"
    assert "wrapper" not in bad
    assert document["warnings"] == []
    assert document["machine"]["torch"]
    page = (tmp_path / "rid-n.export.html").read_text()
    assert "rid-n.int8.tflite was refused" in Page(page).text
    assert metadata.network in (tmp_path / "RidNOnnx.kt").read_text()

    def rows(document: dict[str, Any]) -> dict[str, float]:
        return {row["file"]: row["seconds"] for row in document["artefacts"]}

    # Another file is added, one of the same name replaces its own row and no other.
    second = deliver("rid-n.other.onnx", 2)
    assert second["artefacts"][:2] == document["artefacts"]
    assert rows(second) == {"rid-n.onnx": 1, "rid-n.int8.tflite": 12.3, "rid-n.other.onnx": 2}
    third = deliver("rid-n.onnx", 3)
    assert rows(third) == {"rid-n.onnx": 3, "rid-n.int8.tflite": 12.3, "rid-n.other.onnx": 2}

    # What is gone, or no longer the file that was measured, is not told of.
    (tmp_path / "rid-n.other.onnx").unlink()
    assert rows(deliver("rid-n.onnx", 4)) == {"rid-n.onnx": 4, "rid-n.int8.tflite": 12.3}
    document_file = tmp_path / "rid-n.export.json"
    document_file.write_text(document_file.read_text().replace(metadata.network, "0" * 64))
    assert rows(deliver("rid-n.other.onnx", 5)) == {
        "rid-n.int8.tflite": 12.3,
        "rid-n.other.onnx": 5,
    }
    document_file.write_text('{"schema": 2, "artefacts": [{"file": 1}]}')
    assert rows(deliver("rid-n.onnx", 6)) == {"rid-n.onnx": 6}


def test_nothing_made_nothing_written(tmp_path: Path) -> None:
    refused = result(str(tmp_path / "rid-s.onnx"), error="no", parity=(), size=0)
    assert delivery.deliver([refused], tmp_path / "none.safetensors", tmp_path) == []
    assert list(tmp_path.iterdir()) == []
