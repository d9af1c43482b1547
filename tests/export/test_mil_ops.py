"""Every operation of the interpreter, one program each, against torch or the documented formula."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from rid_export.mil import MilProgram
from rid_export.mil.registry import known_ops

ct = pytest.importorskip("coremltools")
from coremltools.converters.mil import Builder as mb  # noqa: E402
from coremltools.converters.mil.mil import types  # noqa: E402

logging.getLogger("coremltools").setLevel(logging.ERROR)
T = torch.Tensor


@pytest.fixture(autouse=True, scope="module")
def _quick_conversion() -> Iterator[None]:
    # ct.convert runs a full garbage collection each time; with torch loaded that is 0.2 s.
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def load(prog: Any, path: Path, target: str = "iOS17") -> MilProgram:
    """A MIL program, written as it is (no optimisation passes) and read back."""
    model = ct.convert(
        prog,
        convert_to="mlprogram",
        minimum_deployment_target=getattr(ct.target, target),
        compute_precision=ct.precision.FLOAT32,
        pass_pipeline=ct.PassPipeline.EMPTY,
        skip_model_load=True,
    )
    model.save(str(path / "op.mlpackage"))
    return MilProgram.load(path / "op.mlpackage")


def values(*shape: int, low: float = -2.0, high: float = 2.0, seed: int = 0) -> np.ndarray:
    """Random numbers that fp16 holds exactly, so that one reference serves both precisions."""
    rng = np.random.default_rng(seed + sum(shape))
    return rng.uniform(low, high, shape).astype(np.float16).astype(np.float32)


@dataclass(frozen=True)
class Case:
    """``build(f, *vars)`` makes the operation; ``f`` casts constants to its precision."""

    op: str
    build: Callable[..., Any]
    inputs: tuple[np.ndarray, ...]
    reference: Callable[..., T | tuple[T, ...]]
    label: str = ""
    target: str = "iOS17"

    @property
    def id(self) -> str:
        return f"{self.op}-{self.label}" if self.label else self.op


X = values(1, 4, 6, 5)
Y = values(1, 4, 1, 5, seed=1)
POSITIVE = values(2, 3, 4, low=0.1, high=3)
G, D = values(4, low=0.5), values(4, seed=2)
HALVES = np.array([[-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.3, -0.7]], np.float32)


def unary(op: str, reference: Callable[[T], T], x: np.ndarray = X, **kwargs: Any) -> Case:
    return Case(op, lambda f, v: getattr(mb, op)(x=v, **kwargs), (x,), reference)


def binary(op: str, reference: Callable[[T, T], T], x: np.ndarray = X, y: np.ndarray = Y) -> Case:
    return Case(op, lambda f, v, w: getattr(mb, op)(x=v, y=w), (x, y), reference)


def alpha(op: str, reference: Callable[[T], T], **constants: Any) -> Case:
    def build(f: Callable[..., Any], v: Any) -> Any:
        return getattr(mb, op)(x=v, **{name: f(value) for name, value in constants.items()})

    return Case(op, build, (X,), reference)


ELEMENTWISE = [
    binary("add", lambda x, y: x + y),
    binary("sub", lambda x, y: x - y),
    binary("mul", lambda x, y: x * y),
    binary("real_div", lambda x, y: x / y, y=values(1, 4, 1, 5, low=0.5, high=2)),
    binary("maximum", torch.maximum),
    binary("minimum", torch.minimum),
    binary("pow", torch.pow, POSITIVE, values(2, 3, 4, seed=3)),
    alpha("clip", lambda x: x.clamp(-0.5, 1.25), alpha=-0.5, beta=1.25),
    unary("abs", torch.abs),
    unary("sign", torch.sign),
    unary("sqrt", torch.sqrt, POSITIVE),
    unary("square", torch.square),
    unary("exp", torch.exp),
    unary("erf", torch.erf),
    unary("sin", torch.sin),
    unary("cos", torch.cos),
    unary("round", lambda x: torch.tensor([[-2, -2, 0, 0, 2, 2, 0, -1]]).float(), HALVES),
    unary("floor", torch.floor),
    unary("ceil", torch.ceil),
    unary("identity", lambda x: x),
    unary("rsqrt", torch.rsqrt, POSITIVE),
    unary("inverse", lambda x: 1 / (x + 1e-4), POSITIVE),
    unary("log", torch.log, POSITIVE),
    alpha("rsqrt", lambda x: (x + 4) ** -0.5, epsilon=4.0),
    alpha("inverse", lambda x: 1 / (x + 4), epsilon=4.0),
    alpha("log", lambda x: (x + 4).log(), epsilon=4.0),
]

ACTIVATIONS = [
    unary("relu", F.relu),
    unary("relu6", F.relu6, X * 5),
    alpha("clamped_relu", lambda x: F.leaky_relu(x, 0.25).clamp(max=1), alpha=0.25, beta=1.0),
    alpha("leaky_relu", lambda x: F.leaky_relu(x, 0.25), alpha=0.25),
    alpha("thresholded_relu", lambda x: F.threshold(x, 0.5, 0), alpha=0.5),
    alpha("prelu", lambda x: F.prelu(x, torch.from_numpy(G)), alpha=G),
    alpha("elu", lambda x: F.elu(x, 0.5), alpha=0.5),
    alpha("linear_activation", lambda x: 0.5 * x - 1, alpha=0.5, beta=-1.0),
    unary("sigmoid", torch.sigmoid),
    alpha("sigmoid_hard", lambda x: (0.25 * x + 0.5).clamp(0, 1), alpha=0.25, beta=0.5),
    unary("tanh", torch.tanh),
    alpha("scaled_tanh", lambda x: 1.5 * torch.tanh(0.5 * x), alpha=1.5, beta=0.5),
    unary("silu", F.silu),
    unary("softplus", F.softplus),
    unary("softmax", lambda x: x.softmax(-1)),
    Case("softmax", lambda f, v: mb.softmax(x=v, axis=1), (X,), lambda x: x.softmax(1), "axis"),
    unary("gelu", F.gelu),
    Case(
        "gelu",
        lambda f, v: mb.gelu(x=v, mode="TANH_APPROXIMATION"),
        (X,),
        lambda x: F.gelu(x, approximate="tanh"),
        "tanh",
    ),
    Case(
        "gelu",
        lambda f, v: mb.gelu(x=v, mode="SIGMOID_APPROXIMATION"),
        (X,),
        lambda x: x * torch.sigmoid(1.702 * x),
        "sigmoid",
    ),
]


def convolution(
    label: str,
    weight: np.ndarray,
    reference: Callable[[T, T, T], T],
    x: np.ndarray = X,
    op: str = "conv",
    bias: int = 0,
    **kwargs: Any,
) -> Case:
    b = values(bias or weight.shape[0], seed=7)

    def build(f: Callable[..., Any], v: Any) -> Any:
        return getattr(mb, op)(x=v, weight=f(weight), bias=f(b), **kwargs)

    def expected(v: T) -> T:
        return reference(v, torch.from_numpy(weight), torch.from_numpy(b))

    return Case(op, build, (x,), expected, label)


CONVOLUTIONS = [
    convolution("pointwise", values(7, 4, 1, 1), F.conv2d),
    convolution(
        "patchify", values(6, 4, 3, 3), lambda x, w, b: F.conv2d(x, w, b, stride=3),
        values(1, 4, 9, 6), strides=[3, 3], pad_type="valid",
    ),
    convolution(
        "depthwise", values(4, 1, 5, 5), lambda x, w, b: F.conv2d(x, w, b, padding=2, groups=4),
        pad_type="custom", pad=[2, 2, 2, 2], groups=4,
    ),
    convolution(
        "groups", values(6, 2, 3, 3), lambda x, w, b: F.conv2d(x, w, b, padding=1, groups=2),
        pad_type="same", groups=2,
    ),
    convolution(
        "uneven-pad", values(3, 4, 3, 2),
        lambda x, w, b: F.conv2d(F.pad(x, (3, 0, 1, 2)), w, b, stride=(2, 1)),
        pad_type="custom", pad=[1, 2, 3, 0], strides=[2, 1],
    ),
    convolution(
        "dilated", values(3, 4, 3, 3), lambda x, w, b: F.conv2d(x, w, b, padding=2, dilation=2),
        pad_type="custom", pad=[2, 2, 2, 2], dilations=[2, 2],
    ),
    convolution(  # one more row and column at the end
        "same-even", values(3, 4, 2, 4), lambda x, w, b: F.conv2d(F.pad(x, (1, 2, 0, 1)), w, b),
        pad_type="same",
    ),
    convolution(  # ... and at the start
        "same-lower", values(3, 4, 2, 4), lambda x, w, b: F.conv2d(F.pad(x, (2, 1, 1, 0)), w, b),
        pad_type="same_lower",
    ),
    convolution(  # ceil(5 / 2) = 3 columns, ceil(6 / 2) = 3 rows
        "same-strided", values(3, 4, 3, 3),
        lambda x, w, b: F.conv2d(F.pad(x, (1, 1, 0, 1)), w, b, stride=2),
        pad_type="same", strides=[2, 2],
    ),
    convolution("one-d", values(5, 4, 3), F.conv1d, values(2, 4, 9)),
    convolution("three-d", values(5, 2, 2, 2, 2), F.conv3d, values(1, 2, 4, 3, 5)),
    convolution(
        "stride-kernel", values(4, 3, 2, 2), lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2),
        op="conv_transpose", bias=3, strides=[2, 2],
    ),
    convolution(
        "padded", values(4, 3, 4, 4),
        lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2, padding=1),
        op="conv_transpose", bias=3, strides=[2, 2], pad_type="custom", pad=[1, 1, 1, 1],
    ),
    convolution(
        "groups", values(4, 2, 3, 3),
        lambda x, w, b: F.conv_transpose2d(x, w, b, groups=2, dilation=2),
        op="conv_transpose", bias=4, groups=2, dilations=[2, 2],
    ),
    convolution(
        "same", values(4, 3, 4, 4),
        lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2, padding=1),
        op="conv_transpose", bias=3, strides=[2, 2], pad_type="same",
    ),
    convolution(
        "output-shape", values(4, 3, 3, 3),
        lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2, padding=1, output_padding=1),
        op="conv_transpose", bias=3, strides=[2, 2], pad_type="custom", pad=[1, 1, 1, 1],
        output_shape=[1, 3, 12, 10],
    ),
    convolution(  # a kernel below the stride leaves a gap at the end; it holds the bias
        "output-gap", values(4, 3, 1, 1),
        lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2, output_padding=1),
        op="conv_transpose", bias=3, strides=[2, 2], output_shape=[1, 3, 12, 10],
    ),
]  # fmt: skip

W, B = values(7, 5), values(7)
QKV = (values(1, 2, 3, 4), values(1, 2, 5, 4), values(1, 2, 5, 6))
V = values(4, low=2.5, high=4)
TG, TD, TV = (torch.from_numpy(array) for array in (G, D, V))

LINEAR = [
    Case(
        "linear", lambda f, v: mb.linear(x=v, weight=f(W), bias=f(B)), (values(2, 3, 5),),
        lambda x: x @ torch.from_numpy(W).T + torch.from_numpy(B),
    ),
    binary("matmul", torch.matmul, values(2, 3, 4), values(2, 4, 5)),
    Case(
        "matmul", lambda f, v, w: mb.matmul(x=v, y=w, transpose_x=True, transpose_y=True),
        (values(2, 4, 3), values(1, 5, 4)),
        lambda x, y: x.transpose(1, 2) @ y.transpose(1, 2), "transposed",
    ),
    Case(
        "scaled_dot_product_attention",
        lambda f, q, k, v: mb.scaled_dot_product_attention(query=q, key=k, value=v),
        QKV, lambda q, k, v: ((q @ k.mT) / 2).softmax(-1) @ v, target="iOS18",
    ),
    Case(
        "scaled_dot_product_attention",
        lambda f, q, k, v, m: mb.scaled_dot_product_attention(query=q, key=k, value=v, attn_mask=m),
        (*QKV, values(1, 1, 3, 5)),
        lambda q, k, v, m: ((q @ k.mT) / 2 + m).softmax(-1) @ v, "mask", "iOS18",
    ),
    Case(
        "layer_norm", lambda f, v: mb.layer_norm(x=v, axes=[-1], epsilon=f(2**-10)),
        (values(2, 3, 8),), lambda x: F.layer_norm(x, (8,), eps=2**-10),
    ),
    Case(
        "layer_norm",
        lambda f, v: mb.layer_norm(x=v, axes=[1], gamma=f(G), beta=f(D), epsilon=f(2**-10)), (X,),
        lambda x: F.layer_norm(x.movedim(1, -1), (4,), TG, TD, 2**-10).movedim(-1, 1), "channels",
    ),
    Case(
        "batch_norm",
        lambda f, v: mb.batch_norm(x=v, mean=f(D), variance=f(V), gamma=f(G), beta=f(D)), (X,),
        lambda x: F.batch_norm(x, TD, TV, TG, TD, eps=1e-5),
    ),
    Case(
        "batch_norm",
        lambda f, v: mb.batch_norm(x=v, mean=f(D), variance=f(V), epsilon=f(0.5)), (X,),
        lambda x: F.batch_norm(x, TD, TV, eps=0.5), "plain",
    ),
    Case(
        "instance_norm",
        lambda f, v: mb.instance_norm(x=v, gamma=f(G), beta=f(D), epsilon=f(0.5)), (X,),
        lambda x: F.instance_norm(x, weight=TG, bias=TD, eps=0.5),
    ),
]  # fmt: skip


def reduction(op: str, reference: Callable[..., T]) -> list[Case]:
    def build(**kwargs: Any) -> Callable[..., Any]:
        return lambda f, v: getattr(mb, op)(x=v, **kwargs)

    return [
        Case(op, build(axes=[2, 3], keep_dims=True), (X,), lambda x: reference(x, (2, 3), True)),
        Case(
            op, build(axes=[-1], keep_dims=False), (X,), lambda x: reference(x, (3,), False), "drop"
        ),
    ]


REDUCTIONS = [
    *reduction("reduce_mean", torch.mean),
    *reduction("reduce_sum", torch.sum),
    *reduction("reduce_max", torch.amax),
    *reduction("reduce_min", torch.amin),
]


def shaped(op: str, reference: Callable[..., Any], label: str = "", **kwargs: Any) -> Case:
    x = kwargs.pop("x", X)
    return Case(op, lambda f, v: getattr(mb, op)(x=v, **kwargs), (x,), reference, label)


D2S = np.arange(1, 17, dtype=np.float32).reshape(1, 8, 1, 2)
D2S_EXPECTED = torch.tensor(
    [[[[1, 5, 2, 6], [9, 13, 10, 14]], [[3, 7, 4, 8], [11, 15, 12, 16]]]], dtype=torch.float32
)
SQUARE = values(1, 8, 4, 6)

SHAPES = [
    shaped("transpose", lambda x: x.permute(0, 2, 3, 1), perm=[0, 2, 3, 1]),
    shaped("transpose", lambda x: x.permute(0, 3, 1, 2), "negative", perm=[0, -1, 1, 2]),
    shaped("reshape", lambda x: x.reshape(2, 2, 30), shape=[2, 2, 30]),
    shaped("reshape", lambda x: x.reshape(1, 8, 3, 5), "inherit", shape=[0, 8, -1, 0]),
    shaped("expand_dims", lambda x: x[:, None, ..., None], x=values(2, 3, 4), axes=[1, -1]),
    shaped("squeeze", lambda x: x[0], axes=[0]),
    shaped("squeeze", lambda x: x.squeeze(), "all", x=values(1, 3, 1, 2)),
    shaped("slice_by_index", lambda x: x[:, 1:3].flip(2)[:, :, 1:5:2, ::2],
           begin=[0, 1, 4, 0], end=[0, 3, 0, 0], stride=[1, 1, -2, 2],
           begin_mask=[True, False, False, True], end_mask=[True, False, False, True]),
    shaped("slice_by_index", lambda x: x[0, :, -2], "squeeze",
           begin=[0, 0, -2, 0], end=[1, 4, 0, 5], squeeze_mask=[True, False, True, False]),
    shaped("slice_by_size", lambda x: x[:, 1:3, -4:-2, 2:],
           begin=[0, 1, -4, 2], size=[1, 2, 2, -1]),
    shaped("split", lambda x: x.split([1, 3], 1), axis=1, split_sizes=[1, 3]),
    shaped("split", lambda x: x.chunk(2, 1), "equal", axis=-3, num_splits=2),
    shaped("reverse", lambda x: x.flip(-1, 1), axes=[-1, 1]),
    shaped("tile", lambda x: torch.cat([x, x], 2), reps=[1, 1, 2, 1]),
    shaped("crop", lambda x: x[:, :, 1:4, :-1], crop_height=[1, 2], crop_width=[0, 1]),
    shaped("pad", lambda x: F.pad(x, (3, 0, 1, 2)), pad=[1, 2, 3, 0]),
    Case("pad", lambda f, v: mb.pad(x=v, pad=[1, 2], constant_val=f(0.5)), (X,),
         lambda x: F.pad(x, (1, 2), value=0.5), "value"),
    shaped("pad", lambda x: F.pad(x, (1, 4, 3, 2), "reflect"), "reflect",
           pad=[3, 2, 1, 4], mode="reflect"),
    shaped("pad", lambda x: F.pad(x, (1, 5, 3, 2), "replicate"), "replicate",
           pad=[0, 0, 0, 0, 3, 2, 1, 5], mode="replicate"),
    shaped("pixel_shuffle", lambda x: F.pixel_shuffle(x, 2), x=SQUARE, upscale_factor=2),
    shaped("pixel_unshuffle", lambda x: F.pixel_unshuffle(x, 2), x=SQUARE,
           downscale_factor=np.uint32(2)),
    # The example of the specification, ReorganizeDataLayerParams: not torch's order.
    shaped("depth_to_space", lambda x: D2S_EXPECTED, x=D2S, block_size=2),
    shaped("space_to_depth", lambda x: torch.from_numpy(D2S), x=D2S_EXPECTED.numpy(), block_size=2),
    Case("concat", lambda f, v, w: mb.concat(values=(v, w), axis=2), (X, Y),
         lambda x, y: torch.cat([x, y], 2)),
    Case("concat", lambda f, v, w: mb.concat(values=(v, w), axis=-1, interleave=True),
         (values(2, 3), values(2, 3, seed=1)),
         lambda x, y: torch.stack([x, y], -1).reshape(2, 6), "interleave"),
    Case("concat", lambda f, v: mb.concat(values=(v,), axis=0), (X,), lambda x: x, "one"),
    Case("stack", lambda f, v, w: mb.stack(values=(v, w), axis=1),
         (values(2, 3), values(2, 3, seed=1)), lambda x, y: torch.stack([x, y], 1)),
]  # fmt: skip


def resized(op: str, height: int, width: int, aligned: bool, label: str, **kwargs: Any) -> Case:
    def reference(x: T) -> T:
        return F.interpolate(x, (height, width), mode="bilinear", align_corners=aligned)

    return shaped(op, reference, label, **kwargs)


RESIZES = [
    shaped("upsample_nearest_neighbor", lambda x: F.interpolate(x, scale_factor=(2, 3)),
           scale_factor_height=2, scale_factor_width=3),
    shaped("upsample_nearest_neighbor", lambda x: F.interpolate(x, scale_factor=2), "float",
           scale_factor_height=np.float32(2), scale_factor_width=np.float32(2)),
    resized("upsample_bilinear", 12, 15, True, "aligned",
            scale_factor_height=2, scale_factor_width=3),
    resized("upsample_bilinear", 12, 15, False, "unaligned",
            scale_factor_height=2, scale_factor_width=3, align_corners=False),
    resized("upsample_bilinear", 9, 12, False, "fraction", scale_factor_height=np.float32(1.5),
            scale_factor_width=np.float32(2.5), align_corners=False),
    resized("resize_bilinear", 9, 4, False, "unaligned",
            target_size_height=9, target_size_width=4, sampling_mode="UNALIGN_CORNERS"),
    resized("resize_bilinear", 9, 4, True, "strict",
            target_size_height=9, target_size_width=4, sampling_mode="STRICT_ALIGN_CORNERS"),
    resized("resize_bilinear", 9, 4, True, "aligned",
            target_size_height=9, target_size_width=4, sampling_mode="ALIGN_CORNERS"),
]  # fmt: skip

CASES = [*ELEMENTWISE, *ACTIVATIONS, *CONVOLUTIONS, *LINEAR, *REDUCTIONS, *SHAPES, *RESIZES]


def run_case(case: Case, path: Path, dtype: type[np.floating[Any]]) -> tuple[list[Any], list[T]]:
    """(results, expected) of a case in a precision."""
    inputs = [array.astype(dtype) for array in case.inputs]
    mil_type = types.fp16 if dtype is np.float16 else types.fp32

    def build(*variables: Any) -> Any:
        return case.build(lambda value: np.asarray(value, dtype)[()], *variables)

    by_arity = [lambda a: build(a), lambda a, b: build(a, b),
                lambda a, b, c: build(a, b, c), lambda a, b, c, d: build(a, b, c, d)]  # fmt: skip
    prog = mb.program(
        input_specs=[mb.TensorSpec(array.shape, mil_type) for array in inputs],
        opset_version=getattr(ct.target, case.target),
    )(by_arity[len(inputs) - 1])
    program = load(prog, path, case.target)
    results = list(program.run(dict(zip("abcd", inputs, strict=False))).values())
    expected = case.reference(*(torch.from_numpy(array).float() for array in inputs))
    return results, list(expected) if isinstance(expected, tuple) else [expected]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_operation_matches_torch(case: Case, dtype: Any, tmp_path: Path) -> None:
    results, expected = run_case(case, tmp_path, dtype)
    assert len(results) == len(expected)
    for got, want in zip(results, expected, strict=True):
        assert got.dtype == dtype
        assert got.shape == tuple(want.shape)
        # fp32: two orders of summation apart. fp16: then rounded, half a unit in the last place.
        rtol, atol = (2e-6, 4e-6) if dtype is np.float32 else (2.0**-11 + 2e-6, 2.0**-24 + 4e-6)
        np.testing.assert_allclose(got.astype(np.float32), want.numpy(), rtol, atol)


def test_every_operation_is_tested() -> None:
    elsewhere = {"cast", "quantize", "dequantize"} | {
        op for op in known_ops() if op.startswith("constexpr_")
    }
    assert known_ops() - {case.op for case in CASES} == elsewhere


@pytest.mark.parametrize(("mode", "xout", "expected"), [
    # The examples at MIL's resize_bilinear, for Xin = 2 and the values [0, 1].
    ("UNALIGN_CORNERS", 5, [0.0, 0.1, 0.5, 0.9, 1.0]),
    ("STRICT_ALIGN_CORNERS", 5, [0.0, 0.25, 0.5, 0.75, 1.0]),
    ("DEFAULT", 5, [0.0, 0.4, 0.8, 1.0, 1.0]),
    ("OFFSET_CORNERS", 5, [0.1, 0.3, 0.5, 0.7, 0.9]),
    ("DEFAULT", 6, [0.0, 1 / 3, 2 / 3, 1.0, 1.0, 1.0]),
    ("OFFSET_CORNERS", 6, [1 / 12, 0.25, 5 / 12, 7 / 12, 0.75, 11 / 12]),
    ("ALIGN_CORNERS", 1, [0.5]),
    ("STRICT_ALIGN_CORNERS", 1, [0.0]),
])  # fmt: skip
def test_resize_bilinear_samples_where_documented(
    mode: str, xout: int, expected: list[float], tmp_path: Path
) -> None:
    @mb.program(input_specs=[mb.TensorSpec((1, 1, 2))], opset_version=ct.target.iOS17)
    def prog(x: Any) -> Any:
        return mb.resize_bilinear(
            x=x, target_size_height=1, target_size_width=xout, sampling_mode=mode
        )

    (result,) = load(prog, tmp_path).run({"x": np.array([[[0, 1]]], np.float32)}).values()
    np.testing.assert_allclose(result.reshape(-1), expected, atol=1e-6)


@pytest.mark.parametrize(("dtype", "expected"), [
    ("int32", [-1, 0, 0, 1, 2]), ("uint8", None), ("int8", [-1, 0, 0, 1, 2]),
    ("bool", [True, True, False, True, True]), ("fp16", [-1.7, -0.5, 0, 1.7, 2.5]),
])  # fmt: skip
def test_cast_drops_fractions_and_refuses_what_does_not_fit(
    dtype: str, expected: list[Any] | None, tmp_path: Path
) -> None:
    # Back to fp32 at the end: no output of a model can be uint8 or boolean.
    @mb.program(input_specs=[mb.TensorSpec((5,))], opset_version=ct.target.iOS17)
    def prog(x: Any) -> Any:
        return mb.cast(x=mb.cast(x=x, dtype=dtype), dtype="fp32")

    program = load(prog, tmp_path)
    x = {"x": np.array([-1.7, -0.5, 0, 1.7, 2.5], np.float32)}
    if expected is None:
        with pytest.raises(ValueError, match="outside uint8"):
            program.run(x)
        return
    (result,) = program.run(x).values()
    np.testing.assert_array_equal(result, np.array(expected, np.float16).astype(np.float32))


def test_fp16_rounds_after_every_operation(tmp_path: Path) -> None:
    # 2048 + 1 is a tie in fp16 and rounds to the even 2048; in fp32 the sum is exact.
    @mb.program(input_specs=[mb.TensorSpec((1,), types.fp16)], opset_version=ct.target.iOS17)
    def prog(x: Any) -> Any:
        return mb.sub(x=mb.add(x=x, y=np.float16(1)), y=np.float16(2048))

    (result,) = load(prog, tmp_path).run({"x": np.array([2048], np.float16)}).values()
    assert result.dtype == np.float16
    assert result.tolist() == [0.0]


def test_fp16_overflows_to_infinity(tmp_path: Path) -> None:
    @mb.program(input_specs=[mb.TensorSpec((1,), types.fp16)], opset_version=ct.target.iOS17)
    def prog(x: Any) -> Any:
        return mb.mul(x=x, y=np.float16(2))

    (result,) = load(prog, tmp_path).run({"x": np.array([60000], np.float16)}).values()
    assert np.isinf(result).all()


def test_fractional_nearest_is_refused(tmp_path: Path) -> None:
    @mb.program(input_specs=[mb.TensorSpec((1, 1, 4, 4))], opset_version=ct.target.iOS17)
    def prog(x: Any) -> Any:
        return mb.upsample_nearest_neighbor(x=x, scale_factor_height=1.5, scale_factor_width=1.5)

    with pytest.raises(ValueError, match=r"by 1\.5 is not modelled"):
        load(prog, tmp_path).run({"x": np.zeros((1, 1, 4, 4), np.float32)})
