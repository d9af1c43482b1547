"""Whole networks, converted as the exporter does and compared with torch."""

from __future__ import annotations

import functools
import gc
import logging
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rid_export.mil import MilError, MilProgram

ct = pytest.importorskip("coremltools")
from coremltools.optimize import coreml as cto  # noqa: E402

logging.getLogger("coremltools").setLevel(logging.ERROR)
SIDE = 64
EPS = 8 / 255
IMAGE = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


@pytest.fixture(autouse=True, scope="module")
def _quick_conversion() -> Iterator[None]:
    # ct.convert runs a full garbage collection each time; with torch loaded that is 0.2 s.
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


class Block(nn.Module):
    """Depthwise 5x5, then two 1x1, added to the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.expand = nn.Conv2d(width, 2 * width, 1)
        self.project = nn.Conv2d(2 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.project(F.relu(self.expand(self.depthwise(x))))


class UNet(nn.Module):
    """A phone defender in small: 1/8 -> 1/16 -> 1/8 -> full size by pixel shuffle."""

    def __init__(self, channels_last: bool = False, width: int = 16) -> None:
        super().__init__()
        self.channels_last = channels_last
        self.stem = nn.Conv2d(3, width, 8, stride=8)
        self.encoder = Block(width)
        self.down = nn.Conv2d(width, 2 * width, 2, stride=2)
        self.inner = Block(2 * width)
        self.up = nn.Conv2d(2 * width, 4 * width, 1)
        self.decoder = Block(width)
        self.head = nn.Conv2d(width, 192, 1)

    def shuffle(self, x: Tensor, f: int) -> Tensor:
        if not self.channels_last:
            return F.pixel_shuffle(x, f)
        b, c, h, w = x.shape
        x = x.permute(0, 2, 3, 1).reshape(b * h, w, f, c // f).transpose(1, 2)
        return x.reshape(b, h * f, w * f, c // f**2).permute(0, 3, 1, 2)

    def forward(self, image: Tensor) -> Tensor:
        fine = self.encoder(F.relu(self.stem(image)))
        coarse = self.inner(self.down(fine))
        x = self.decoder(fine + self.shuffle(self.up(coarse), 2))
        return torch.tanh(self.shuffle(3 * self.head(x), 8))


def gelu_tanh(x: Tensor) -> Tensor:
    """F.gelu(x, approximate="tanh"), spelled out.

    coremltools 9 ignores the keyword of an exported program and converts to the exact function
    (apple/coremltools#2863); this spelling it recognises as the approximation.
    """
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


class DiT(nn.Module):
    """One pre-norm transformer block on 16 x 16 patches."""

    def __init__(self, width: int = 48, heads: int = 4) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        self.embed = nn.Conv2d(3, width, 16, stride=16)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.head = nn.Linear(width, 768)

    def forward(self, image: Tensor) -> Tensor:
        x = self.embed(image * 2 - 1).flatten(2).transpose(1, 2)
        tokens = x.shape[1]
        qkv = self.qkv(F.layer_norm(x, (self.width,), eps=1e-6))
        q, k, v = qkv.reshape(1, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v)
        x = x + self.proj(mixed.transpose(1, 2).reshape(1, tokens, self.width))
        x = x + self.fc2(gelu_tanh(self.fc1(F.layer_norm(x, (self.width,)))))
        x = torch.tanh(self.head(x))
        x = x.reshape(SIDE // 16, SIDE // 16, 16, 48).transpose(1, 2)
        return x.reshape(1, SIDE, SIDE, 3).permute(0, 3, 1, 2)


class Contract(nn.Module):
    """The artefact's outputs around a network: the protected image in 0..255, and delta."""

    def __init__(self, network: nn.Module, rounded: bool = False) -> None:
        super().__init__()
        self.network, self.rounded = network, rounded

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        delta = self.network(image)
        protected = torch.clamp((image + delta * EPS) * 255, 0, 255)
        return torch.round(protected) if self.rounded else protected, delta


def build(kind: str) -> Contract:
    torch.manual_seed(0)
    networks: dict[str, Callable[[], nn.Module]] = {
        "unet": UNet, "channels-last": lambda: UNet(channels_last=True), "dit": DiT,
    }  # fmt: skip
    return Contract(networks[kind]()).eval()


def convert(model: Any, precision: str = "FLOAT32", layout: str = "RGB") -> Any:
    """The exporter's conversion: image in, image and multi-array out."""
    return ct.convert(
        model,
        convert_to="mlprogram",
        inputs=[ct.ImageType("image", (1, 3, SIDE, SIDE), scale=1 / 255, color_layout=layout)],
        outputs=[
            ct.ImageType("protected", color_layout=layout),
            ct.TensorType("delta", dtype=np.float32 if precision == "FLOAT32" else np.float16),
        ],
        minimum_deployment_target=ct.target.iOS17,
        compute_precision=getattr(ct.precision, precision),
        skip_model_load=True,
    )


def export(model: nn.Module) -> Any:
    return torch.export.export(model, (torch.rand(1, 3, SIDE, SIDE),)).run_decompositions({})


def reload(model: Any, path: Path) -> MilProgram:
    model.save(str(path / "net.mlpackage"))
    return MilProgram.load(path / "net.mlpackage")


@torch.no_grad()
def reference(model: nn.Module) -> tuple[np.ndarray, np.ndarray]:
    """(protected [3, H, W] before rounding, delta [1, 3, H, W]) of torch."""
    protected, delta = model(torch.from_numpy(IMAGE).permute(2, 0, 1)[None].float() / 255)
    return protected[0].numpy(), delta.numpy()


def sqnr(expected: np.ndarray, got: np.ndarray) -> float:
    """Signal to noise in dB; infinite when equal."""
    error = np.square(expected.astype(np.float64) - got.astype(np.float64)).sum()
    signal = np.square(expected.astype(np.float64)).sum()
    return float("inf") if error == 0 else float(10 * np.log10(signal / error))


@pytest.fixture(scope="module")
def exported() -> Callable[[str], Any]:
    """Exported program by kind; converting does not change it."""
    return functools.cache(lambda kind: export(build(kind)))


@pytest.mark.parametrize(("precision", "least"), [("FLOAT32", 100), ("FLOAT16", 45)])
@pytest.mark.parametrize("kind", ["unet", "channels-last", "dit"])
def test_network_matches_torch(
    kind: str,
    precision: str,
    least: float,
    exported: Callable[[str], Any],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    program = reload(convert(exported(kind), precision), tmp_path)
    protected, delta = reference(build(kind))
    result = program.predict({"image": IMAGE})
    assert result["delta"].dtype == (np.float32 if precision == "FLOAT32" else np.float16)
    ratio = sqnr(delta, result["delta"])
    record_property("sqnr_db", round(ratio, 1))
    assert ratio > least
    if kind == "dit":
        assert "gelu" in program.op_types
    image = result["protected"]
    assert image.dtype == np.uint8
    assert image.shape == (SIDE, SIDE, 3)
    off = np.abs(image.astype(float) - protected.transpose(1, 2, 0)).max()
    assert off <= (0.5001 if precision == "FLOAT32" else 0.75)
    assert np.abs(image.astype(int) - IMAGE).max() <= 8


@pytest.fixture(scope="module")
def float16(exported: Callable[[str], Any]) -> Any:
    """Converted fp16 U-net, to be compressed."""
    return convert(exported("unet"), "FLOAT16")


def config(operation: Any) -> Any:
    return cto.OptimizationConfig(global_config=operation)


def palette(bits: int, **kwargs: Any) -> Callable[[Any], Any]:
    operation = cto.OpPalettizerConfig(mode="uniform", nbits=bits, weight_threshold=0, **kwargs)
    return lambda model: cto.palettize_weights(model, config(operation))


def linear(mode: str = "linear_symmetric", **kwargs: Any) -> Callable[[Any], Any]:
    operation = cto.OpLinearQuantizerConfig(mode=mode, weight_threshold=0, **kwargs)
    return lambda model: cto.linear_quantize_weights(model, config(operation))


@pytest.mark.parametrize(("compress", "least"), [
    (linear(), 40), (linear("linear"), 40), (palette(8), 40),
], ids=lambda value: getattr(value, "__qualname__", str(value)).split(".")[0])  # fmt: skip
def test_compressed_weights_match_their_decompression(
    compress: Callable[[Any], Any],
    least: float,
    float16: Any,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    small = compress(float16)
    program = reload(small, tmp_path)
    got = program.run({"image": IMAGE})["delta"]
    # coremltools' own decompression, written as plain weights, is the reference.
    dense = reload(cto.decompress_weights(small), tmp_path)
    np.testing.assert_array_equal(got, dense.run({"image": IMAGE})["delta"])
    ratio = sqnr(reference(build("unet"))[1], got)
    record_property("sqnr_db", round(ratio, 1))
    assert least < ratio < 80  # far enough from the float network that something was compressed


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
def test_w8a8_by_the_torch_quantizer(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    quantization = pytest.importorskip("coremltools.optimize.torch.quantization")
    settings = quantization.LinearQuantizerConfig.from_dict(
        {"global_config": {"quantization_scheme": "symmetric", "milestones": [0, 9, 9, 9]}}
    )
    quantizer = quantization.LinearQuantizer(build("unet"), settings)
    x = torch.from_numpy(IMAGE).permute(2, 0, 1)[None].float() / 255
    model = quantizer.prepare(example_inputs=(x,))
    quantizer.step()
    with torch.no_grad():
        model(x)
    quantized = quantizer.finalize(model.eval())
    with torch.no_grad():
        _, expected = quantized(x)
    program = reload(convert(torch.jit.trace(quantized, x), "FLOAT32"), tmp_path)
    assert program.op_types.count("quantize") >= 10
    got = program.predict({"image": IMAGE})["delta"]
    agreement = sqnr(expected.numpy(), got)
    record_property("sqnr_db_to_quantized_torch", round(agreement, 1))
    record_property("sqnr_db", round(sqnr(reference(build("unet"))[1], got), 1))
    assert agreement > 40  # the same arithmetic, but for fused convolution kernels in torch


def test_trace_names_the_layer_with_a_fault(exported: Callable[[str], Any], tmp_path: Path) -> None:
    package = tmp_path / "net.mlpackage"
    program = reload(convert(exported("unet")), tmp_path)

    def trace(program: MilProgram) -> dict[str, tuple[str, np.ndarray]]:
        seen: dict[str, tuple[str, np.ndarray]] = {}
        program.run(
            {"image": IMAGE},
            observe=lambda name, op, tensor: seen.update({name: (op, tensor.numpy().copy())}),
        )
        return seen

    good = trace(program)
    assert [op for op, _ in good.values()] == list(program.op_types)
    assert good["delta"][1].shape == (1, 3, SIDE, SIDE)

    blob = package / "Data/com.apple.CoreML/weights/weight.bin"
    data = bytearray(blob.read_bytes())
    weight = build("unet").network.inner.expand.weight.detach().numpy()
    at = data.find(weight.tobytes())
    data[at : at + 4 * 32] = np.ones(32, np.float32).tobytes()  # one filter
    blob.write_bytes(data)
    bad = trace(MilProgram.load(package))

    first = next(name for name in good if sqnr(good[name][1], bad[name][1]) < 60)
    op, tensor = good[first]
    assert op == "conv"
    assert tensor.shape == (1, 64, SIDE // 16, SIDE // 16)  # inner.expand, and nothing else


def test_rounding_in_the_program_settles_the_pixels(tmp_path: Path) -> None:
    def left_to_core_ml(rounded: bool) -> np.ndarray:
        model = Contract(build("unet").network, rounded).eval()
        protected = reload(convert(export(model), "FLOAT16"), tmp_path).run({"image": IMAGE})
        return np.asarray(protected["protected"] % 1 != 0)

    assert left_to_core_ml(rounded=False).mean() > 0.2
    assert not left_to_core_ml(rounded=True).any()


class Channels(nn.Module):
    """A different factor for each of the channels that the program sees first, second, third."""

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        factors = torch.tensor([1.0, 0.5, 0.25]).reshape(1, 3, 1, 1)
        return image * factors * 255, image + 1


def test_arrays_are_rgb_and_other_orders_are_refused(tmp_path: Path) -> None:
    program = export(Channels().eval())
    result = reload(convert(program), tmp_path).predict({"image": IMAGE})
    expected = IMAGE * np.array([1, 0.5, 0.25])
    assert np.abs(result["protected"] - expected).max() <= 0.5001
    planes = IMAGE.transpose(2, 0, 1) / 255 + 1
    np.testing.assert_allclose(result["delta"][0], planes, atol=1e-6)
    with pytest.raises(MilError, match="'image' has colour space 30, not modelled"):
        reload(convert(program, layout="BGR"), tmp_path)


class Doubled(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return 2 * image


def test_image_preprocessing_is_part_of_the_program(tmp_path: Path) -> None:
    model = ct.convert(
        export(Doubled()),
        convert_to="mlprogram",
        inputs=[ct.ImageType("image", (1, 3, SIDE, SIDE), scale=2 / 255, bias=[-1, -0.5, 0.25])],
        outputs=[ct.TensorType("out", dtype=np.float32)],
        minimum_deployment_target=ct.target.iOS17,
        compute_precision=ct.precision.FLOAT32,
        skip_model_load=True,
    )
    got = reload(model, tmp_path).predict({"image": IMAGE})["out"]
    expected = IMAGE.transpose(2, 0, 1) * (2 / 255) + np.reshape([-1, -0.5, 0.25], (3, 1, 1))
    np.testing.assert_allclose(got[0], 2 * expected, atol=1e-6)


def test_nan_in_an_image_is_an_error_and_in_an_array_is_passed_on(tmp_path: Path) -> None:
    class Broken(nn.Module):
        def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
            endless = (image + 1) * 1e38 * 1e38
            return endless - endless, endless - endless

    program = reload(convert(export(Broken())), tmp_path)
    assert np.isnan(program.run({"image": IMAGE})["delta"]).all()
    with pytest.raises(MilError, match="'protected' holds NaN"):
        program.predict({"image": IMAGE})


def test_importing_loads_no_heavy_package() -> None:
    code = "import sys, rid_export.mil; print({'torch', 'coremltools'} & set(sys.modules))"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert output.strip() == "set()"
