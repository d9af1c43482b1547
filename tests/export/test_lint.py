"""Lint: our phone networks are clean, and everything it knows of is found and named."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rid_core.errors import RidError
from rid_export.lint import Finding, lint_lines, lint_preset, lint_program
from rid_export.lint_rules import ANE, GPU, NPU, RULES, Site


@pytest.mark.parametrize("preset", ["rid-n", "rid-s", "rid-b"])
def test_phone_presets_are_clean(preset: str) -> None:
    assert lint_preset(preset, ("nhwc", "nchw"), 512) == []


def test_the_papers_network_gets_its_warnings() -> None:
    findings = {finding.rule.name: finding for finding in lint_preset("rid-dit", ("nhwc",), 512)}
    assert set(findings) == {
        "rank-above-4",
        "gelu",
        "layer-norm",
        "attention",
        "linear-on-tokens",
    }
    gelu = findings["gelu"]
    assert [site.module for site in gelu.sites] == [f"blocks.{n}" for n in range(14)]
    assert re.fullmatch(
        r"blocks\.0 \(_Block\), blocks\.1 \(_Block\), blocks\.2 \(_Block\) and 11 more: gelu "
        r"\[LiteRT GPU, NNAPI-era NPU\]: .*; use relu, or x \* sigmoid\(1\.702 x\)",
        gelu.line(),
    )


class Layer(nn.Module):
    def __init__(self, function: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x)


class Network(nn.Module):
    """A layer under test between two sound ones."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.body = nn.Sequential(nn.ReLU(), layer)

    def forward(self, x: torch.Tensor) -> Any:
        return self.body(torch.relu(self.first(x)))


def lint(layer: nn.Module, layout: str = "nchw", **export: Any) -> list[Finding]:
    example = torch.zeros(1, 3, 16, 16)
    program = torch.export.export(Network(layer).eval(), (example,), **export)
    return lint_program(program, layout)


STRUCK: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "gelu": ("gelu", nn.GELU),
    "gelu by tanh": ("gelu", lambda: nn.GELU("tanh")),
    "erf": ("gelu", lambda: Layer(torch.erf)),
    "layer norm": ("layer-norm", lambda: nn.LayerNorm(16)),
    "group norm": ("group-norm", lambda: nn.GroupNorm(2, 8)),
    "attention": (
        "attention",
        lambda: Layer(lambda x: F.scaled_dot_product_attention(x, x, x)),
    ),
    "rank 5": ("rank-above-4", lambda: Layer(lambda x: x.reshape(1, 2, 4, 16, 16))),
    "rank 6 inside": (
        "rank-above-4",
        lambda: Layer(
            lambda x: x.reshape(1, 2, 2, 2, 16, 16).permute(0, 1, 4, 2, 5, 3).reshape(1, 2, 32, 32)
        ),
    ),
    "linear": ("linear-on-tokens", lambda: nn.Sequential(nn.Flatten(2), nn.Linear(256, 4))),
    "bicubic": ("bicubic", lambda: nn.Upsample(scale_factor=2, mode="bicubic")),
    "transposed": ("big-transposed-convolution", lambda: nn.ConvTranspose2d(8, 3, 8, stride=8)),
    "dilated": ("dilation", lambda: nn.Conv2d(8, 8, 3, dilation=2)),
    "large kernel": ("large-kernel", lambda: nn.Conv2d(8, 8, 17, padding=8)),
    "gather": ("gather", lambda: Layer(lambda x: x[:, torch.tensor([0, 2, 1])])),
    "embedding": ("gather", lambda: Layer(lambda x: F.embedding(x.long().clamp(0, 3), x[0, 0]))),
    "masked fill": ("scatter", lambda: Layer(lambda x: x.masked_fill(x > 1, 0.0))),
    "where": ("data-dependent", lambda: Layer(lambda x: torch.where(x > 1, x, -x))),
    "sort": ("data-dependent", lambda: Layer(lambda x: x.sort(-1).values)),
    "three dimensions": (
        "three-dimensional",
        lambda: nn.Sequential(nn.Unflatten(1, (2, 4)), nn.Conv3d(2, 2, 1)),
    ),
    "flip": ("flip-and-roll", lambda: Layer(lambda x: x.flip(2))),
    "replicate": ("replicate-pad", lambda: nn.ReplicationPad2d(1)),
    "reflect": ("reflect-pad", lambda: nn.ReflectionPad2d(1)),
    "fourier": ("fourier", lambda: Layer(lambda x: torch.fft.rfft2(x).real)),
    "recurrent": ("recurrent", lambda: Layer(_Recurrent())),
}


