"""What is timed beside the defenders, and that a worker runs the library's own runtimes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rid_bench.artefacts import open_artefact
from rid_bench.peers import Pgd, RandomNetwork, TorchMatmul, random_defender
from rid_bench.photos import gate_photos
from rid_bench.portable import limits
from rid_bench.portable.records import Cell
from rid_bench.portable.worker import Bench, Job, UnavailableError, Worker
from rid_core.runtimes import load_runtime

SIDE = 64
SMALL = {"depth": 1, "width": 16, "heads": 2, "image_size": 32}


@pytest.mark.parametrize("library", ["litert", "onnxruntime", "torch"])
def test_a_worker_gives_the_librarys_perturbation(
    library: str, exported: dict[str, Path], checkpoint: Path, tmp_path: Path
) -> None:
    files = {"litert": exported["tflite"], "onnxruntime": exported["onnx"], "torch": checkpoint}
    image = gate_photos(SIDE)[1][0]
    photo = tmp_path / "photo.npy"
    np.save(photo, image)
    worker = Worker(Job(library, Cell("rid-n"), str(photo), str(files[library])))
    try:
        opened = worker.open()
        delta = np.load(worker.delta(str(photo)))
    finally:
        worker.close()
    runtime = load_runtime(files[library], threads=1)
    assert opened.runtime == runtime.name
    np.testing.assert_array_equal(delta, runtime.perturb(image.astype(np.float32) / 255))


@pytest.mark.parametrize(
    ("library", "module", "line"),
    [
        ("litert", "ai_edge_litert.interpreter", "pip install ai-edge-litert"),
        ("onnxruntime", "onnxruntime", "pip install onnxruntime"),
    ],
)
def test_a_missing_runtime_names_the_pip_line(
    library: str, module: str, line: str, monkeypatch: pytest.MonkeyPatch, photo: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UnavailableError, match=line):
        Bench(Job(library, Cell("rid-n"), photo, "none"))


def test_limits_do_what_they_say() -> None:
    matmul = limits.Matmul("", 1)
    matmul.infer()
    assert matmul.decode().shape == (limits.MATMUL_SIDE, limits.MATMUL_SIDE)
    assert limits.AMOUNT["matmul"] == limits.MATMUL_SIDE**3
    copy = limits.Copy("", 3)
    copy.infer()
    assert copy.decode().nbytes == limits.COPY_BYTES
    assert copy.decode().min() == 1  # all parts were copied
    best = TorchMatmul("", 1)
    best.infer()
    assert (best.decode() == limits.MATMUL_SIDE).all()


def test_a_random_network_moves_pixels() -> None:
    import torch

    defender = random_defender("rid-dit", SMALL)
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    network = RandomNetwork("rid-dit", 1, 32, SMALL)
    network.encode(image)
    network.infer()
    batch = torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None]
    with torch.inference_mode():
        wanted = defender(batch)[0].permute(1, 2, 0).numpy()
    assert np.abs(wanted).max() > 0
    np.testing.assert_allclose(network.decode(), wanted, atol=1e-5)


def test_pgd_descends() -> None:
    pgd: Any = Pgd("", 1, 3)
    pgd.encode(np.full((32, 32, 3), 128, np.uint8))
    pgd.infer()
    unit = pgd.decode()
    assert unit.shape == (32, 32, 3)
    assert 0 < np.abs(unit).max() <= 1


def test_an_artefact_says_what_it_is(exported: dict[str, Path]) -> None:
    labels = open_artefact(exported["onnx"]).labels()
    assert (labels.name, labels.format, labels.precision) == ("rid-n", "ONNX", "fp32")
    assert labels.size_bytes == exported["onnx"].stat().st_size
