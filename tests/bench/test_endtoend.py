from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from rid_bench import endtoend
from rid_bench.photos import synthetic_jpeg
from rid_bench.portable.records import MeasuredPhoto, Photo


def row(megapixels: float, total: float) -> MeasuredPhoto:
    height = round(megapixels * 1000)
    return MeasuredPhoto("rid-s", megapixels, 1, width=1000, height=height, total=total)


def test_a_line_is_found() -> None:
    found = endtoend.linearity([row(n, 0.2 + 0.05 * n) for n in (1, 12, 48)])
    assert found is not None
    assert found.fixed == pytest.approx(0.2)
    assert found.per_megapixel == pytest.approx(0.05)
    assert found.deviation < 1e-9


def test_a_curve_is_told_from_a_line() -> None:
    found = endtoend.linearity([row(n, 0.01 * n**2) for n in (1, 12, 48)])
    assert found is not None
    assert found.deviation > 0.3


def test_two_sizes_tell_nothing() -> None:
    assert endtoend.linearity([row(1, 1), row(2, 2)]) is None
    failed = Photo("rid-s", 48, 1, "no memory")
    assert endtoend.linearity([row(1, 1), row(2, 2), failed]) is None


def test_jpegs_have_the_size_asked_for(tmp_path: Path) -> None:
    for megapixels in (0.3, 2):
        width, height = synthetic_jpeg(tmp_path / "a.jpg", megapixels)
        assert abs(width * height / 1e6 - megapixels) < 0.02 * megapixels
        with Image.open(tmp_path / "a.jpg") as opened:
            assert opened.size == (width, height)
            assert opened.format == "JPEG"


def test_a_whole_photo(checkpoint: Path) -> None:
    (found,) = endtoend.measure(checkpoint, [0.4], threads=1, repeats=1)
    assert isinstance(found, MeasuredPhoto)
    steps = [getattr(found, step) for step in endtoend.STEPS]
    assert min(steps) >= 0
    assert found.network > 0
    # What is left over is "apply"; only if the steps came out longer is it cut off at zero.
    assert sum(steps) == pytest.approx(found.total, rel=0.5)
    assert found.seconds_per_megapixel == pytest.approx(
        found.total / (found.width * found.height / 1e6)
    )


def test_a_size_that_fails_is_a_row(tmp_path: Path) -> None:
    (found,) = endtoend.measure(tmp_path / "none.tflite", [1], threads=1)
    assert "no such checkpoint" in (found.error or "")
