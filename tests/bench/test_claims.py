from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rid_bench import claims
from rid_bench.portable.records import Cell, Measured, Scaled
from rid_core.errors import RidError

Make = Callable[..., Measured]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0.01", (None, 0.01)),
        ("1/300", (None, 1 / 300)),
        ("rid-s=1/300", ("rid-s", 1 / 300)),
        ("rid-n=0.001", ("rid-n", 0.001)),
    ],
)
def test_ratios(text: str, wanted: tuple[str | None, float]) -> None:
    assert claims.parse_ratio(text) == wanted


@pytest.mark.parametrize("text", ["", "x", "1/0", "-1", "rid-s=", "1/2/3", "nan"])
def test_what_is_no_ratio(text: str) -> None:
    with pytest.raises(RidError, match="--max-ratio takes"):
        claims.parse_ratio(text)


def test_latency_gate(cell: Make) -> None:
    quick, slow = claims.gate_latency([cell(median=0.9), cell(median=1.1)], 1.0)
    assert quick.passed is True
    assert slow.passed is False
    assert slow.text.startswith("too slow")


def test_a_noisy_machine_cannot_fail_the_gate_by_a_hair(cell: Make) -> None:
    (verdict,) = claims.gate_latency([cell(median=0.98, spread=0.5)], 1.0)
    assert verdict.passed is None
    assert "too noisy to tell" in verdict.text
    (certain,) = claims.gate_latency([cell(median=0.1, spread=0.5)], 1.0)
    assert certain.passed is True  # even its slowest samples are quick enough
    (hopeless,) = claims.gate_latency([cell(median=3.0, spread=0.5)], 1.0)
    assert hopeless.passed is False  # even its fastest samples are too slow


def test_a_busy_machine_cannot_fail_the_gate(cell: Make) -> None:
    (verdict,) = claims.gate_latency([cell(median=3.0, cpu_share=0.2)], 1.0)
    assert verdict.passed is None


def paper(cell: Make, median: float = 3.35, **other: Any) -> Measured:
    return cell(name="rid-dit", median=median, format="torch", **other)


def test_ratio_gate(cell: Make) -> None:
    cells = [cell(median=0.0109), cell(name="rid-n", median=0.0031)]
    given = ["rid-s=1/300", "rid-n=1/1000"]
    assert [v.passed for v in claims.gate_ratio(cells, [paper(cell)], given)] == [True, True]
    tight = claims.gate_ratio(cells, [paper(cell)], ["1/500"])
    assert [v.passed for v in tight] == [False, True]


def test_ratio_gate_needs_both_sides(cell: Make) -> None:
    with pytest.raises(RidError, match="no rid-x was measured"):
        claims.gate_ratio([cell()], [paper(cell)], ["rid-x=1/2"])
    with pytest.raises(RidError, match="paper's network"):
        claims.gate_ratio([cell()], [paper(cell, threads=1)], ["1/2"])


def test_int8_gate(cell: Make) -> None:
    onnx = cell(median=0.5, precision="int8", format="ONNX", runtime_key="onnxruntime")
    plain, quick = cell(median=0.01), cell(median=0.0104, precision="int8")
    (verdict,) = claims.gate_int8([plain, quick, onnx])
    assert verdict.passed is True  # within what is never called slower; ONNX Runtime is not held
    slow = cell(median=0.012, precision="int8")
    (verdict,) = claims.gate_int8([plain, slow])
    assert verdict.passed is False
    assert "int8, 2 threads to fp32: 1.2 x" in verdict.text
    (verdict,) = claims.gate_int8([replace(plain, cpu_share=0.3), slow])
    assert verdict.passed is None
    with pytest.raises(RidError, match="as fp32 and as int8"):
        claims.gate_int8([plain, onnx, cell(precision="int8", threads=1)])


def test_peers_are_scaled_and_say_so(cell: Make) -> None:
    timed = cell("PGD", median=1.0, note="an encoder (random)")
    rows = claims.rows([timed])
    assert [row.name for row in rows] == [peer.name for peer in claims.PEERS]
    for row, peer in zip(rows, claims.PEERS, strict=True):
        assert isinstance(row, Measured)
        expected = timed.alone.median * peer.steps / claims.PGD_STEPS
        assert row.total.median == pytest.approx(expected)
        assert row.scaled == Scaled(claims.PGD_STEPS, peer.steps)
        assert row.note.startswith("at least")
        assert "an encoder (random)" in row.note
        assert "arXiv" in row.source


def test_published_numbers_of_steps() -> None:
    """As the authors' own scripts have them; the sources are cited beside."""
    assert {peer.name.split(",")[0]: peer.steps for peer in claims.PEERS} == {
        "PhotoGuard": 200,
        "Anti-DreamBooth": 50 * 6,
        "Mist": 100,
    }


def test_a_peer_that_failed_keeps_its_reason() -> None:
    rows = claims.rows([Cell("PGD", threads=2, error="no memory")])
    assert len(rows) == len(claims.PEERS)
    assert all(row.error == "no memory" and not isinstance(row, Measured) for row in rows)


def test_the_base_is_litert(cell: Make) -> None:
    onnx = cell(median=0.005, format="ONNX", runtime_key="onnxruntime")
    lite, plain = cell(median=0.01), cell(median=0.001, kernels="builtin")
    int8 = cell(median=0.002, precision="int8")
    assert claims.base_of([onnx, plain, int8, lite], "rid-s", 2) is lite
    assert claims.base_of([onnx], "rid-s", 2) is onnx
    assert claims.base_of([onnx], "rid-s", 1) is None
