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

from rid_export.mil import MilError, MilProgram
from rid_export.mil.ops import OPERATIONS

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
    alpha("clip", lambda x: x.clamp(-0.5, 1.25), alpha=-0.5, beta=1.25),
    unary("round", lambda x: torch.tensor([[-2, -2, 0, 0, 2, 2, 0, -1]]).float(), HALVES),
    unary("relu", F.relu),
    unary("tanh", torch.tanh),
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
        pad_type="custom", pad=[1, 1, 1, 1], groups=2,
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
]  # fmt: skip

W, B = values(7, 5), values(7)
TG, TD = (torch.from_numpy(array) for array in (G, D))

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
        "layer_norm", lambda f, v: mb.layer_norm(x=v, axes=[-1], epsilon=f(2**-10)),
        (values(2, 3, 8),), lambda x: F.layer_norm(x, (8,), eps=2**-10),
    ),
    Case(
        "layer_norm",
        lambda f, v: mb.layer_norm(x=v, axes=[1], gamma=f(G), beta=f(D), epsilon=f(2**-10)), (X,),
        lambda x: F.layer_norm(x.movedim(1, -1), (4,), TG, TD, 2**-10).movedim(-1, 1), "channels",
    ),
]  # fmt: skip


def shaped(op: str, reference: Callable[..., Any], label: str = "", **kwargs: Any) -> Case:
    x = kwargs.pop("x", X)
    return Case(op, lambda f, v: getattr(mb, op)(x=v, **kwargs), (x,), reference, label)


SQUARE = values(1, 8, 4, 6)

SHAPES = [
    shaped("transpose", lambda x: x.permute(0, 2, 3, 1), perm=[0, 2, 3, 1]),
    shaped("transpose", lambda x: x.permute(0, 3, 1, 2), "negative", perm=[0, -1, 1, 2]),
    shaped("reshape", lambda x: x.reshape(2, 2, 30), shape=[2, 2, 30]),
    shaped("reshape", lambda x: x.reshape(1, 8, 3, 5), "inherit", shape=[0, 8, -1, 0]),
    shaped("squeeze", lambda x: x[0], axes=[0]),
    shaped("squeeze", lambda x: x.squeeze(), "all", x=values(1, 3, 1, 2)),
    shaped("split", lambda x: x.split([1, 3], 1), axis=1, split_sizes=[1, 3]),
    shaped("split", lambda x: x.chunk(2, 1), "equal", axis=-3, num_splits=2),
    shaped("pixel_shuffle", lambda x: F.pixel_shuffle(x, 2), x=SQUARE, upscale_factor=2),
]

CASES = [*ELEMENTWISE, *CONVOLUTIONS, *LINEAR, *SHAPES]


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
        op for op in OPERATIONS if op.startswith("constexpr_")
    }
    assert OPERATIONS.keys() - {case.op for case in CASES} == elsewhere


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


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (
            lambda x: mb.sigmoid(x=x, name="curve"),
            "sigmoid 'curve' .* is no op of this interpreter",
        ),
        (
            lambda x: mb.gelu(x=x, mode="SIGMOID_APPROXIMATION"),
            "SIGMOID_A.*not modelled",
        ),
        (
            lambda x: mb.conv(x=x, weight=values(3, 4, 3, 3), pad_type="same"),
            "pad_type 'same' is not modelled",
        ),
        (
            lambda x: mb.conv(x=mb.squeeze(x=x, axes=[0]), weight=values(3, 6, 1)),
            "conv of rank 3 is not modelled",
        ),
    ],
)
def test_what_no_network_of_ours_needs_is_refused_by_name(
    build: Callable[..., Any], match: str, tmp_path: Path
) -> None:
    prog = mb.program(input_specs=[mb.TensorSpec(X.shape)], opset_version=ct.target.iOS17)(
        lambda a: build(a)
    )
    with pytest.raises(MilError, match=match):
        load(prog, tmp_path).run({"a": X})
