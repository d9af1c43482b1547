"""Faults that need a graph of their own: converted, given sound metadata, sealed, and refused.

See ``test_faults.py`` for those that are planted into the bytes of a sound file.
"""

from __future__ import annotations

from pathlib import Path

import planted
import pytest
import torch
from planted import SUFFIX, Spoil, make_network, refuse

from rid_core.output import suppress_output
from rid_export.verification import verify

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("two_portraits")]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without blocks: for faults that need a conversion of their own."""
    path = tmp_path_factory.mktemp("network") / "bare.safetensors"
    return make_network(path, width=16, detail_width=8, inner_blocks=0, outer_blocks=0)


TARGETS = ["onnx", *(pytest.param(name, marks=pytest.mark.full) for name in ("coreml", "tflite"))]


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_nothing_planted(target: str, bare: Path, tmp_path: Path) -> None:
    path = planted.convert(target, bare, tmp_path / f"rid-n{SUFFIX[target]}")
    with suppress_output():
        assert verify(path, bare).parity


def pixels_as_planes(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 2, 3, 1).reshape(x.shape)


def planes_as_pixels(x: torch.Tensor) -> torch.Tensor:
    size = x.shape[2]
    return x.reshape(1, size, size, 3).permute(0, 3, 1, 2)


def blur(x: torch.Tensor) -> torch.Tensor:
    """The mean over 3 x 3 pixels, edges repeated, by operators that all three formats have."""
    x = torch.cat([x[:, :, :1], x, x[:, :, -1:]], 2)
    x = x[:, :, :-2] + x[:, :, 1:-1] + x[:, :, 2:]
    x = torch.cat([x[..., :1], x, x[..., -1:]], 3)
    return (x[..., :-2] + x[..., 1:-1] + x[..., 2:]) / 9


def bgr(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([x[:, 2:], x[:, 1:2], x[:, :1]], 1)


def other_weights(network: torch.nn.Module) -> None:
    for parameter in network.parameters():
        parameter.copy_(parameter.flatten().roll(7).reshape(parameter.shape))


def five_bits(network: torch.nn.Module) -> None:
    for parameter in network.parameters():
        step = parameter.abs().max() / 15
        parameter.copy_((parameter / step).round() * step)


SLICED = "slice_by_index .*is no op of this interpreter"
"""What our networks do not convert to is refused by name, whatever it computes."""

GREEN = torch.tensor([1.0, 0.5, 1.0]).reshape(1, 3, 1, 1)
GRAPHS: dict[str, tuple[Spoil, str | dict[str, str]]] = {
    "gamma": (
        Spoil(before=lambda x: x**2.2),
        {"": r"linear light .*gamma", "coreml": "pow .*is no op of this interpreter"},
    ),
    "NHWC for NCHW in": (Spoil(before=pixels_as_planes), "axes are mixed.* in the input"),
    "NHWC for NCHW out": (Spoil(after=planes_as_pixels), "axes are mixed.* in the output"),
    "delta scaled": (Spoil(after=lambda d: d * 0.9), r"delta is scaled by 0\.9 "),
    "eps inside delta": (Spoil(after=lambda d: d * (8 / 255)), r"delta is scaled by 0\.0313"),
    "height for width": (
        Spoil(after=lambda d: d.transpose(2, 3)),
        "height and width are swapped in the output",
    ),
    "blurred": (Spoil(after=blur), {"": "the output is blurred", "coreml": SLICED}),
    "clipped": (Spoil(after=lambda d: d.clamp(-0.5, 0.5)), r"delta is clipped at 0\.5 "),
    "tanh twice": (Spoil(after=torch.tanh), "tanh is applied twice"),
    "one colour": (Spoil(after=lambda d: d * GREEN), "only the green channel is wrong"),
    "other weights": (Spoil(network=other_weights), "delta_sqnr_db is .*(differ|saturates)"),
    "five bits": (Spoil(network=five_bits), "or the precision is too low"),
    "eps doubled": (
        Spoil(protect=lambda x, d, eps: planted.add(x, d, 2 * eps)),
        "change_levels is 1.*adds 2 times eps",
    ),
    "eps halved": (
        Spoil(protect=lambda x, d, eps: planted.add(x, d, eps / 2)),
        r"protected_error_levels is .*adds 0\.\d+ times eps",
    ),
    "perturbation subtracted": (
        Spoil(protect=lambda x, d, eps: planted.add(x, d, -eps)),
        r"adds -\S+ times eps",
    ),
    "not added": (Spoil(protect=lambda x, d, eps: x + 0 * d), "delta is not added"),
    "red and blue in protected": (
        Spoil(protect=lambda x, d, eps: planted.add(bgr(x), d, eps)),
        {"": "protected has red and blue swapped", "coreml": SLICED},
    ),
    "factor 255": (
        Spoil(scale=lambda scale: 255.0 if scale == 1 else 1.0),
        {"": r"a factor \(255\?\) is left", "coreml": "protected is black: the factor 255"},
    ),
}


CASES = [(name, target) for name in GRAPHS for target in sorted(SUFFIX)]
IN_SHORT = {("gamma", "tflite"), ("eps doubled", "coreml"), ("NHWC for NCHW out", "onnx")}
"""One conversion for each format; on arrays test_parity.py plants them all."""


@pytest.mark.parametrize(
    ("name", "target"),
    [pytest.param(*case, marks=() if case in IN_SHORT else pytest.mark.full) for case in CASES],
)
def test_graphs(name: str, target: str, bare: Path, tmp_path: Path) -> None:
    spoil, patterns = GRAPHS[name]
    path = planted.convert(target, bare, tmp_path / f"rid-n{SUFFIX[target]}", spoil)
    pattern = patterns if isinstance(patterns, str) else patterns.get(target, patterns.get("", ""))
    refuse(path, bare, pattern)


@pytest.mark.parametrize("target", ["onnx", TARGETS[-1]])
def test_clamp_missing(target: str, bare: Path, tmp_path: Path) -> None:
    """In Core ML an image output clamps by itself."""
    spoil = Spoil(protect=lambda x, d, eps: x + d * eps)
    path = planted.convert(target, bare, tmp_path / f"rid-n{SUFFIX[target]}", spoil)
    refuse(path, bare, r"leaves 0\.\.1: the clamp at the end is missing")


@pytest.mark.parametrize("target", ["onnx", TARGETS[-1]])
def test_outputs_swapped(target: str, bare: Path, tmp_path: Path) -> None:
    """In Core ML one is an image, the other an array, and cannot be taken for each other."""
    path = planted.convert(target, bare, tmp_path / f"rid-n{SUFFIX[target]}", Spoil(swapped=True))
    refuse(path, bare, "delta_sqnr_db is .*delta holds protected: the outputs are swapped")


def test_output_missing(target: str, bare: Path, tmp_path: Path) -> None:
    path = tmp_path / f"rid-n{SUFFIX[target]}"
    planted.convert(target, bare, path, outputs=("delta",))
    refuse(path, bare, "metadata (promises|says).*protected|has protected as None")


def test_resolution(target: str, bare: Path, tmp_path: Path) -> None:
    path = tmp_path / f"rid-n{SUFFIX[target]}"
    planted.convert(target, bare, path, resolution=96)
    refuse(path, bare, r"(?s)image.*\b64, 64.*96, 96|image.*96, 96.*64, 64")


@pytest.mark.parametrize("target", ["onnx", TARGETS[-1]])
def test_dtype(target: str, bare: Path, tmp_path: Path) -> None:
    path = tmp_path / f"rid-n{SUFFIX[target]}"
    planted.convert(target, bare, path, Spoil(after=lambda d: d.half()))
    refuse(path, bare, "says delta is float32 .*the network has float16")
