from __future__ import annotations

from pathlib import Path

import pytest

from rid_bench import layers, litert_profile, profiles
from rid_bench.artefacts import open_artefact
from rid_bench.portable.records import Operator

SUMMARY = """
============ Run Order ============
  [node type]   [start]  [first]  [avg ms]   [%]  [cdf%]  [mem] [times] [Name]
  Delegate/Convolution (NHWC, F32) IGEMM   0.000  0.652  0.545  21.1%  21.1%  0.0  1  [Delegate]:0
  Delegate/Fully Connected (NC, F32) GEMM  0.000  0.194  0.209  11.8%  33.6%  0.0  1  [Delegate]:1
                             RELU_0_TO_1  0.000  0.183  0.193   0.5%  100.0%  0.0  1  [Builtin]:36

============ Top by Computation Time ============
  Delegate/Convolution (NHWC, F32) IGEMM   0.000  0.652  0.545  21.1%  21.1%  0.0  1  [Delegate]:0
"""


def test_the_summary_of_litert_is_read() -> None:
    rows = litert_profile.parse_summary(SUMMARY)
    assert rows == [
        ("Convolution (NHWC, F32) IGEMM", pytest.approx(0.000545)),
        ("Fully Connected (NC, F32) GEMM", pytest.approx(0.000209)),
        ("RELU_0_TO_1", pytest.approx(0.000193)),
    ]


def test_a_summary_of_another_form_is_refused() -> None:
    with pytest.raises(RuntimeError, match="another form"):
        litert_profile.parse_summary("no table here")


def test_multiply_adds_of_the_file_are_those_of_the_config(
    exported: dict[str, Path], checkpoint: Path
) -> None:
    """Two independent counts; they differ by the codes of places, which export folds away."""
    from rid_core.checkpoint import load_checkpoint

    config = load_checkpoint(checkpoint)[0].config
    wanted = config.multiply_adds(64, 64)
    got = layers.multiply_adds(exported["tflite"])
    assert 0.98 * wanted < got <= wanted


def test_bytes_are_at_least_those_of_the_weights(exported: dict[str, Path]) -> None:
    found = layers.tflite_layers(exported["tflite"])
    stem = found[0]
    assert stem.name == "conv 4x4, 3 -> 8, 16 x 16"
    weights = 8 * 4 * 4 * 3
    assert stem.multiply_adds == weights * 16 * 16
    assert stem.bytes == 4 * (weights + 8 + 64 * 64 * 3 + 16 * 16 * 8)


def test_events_find_their_operators() -> None:
    graph = [
        Operator("CONV_2D", "first", 0, 10, 1),
        Operator("ADD", "sum", 0, 0, 2),
        Operator("CONV_2D", "second", 0, 20, 3),
    ]
    events = [
        Operator("Convolution (NHWC, F32) IGEMM", "Convolution (NHWC, F32) IGEMM", 2.0),
        Operator("Add (ND)", "Add (ND)", 1.0),
        Operator("Fully Connected (NC, F32) GEMM", "Fully Connected (NC, F32) GEMM", 5.0),
        Operator("Something new", "Something new", 2.0),
    ]
    rows = profiles.attach(events, graph)
    assert [row.name for row in rows] == ["first", "sum", "second", "Something new"]
    assert [row.multiply_adds for row in rows] == [10, 0, 20, None]
    assert profiles.slowest(rows, 2) == ["second: 50%", "first: 20%"]


def test_nothing_is_claimed_where_counts_differ() -> None:
    graph = [Operator("CONV_2D", "first", 0, 10, 1), Operator("CONV_2D", "second", 0, 20, 3)]
    (row,) = profiles.attach([Operator("Convolution", "Convolution", 1.0)], graph)
    assert row.multiply_adds is None
    assert row.name == "Convolution"


@pytest.mark.parametrize("target", ["tflite", "onnx"])
def test_profile_of_a_real_file(target: str, exported: dict[str, Path]) -> None:
    row = profiles.profile(open_artefact(exported[target]), 1, runs=3)
    assert row.error is None
    assert len(row.slowest) == 3
    assert all(layer.seconds >= 0 for layer in row.layers)
    total = sum(layer.multiply_adds or 0 for layer in row.layers)
    wanted = layers.multiply_adds(exported["tflite"])
    # ONNX Runtime pads channels to its blocks, so it may do somewhat more.
    assert wanted <= total <= (1 if target == "tflite" else 1.3) * wanted


def test_a_profiler_that_fails_is_a_row(
    exported: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiles.sys, "executable", "/bin/false")
    row = profiles.profile(open_artefact(exported["tflite"]), 1, runs=1)
    assert row.error == "the profiler ended with 1"
    assert row.layers == ()
