"""Runtimes behind one function: torch for real, ONNX Runtime on a graph built by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rid_core import artifact
from rid_core.artifact import ArtifactMetadata, TensorInfo
from rid_core.errors import MissingExtraError, RidError
from rid_core.runtimes import ModelRuntime, load_runtime
from rid_core.runtimes.torch import TorchRuntime

SIZE = 32


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    from rid_core.checkpoint import ModelCard, save_checkpoint
    from rid_core.defenders import create_defender

    torch.manual_seed(0)
    config = {"width": 16, "detail_width": 8}
    defender = create_defender("rid-n", **config)
    torch.nn.init.normal_(defender.to_image.conv.weight, std=0.1)
    path = tmp_path_factory.mktemp("ckpt") / "small.safetensors"
    save_checkpoint(path, defender, ModelCard("rid-n", 6, config=config))
    return path


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).random((SIZE, 2 * SIZE, 3), dtype=np.float32)


def test_torch(checkpoint: Path, image: np.ndarray) -> None:
    import torch

    from rid_core.checkpoint import load_checkpoint

    runtime = load_runtime(checkpoint)
    assert (runtime.preset, runtime.levels, runtime.stride) == ("rid-n", 6, 16)
    assert runtime.fixed_size is None
    unit = runtime.perturb(image)
    defender, _ = load_checkpoint(checkpoint)
    expected = defender(torch.from_numpy(image).permute(2, 0, 1)[None])[0].permute(1, 2, 0)
    assert unit.shape == image.shape
    assert unit.dtype == np.float32
    assert np.abs(unit).max() > 0.01
    np.testing.assert_allclose(unit, expected.numpy(), atol=1e-5)
    outputs: Any = runtime
    protected = outputs.run(image)["protected"]
    assert 0 < np.abs(protected - image).max() <= 6 / 255 + 1e-6


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (np.zeros((32, 32, 3)), "float64"),
        (np.zeros((3, 32, 32), np.float32), r"\[3, 32, 32\]"),
        (np.zeros((32, 40, 3), np.float32), "multiples of 16, not 32 x 40"),
        (np.zeros((0, 32, 3), np.float32), "multiples of 16"),
    ],
)
def test_images_that_do_not_fit(checkpoint: Path, bad: np.ndarray, text: str) -> None:
    with pytest.raises(RidError, match=text):
        load_runtime(checkpoint).perturb(bad)


def onnx_file(path: Path, *, gain: float = 1.0, **changes: Any) -> Path:
    """delta = (image - 0.5) * 2 * gain; protected = clip(image + delta * 8 / 255)."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    def constant(name: str, value: float) -> Any:
        return numpy_helper.from_array(np.float32(value), name)

    shape = [1, 3, SIZE, SIZE]
    nodes = [
        helper.make_node("Sub", ["image", "half"], ["centred"]),
        helper.make_node("Mul", ["centred", "two"], ["delta"]),
        helper.make_node("Mul", ["delta", "eps"], ["step"]),
        helper.make_node("Add", ["image", "step"], ["sum"]),
        helper.make_node("Clip", ["sum", "zero", "one"], ["protected"]),
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name in ("image", "protected", "delta")
    ]
    constants = {"half": 0.5, "two": 2.0 * gain, "eps": 8 / 255, "zero": 0.0, "one": 1.0}
    graph = helper.make_graph(
        nodes, "g", values[:1], values[1:], [constant(k, v) for k, v in constants.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    tensor = tuple(shape)
    fields: dict[str, Any] = {
        "format": "onnx",
        "preset": "rid-s",
        "levels": 8,
        "resolution": SIZE,
        "stride": 16,
        "layout": "nchw",
        "precision": "fp32",
        "inputs": (TensorInfo("image", "float32", tensor, 0, 1),),
        "outputs": (
            TensorInfo("protected", "float32", tensor, 0, 1),
            TensorInfo("delta", "float32", tensor, -1, 1),
        ),
        "weights": "0" * 64,
        "licence": "Apache-2.0",
        "created": "2026-01-01",
    }
    described = ArtifactMetadata(**fields | changes)
    entry = model.metadata_props.add()
    entry.key, entry.value = "RID_METADATA", artifact.padded(described)
    onnx.save(model, path)
    artifact.seal(path, described)
    return path


def test_onnx(tmp_path: Path) -> None:
    runtime = load_runtime(onnx_file(tmp_path / "m.onnx"), threads=1)
    image = np.random.default_rng(1).random((SIZE, SIZE, 3), dtype=np.float32)
    np.testing.assert_allclose(runtime.perturb(image), image * 2 - 1, atol=1e-6)
    assert runtime.name.startswith("ONNX Runtime")
    assert runtime.fixed_size == SIZE
    with pytest.raises(RidError, match="works at 32 x 32 only, not 64 x 32"):
        runtime.perturb(np.zeros((64, 32, 3), np.float32))


def test_overshoot_is_clipped_and_nan_refused(tmp_path: Path) -> None:
    image = np.ones((SIZE, SIZE, 3), np.float32)
    loud = load_runtime(onnx_file(tmp_path / "loud.onnx", gain=1.5))
    assert loud.perturb(image).max() == 1
    broken = load_runtime(onnx_file(tmp_path / "nan.onnx", gain=float("nan")))
    with pytest.raises(RidError, match="not finite"):
        broken.perturb(image)


def test_metadata_of_another_network(tmp_path: Path) -> None:
    big = tuple(
        TensorInfo(name, "float32", (1, 3, 64, 64), 0, 1)
        for name in ("image", "protected", "delta")
    )
    path = onnx_file(tmp_path / "m.onnx", resolution=64, inputs=big[:1], outputs=big[1:])
    with pytest.raises(RidError, match=r"says image is float32 \[1, 3, 64, 64\], the network has"):
        load_runtime(path)
    mask = (TensorInfo("mask", "float32", (1, 3, 32, 32), 0, 1),)
    path = onnx_file(tmp_path / "n.onnx", outputs=mask)
    with pytest.raises(RidError, match="promises 'mask', the network has delta, image, protected"):
        load_runtime(path)


def test_delta_left_out(tmp_path: Path) -> None:
    only = (TensorInfo("protected", "float32", (1, 3, 32, 32), 0, 1),)
    runtime = load_runtime(onnx_file(tmp_path / "m.onnx", outputs=only))
    with pytest.raises(RidError, match="exported without delta"):
        runtime.perturb(np.zeros((SIZE, SIZE, 3), np.float32))


def test_altered_file(tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "m.onnx")
    data = path.read_bytes()
    eps = np.float32(8 / 255).tobytes()
    assert data.count(eps) == 1
    path.write_bytes(data.replace(eps, np.float32(16 / 255).tobytes()))
    with pytest.raises(RidError, match="changed after its export"):
        load_runtime(path)


def test_missing_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = onnx_file(tmp_path / "m.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"pip install -e '\.\[export\]'"):
        load_runtime(path)


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML runs here")
def test_coreml_says_where_it_runs(tmp_path: Path) -> None:
    import json

    package = tmp_path / "m.mlpackage"
    (package / "Data").mkdir(parents=True)
    source = artifact.read_metadata(onnx_file(tmp_path / "m.onnx"))
    import dataclasses

    described = dataclasses.replace(source, format="coreml")

    def message(number: int, payload: bytes) -> bytes:
        out = b""
        for value in (number << 3 | 2, len(payload)):
            while value > 0x7F:
                out += bytes([value & 0x7F | 0x80])
                value >>= 7
            out += bytes([value])
        return out + payload

    text = artifact.padded(described).encode()
    entry = message(100, message(1, b"RID_METADATA") + message(2, text))
    (package / "Data" / "m.mlmodel").write_bytes(message(2, message(100, entry)))
    manifest = {"itemInfoEntries": {"i": {"path": "m.mlmodel"}}, "rootModelIdentifier": "i"}
    (package / "Manifest.json").write_text(json.dumps(manifest))
    artifact.seal(package, described)
    with pytest.raises(RidError, match=r"macOS only.*rid-export verify"):
        load_runtime(package)


class Tape:
    """A session that keeps what it is fed, and gives what it was told."""

    name = "tape"

    def __init__(self, **gives: np.ndarray) -> None:
        self.gives = gives
        self.fed = np.empty(0)

    def feed(self, stored: np.ndarray) -> None:
        self.fed = stored

    def infer(self) -> None:
        pass

    def fetch(self, name: str) -> np.ndarray:
        return self.gives[name]


def on_tape(
    tape: Tape, image: TensorInfo, outputs: tuple[TensorInfo, ...], layout: str
) -> ModelRuntime:
    about = {"preset": "rid-s", "levels": 8, "stride": 2, "fixed_size": None}
    return ModelRuntime("file", tape, image=image, outputs=outputs, layout=layout, **about)


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
@pytest.mark.parametrize(
    "info",
    [
        TensorInfo("image", "float32", (1, 8, 8, 3), 0, 1),
        TensorInfo("image", "float16", (1, 8, 8, 3), 0, 1),
        TensorInfo("image", "uint8", (1, 8, 8, 3), 0, 1, 1 / 255, 0),
        TensorInfo("image", "int8", (1, 8, 8, 3), 0, 1, 1 / 255, -128),
        TensorInfo("image", "uint8", (1, 8, 8, 3), 0, 1, 0.005, 3),
    ],
    ids=lambda info: f"{info.dtype} {info.scale}",
)
def test_a_photo_is_encoded_as_the_metadata_says(info: TensorInfo, layout: str) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    value = photo.astype(np.float32) / np.float32(255)
    wanted = info.encode(value[None] if layout == "nhwc" else value.transpose(2, 0, 1)[None])
    tape = Tape()
    runtime = on_tape(tape, info, (), layout)
    runtime.encode(photo)
    first = tape.fed
    np.testing.assert_array_equal(first, wanted)
    assert first.dtype == np.dtype(info.dtype)
    assert first.flags.c_contiguous
    runtime.encode(photo)  # fresh memory for every photo would cost more than the arithmetic
    if info.dtype == "float32":
        assert np.shares_memory(tape.fed, first)
    runtime.encode(value)
    np.testing.assert_array_equal(tape.fed, wanted)


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
def test_a_perturbation_is_decoded_as_the_metadata_says(layout: str) -> None:
    info = TensorInfo("delta", "int8", (1, 4, 6, 3), -1, 1, 1 / 100, 5)
    shape = (1, 4, 6, 3) if layout == "nhwc" else (1, 3, 4, 6)
    stored = np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)
    plain = info.decode(stored)[0]
    plain = plain if layout == "nhwc" else plain.transpose(1, 2, 0)
    image = TensorInfo("image", "float32", shape, 0, 1)
    runtime = on_tape(Tape(delta=stored), image, (info,), layout)
    np.testing.assert_array_equal(runtime.decode(), plain.clip(-1, 1))
    assert runtime.decode() is runtime.decode()
    photo = np.zeros((4, 6, 3), np.float32)
    np.testing.assert_array_equal(runtime.run(photo)["delta"], plain)  # neither clipped nor checked
    unit = runtime.perturb(photo)
    np.testing.assert_array_equal(unit, plain.clip(-1, 1))
    assert not np.shares_memory(unit, runtime.decode())


def test_image_types_hold_8_bits() -> None:
    picture = TensorInfo("protected", "image", (1, 3, 4, 6), 0, 1)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    tape = Tape(protected=pixels)
    runtime = on_tape(tape, TensorInfo("image", "image", (1, 3, 4, 6), 0, 1), (picture,), "nchw")
    value = pixels.astype(np.float32) / 255
    np.testing.assert_array_equal(runtime.run(value)["protected"], value)
    np.testing.assert_array_equal(tape.fed, pixels)


def test_threads_of_torch_are_put_back(checkpoint: Path, image: np.ndarray) -> None:
    import torch

    runtime = TorchRuntime(checkpoint, threads=1)
    seen = []
    runtime.defender.register_forward_pre_hook(lambda *_: seen.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        runtime.perturb(image)
        assert seen == [1]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_unknown_preset_or_file(tmp_path: Path) -> None:
    with pytest.raises(RidError):
        load_runtime("rid-zz")
    with pytest.raises(RidError, match="no such checkpoint"):
        load_runtime(tmp_path / "none.onnx")
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"\xff\xd8\xff\xe0" * 10)
    with pytest.raises(RidError, match="no exported defender"):
        load_runtime(photo)


def test_importing_runtimes_imports_none_of_them() -> None:
    code = (
        "import sys, rid_core.runtimes; "
        "print([m for m in ('torch', 'onnxruntime', 'ai_edge_litert', 'coremltools') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
