"""What lies beside the models: wrappers, the document, the page."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rid_core.artifact import Check, Parity, read_metadata
from rid_core.budget import Budget
from rid_export import plots
from rid_export.layers import LayerError, QuantizationReport
from rid_export.page import Shown, Story, render
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
def story() -> Story:
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
    return Story(
        preset="rid-s",
        levels=8,
        about=[("python", "3.12"), ("torch", "2.13")],
        warnings=["warning: blocks.0 (_Block): gelu [LiteRT GPU]: no; use relu"],
        portrait=portrait,
        truth=truth,
        protected=Budget(8).apply(portrait, truth),
        results=[good, bad],
        shown=[Shown(good, "ONNX Runtime 1", noisy)],
    )


class Page(HTMLParser):
    """Tags, texts and references; refuses tags that are not closed."""

    VOID = ("meta", "img", "link", "image", "rect", "line")

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


def test_page_is_whole_and_needs_nothing(story: Story) -> None:
    source = render(story)
    page = Page(source)
    tags = [tag for tag, _ in page.seen]
    assert "script" not in tags
    assert "link" not in tags
    for _, attributes in page.seen:
        for name in ("src", "href"):
            if name in attributes:
                assert str(attributes[name]).startswith("data:image/jpeg;base64,")
    assert not re.search(r"url\(|@import|https?://", source)
    assert tags.count("img") == 4  # original, protected, perturbation, one error map
    assert "prefers-color-scheme: dark" in source
    assert "width=device-width" in source
    assert all(attributes.get("alt") for tag, attributes in page.seen if tag == "img")


def test_page_tells_all(story: Story) -> None:
    page = Page(render(story))
    text = re.sub(r"\s+", " ", page.text)
    assert "1 of 2 files passed the gate" in text
    for cell in ("43.2", "0.999912", "99.87%", "7.99", "1.60", "12.3"):
        assert cell in text, cell
    assert "rid-s.int8.onnx was refused: delta_sqnr_db is 9 & <bad>" in text
    assert "XNNPACK takes <all> of it" in text
    assert "blocks.0 (_Block): gelu" in text
    assert "kept in float: stem, to_image.conv (19.0 dB before, 23.1 after)" in text
    assert "2 layers, the noisiest encoder.0.<expand>" in text
    assert "stem (float)51.260.0" in text
    assert "median" in text
    assert "torch" in text


def test_pictures_show_what_they_should(story: Story) -> None:
    grey = plots.amplified(np.zeros((2, 2, 3), np.float32))
    assert set(np.unique(grey)) == {128}
    assert plots.amplified(np.full((1, 1, 3), -1.0)).max() == 0
    error = plots.error_levels(story.truth, story.shown[0].delta, 8)
    assert np.median(error) == pytest.approx(8 * 0.01 * 0.6745, rel=0.05)
    low, high = plots.error_map(np.array([[[1e-9] * 3, [20.0] * 3]]))[0]
    assert low.max() < 30
    assert high.min() > 150


def test_histogram_has_its_peak_where_the_errors_are() -> None:
    error = np.full(1000, 0.01)
    source = plots.histogram(error, "x")
    bars = re.findall(r'<rect x="([\d.]+)" y="([\d.]+)"', source)
    assert len(bars) == 1
    assert float(bars[0][0]) == pytest.approx(10 + 300 * 4 / 7, abs=300 / 70)


def test_histogram_shows_the_few_behind_the_many_that_are_exact() -> None:
    error = np.concatenate((np.zeros(100_000), np.full(10, 0.01), np.full(5, 0.1)))
    heights = [
        float(value) for value in re.findall(r'height="([\d.]+)"/>', plots.histogram(error, "x"))
    ]
    assert heights == [72.0, 72.0, 36.0]


def test_jpegs_of_noise_are_written() -> None:
    """Pillow's optimizer has a buffer that noise overflows."""
    noise = np.random.default_rng(1).integers(0, 256, (512, 512, 3)).astype(np.uint8)
    assert plots.data_uri(noise).startswith("data:image/jpeg;base64,/9j/")


@pytest.mark.slow
def test_deliver(exported: Any, checkpoint: Path, tmp_path: Path) -> None:
    import shutil

    from rid_export.delivery import deliver

    made = exported("onnx")
    shutil.copy(made.file, tmp_path / "rid-s.onnx")
    here = dataclasses.replace(made, file=tmp_path / "rid-s.onnx")
    refused = result(str(tmp_path / "rid-s.int8.tflite"), error="no", parity=(), size=0)
    written = deliver([here, refused], checkpoint, tmp_path)
    assert [path.name for path in written] == [
        "RidSOnnx.kt",
        "rid-s.export.json",
        "rid-s.export.html",
    ]
    document = json.loads(written[1].read_text())
    assert document["schema"] == 1
    metadata = read_metadata(made.file)
    for name in ("preset", "levels", "weights"):
        assert document[name] == getattr(metadata, name)
    good, bad = document["artefacts"]
    assert good["file"] == "rid-s.onnx"
    assert good["network"] == metadata.network
    assert good["operators"]["DepthToSpace"] == 3
    assert good["tools"] == metadata.tools
    assert good["unfit"] is None
    assert good["wrapper"] == "RidSOnnx.kt"
    assert good["parity"][0]["checks"][0]["name"] == "delta_sqnr_db"
    assert bad["error"] == "no"
    assert "wrapper" not in bad
    assert document["warnings"] == []
    assert document["machine"]["torch"]
    assert str(tmp_path) not in written[1].read_text()
    assert "rid-s.int8.tflite was refused" in Page(written[2].read_text()).text
    assert metadata.network in (tmp_path / "RidSOnnx.kt").read_text()


def test_nothing_made_nothing_written(tmp_path: Path) -> None:
    from rid_export.delivery import deliver

    refused = result(str(tmp_path / "rid-s.onnx"), error="no", parity=(), size=0)
    assert deliver([refused], tmp_path / "none.safetensors", tmp_path) == []
    assert list(tmp_path.iterdir()) == []
