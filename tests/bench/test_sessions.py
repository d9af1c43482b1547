"""What boards run must compute what the library's own runtimes compute."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rid_bench.artefacts import open_artefact
from rid_bench.photos import gate_photos
from rid_bench.portable import runtimes, sessions
from rid_core.artifact import TensorInfo
from rid_core.runtimes import load_runtime

SIDE = 64


@pytest.mark.parametrize("target", ["tflite", "onnx"])
def test_same_perturbation_as_the_library(target: str, exported: dict[str, Path]) -> None:
    path = exported[target]
    about = open_artefact(path).about()
    session = sessions.OPENERS[target](str(path), about, 1, "xnnpack")
    assert session.shape == (SIDE, SIDE)
    for image in gate_photos(SIDE)[1][:2]:
        session.encode(image)
        session.infer()
        wanted = load_runtime(path, threads=1).perturb(image.astype(np.float32) / np.float32(255))
        np.testing.assert_array_equal(session.decode(), wanted)
    # Fresh memory for every photo took longer than a small network.
    assert session.decode() is session.decode()


def test_torch_session_is_the_reference(checkpoint: Path, reference: Any) -> None:
    from rid_bench.sessions import TorchSession

    session = TorchSession(str(checkpoint), {"resolution": SIDE}, 1, "xnnpack")
    session.encode(reference.images[0])
    session.infer()
    np.testing.assert_allclose(session.decode(), reference.deltas[0], atol=1e-4)


INFOS = (
    TensorInfo("image", "float32", (1, 8, 8, 3), 0, 1),
    TensorInfo("image", "float16", (1, 8, 8, 3), 0, 1),
    TensorInfo("image", "uint8", (1, 8, 8, 3), 0, 1, 1 / 255, 0),
    TensorInfo("image", "int8", (1, 8, 8, 3), 0, 1, 1 / 255, -128),
    TensorInfo("image", "uint8", (1, 8, 8, 3), 0, 1, 0.005, 3),
)


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
@pytest.mark.parametrize("info", INFOS, ids=lambda i: f"{i.dtype} {i.scale}")
def test_encoding_is_the_librarys(info: TensorInfo, layout: str) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    value = photo.astype(np.float32) / np.float32(255)
    batch = value[None] if layout == "nhwc" else value.transpose(2, 0, 1)[None]
    stored = sessions.to_stored(photo, dataclasses.asdict(info), layout)
    np.testing.assert_array_equal(stored, info.encode(batch))
    assert stored.dtype == np.dtype(info.dtype)
    assert stored.flags.c_contiguous
    kept = np.empty(batch.shape, np.float32)
    again = sessions.to_stored(photo, dataclasses.asdict(info), layout, kept)
    np.testing.assert_array_equal(again, stored)
    assert np.shares_memory(again, kept) == (info.dtype == "float32")


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
def test_decoding_is_the_librarys(layout: str) -> None:
    info = TensorInfo("delta", "int8", (1, 4, 6, 3), -1, 1, 1 / 100, 5)
    shape = (1, 4, 6, 3) if layout == "nhwc" else (1, 3, 4, 6)
    stored = np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)
    wanted = info.decode(stored)[0]
    wanted = wanted if layout == "nhwc" else wanted.transpose(1, 2, 0)
    got = sessions.from_stored(stored, dataclasses.asdict(info), layout)
    np.testing.assert_array_equal(got, wanted.clip(-1, 1))
    assert got.shape == (4, 6, 3)
    kept = np.empty_like(got)
    assert sessions.from_stored(stored, dataclasses.asdict(info), layout, kept) is kept
    np.testing.assert_array_equal(kept, got)


@pytest.mark.parametrize(
    ("kind", "module", "line"),
    [
        ("tflite", "ai_edge_litert", "pip install ai-edge-litert"),
        ("onnx", "onnxruntime", "pip install onnxruntime"),
    ],
)
def test_a_missing_runtime_names_the_pip_line(
    kind: str, module: str, line: str, monkeypatch: pytest.MonkeyPatch, exported: dict[str, Path]
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    about = open_artefact(exported[kind]).about()
    with pytest.raises(sessions.UnavailableError, match=line):
        sessions.OPENERS[kind](str(exported[kind]), about, 1, "xnnpack")


def test_peaks_do_what_they_say() -> None:
    matmul = sessions.MatmulSession("", {}, 1, "")
    matmul.infer()
    product = matmul.decode()
    assert product.shape == (runtimes.MATMUL_SIDE, runtimes.MATMUL_SIDE)
    assert runtimes.AMOUNT["matmul"] == runtimes.MATMUL_SIDE**3
    copy = sessions.CopySession("", {}, 3, "")
    copy.infer()
    assert copy.decode().nbytes == runtimes.COPY_BYTES
    assert copy.decode().min() == 1  # all parts were copied


def test_a_random_defender_moves_pixels() -> None:
    import torch

    from rid_bench.sessions import random_defender

    small = {"depth": 1, "width": 16, "heads": 2, "image_size": 32}
    defender = random_defender("rid-dit", small)
    assert defender(torch.rand(1, 3, 32, 32)).abs().max() > 0


def test_pgd_session_descends(photo: str) -> None:
    from rid_bench.sessions import PgdSession

    session = PgdSession("", {"resolution": 32, "steps": 3}, 1, "")
    session.encode(np.full((32, 32, 3), 128, np.uint8))
    session.infer()
    unit = session.decode()
    assert unit.shape == (32, 32, 3)
    assert 0 < np.abs(unit).max() <= 1