class _Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(16, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.cell(x[:, 0])[0]
        return out


@pytest.mark.parametrize("name", STRUCK)
def test_struck(name: str) -> None:
    rule, make = STRUCK[name]
    findings = {finding.rule.name: finding for finding in lint(make())}
    assert rule in findings, sorted(findings)
    assert all(site.module.startswith("body.1") for site in findings[rule].sites)


SOUND: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "hard swish": nn.Hardswish,
    "depthwise 7": lambda: nn.Conv2d(8, 8, 7, padding=3, groups=8),
    "batch norm": lambda: nn.BatchNorm2d(8),
    "bilinear": lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
    "nearest": lambda: nn.Upsample(scale_factor=2),
    "pixel shuffle in NCHW": lambda: nn.PixelShuffle(2),
    "small transposed": lambda: nn.ConvTranspose2d(8, 8, 2, stride=2),
    "zero padding": lambda: nn.ZeroPad2d(1),
    "pooling": lambda: nn.AvgPool2d(2),
    "softmax": lambda: nn.Softmax(1),
    "slices": lambda: Layer(lambda x: torch.cat([x[:, :2], x[:, 2:]], 1)),
}


@pytest.mark.parametrize("name", SOUND)
def test_sound(name: str) -> None:
    assert [finding.line() for finding in lint(SOUND[name]())] == []


def test_pixel_shuffle_depends_on_the_layout() -> None:
    (finding,) = lint(nn.PixelShuffle(2), "nhwc")
    assert finding.rule.name == "pixel-shuffle-nhwc"
    assert finding.line().startswith("body.1 (PixelShuffle): pixel_shuffle [LiteRT GPU")


def test_dynamic_shapes() -> None:
    size = torch.export.Dim("size", min=16, max=64)
    findings = lint(nn.ReLU(), dynamic_shapes=({2: size},))
    assert "dynamic-shape" in {finding.rule.name for finding in findings}


def test_every_rule_is_tested_and_says_all_it_should() -> None:
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)
    tested = {rule for rule, _ in STRUCK.values()} | {"pixel-shuffle-nhwc", "dynamic-shape"}
    assert tested == set(names)
    for rule in RULES:
        assert rule.delegates
        for text in (rule.why, rule.instead, rule.source):
            assert len(text) > 5
            assert "\n" not in text
    assert {GPU, ANE, NPU} <= {delegate for rule in RULES for delegate in rule.delegates}


def test_json() -> None:
    (finding,) = lint(nn.GELU())
    document = finding.to_dict()
    assert document["sites"] == [{"op": "gelu", "module": "body.1", "class": "GELU"}]
    assert document["rule"] == "gelu"
    assert "model_builder.cc" in document["source"]


def test_both_layouts_are_told_once() -> None:
    both = lint_preset("rid-dit", ("nhwc", "nchw"), 512)
    assert len(both) == len(lint_preset("rid-dit", ("nchw",), 512))


def test_lines_never_fail(capfd: pytest.CaptureFixture[str]) -> None:
    from rid_core.defenders import create_defender

    assert lint_lines(create_defender("rid-n"), ("nhwc",), 64) == []
    (line,) = lint_lines(create_defender("rid-n"), ("nhwc",), 65)
    assert line.startswith("warning: the network could not be looked through")
    assert "\n" not in line
    assert capfd.readouterr() == ("", "")


def test_unknown_preset() -> None:
    with pytest.raises(RidError, match="did you mean rid-dit"):
        lint_preset("rid-dot", ("nhwc",), 512)


def test_rank_of_a_site() -> None:
    assert Site("add", "m", "M", "nhwc", ()).rank == 0
    assert Site("add", "m", "M", "nhwc", ((1, 2), (1, 2, 3))).rank == 3
