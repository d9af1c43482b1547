"""Compressed weights and quantized activations, against the formulas that MIL documents."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rid_export.mil import MilError, MilProgram

ct = pytest.importorskip("coremltools")
from coremltools.converters.mil import Builder as mb  # noqa: E402
from coremltools.converters.mil.mil import types  # noqa: E402

logging.getLogger("coremltools").setLevel(logging.ERROR)


@pytest.fixture(autouse=True, scope="module")
def _quick_conversion() -> Iterator[None]:
    # ct.convert runs a full garbage collection each time; with torch loaded that is 0.2 s.
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def run(build: Any, x: np.ndarray, path: Path, target: str = "iOS17") -> np.ndarray:
    """The only output of a program with one input ``x``, written unoptimised and read back."""
    mil_type = types.fp16 if x.dtype == np.float16 else types.fp32
    spec = mb.TensorSpec(x.shape, mil_type)
    program = mb.program(input_specs=[spec], opset_version=getattr(ct.target, target))(
        lambda x: build(x)
    )
    model = ct.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=getattr(ct.target, target),
        compute_precision=ct.precision.FLOAT32,
        pass_pipeline=ct.PassPipeline.EMPTY,
        skip_model_load=True,
    )
    model.save(str(path / "op.mlpackage"))
    (result,) = MilProgram.load(path / "op.mlpackage").run({"x": x}).values()
    return result


def weight(build: Any, shape: tuple[int, ...], path: Path, target: str, dtype: Any) -> np.ndarray:
    """What a compressed weight decompresses to."""
    return run(lambda x: mb.add(x=x, y=build()), np.zeros(shape, dtype), path, target)


RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("unsigned", [False, True])
def test_affine_per_channel(dtype: Any, axis: int, unsigned: bool, tmp_path: Path) -> None:
    shape = (5, 3, 4)
    integer = np.uint8 if unsigned else np.int8
    limits = np.iinfo(integer)
    data = RNG.integers(limits.min, limits.max + 1, shape).astype(integer)
    zero = RNG.integers(limits.min, limits.max + 1, shape[axis]).astype(integer)
    scale = RNG.uniform(0.001, 0.1, shape[axis]).astype(dtype)

    got = weight(
        lambda: mb.constexpr_affine_dequantize(
            quantized_data=data, zero_point=zero, scale=scale, axis=np.int32(axis)
        ),
        shape, tmp_path, "iOS17", dtype,
    )  # fmt: skip
    along = (-1, 1, 1) if axis == 0 else (-1,)
    wide = data.astype(np.float32) - zero.astype(np.float32).reshape(along)
    expected = (wide * scale.astype(np.float32).reshape(along)).astype(dtype)
    np.testing.assert_array_equal(got, expected)


def test_affine_per_tensor(tmp_path: Path) -> None:
    data = np.arange(-6, 6, dtype=np.int8).reshape(3, 4)
    got = weight(
        lambda: mb.constexpr_affine_dequantize(
            quantized_data=data, zero_point=np.int8(2), scale=np.float32(0.5), axis=np.int32(0)
        ),
        (3, 4), tmp_path, "iOS17", np.float32,
    )  # fmt: skip
    np.testing.assert_array_equal(got, (data - 2) * 0.5)


@pytest.mark.parametrize("bits", [4, 8])
def test_a_palette_has_256_values(bits: int, tmp_path: Path) -> None:
    shape = (5, 7)
    indices = RNG.integers(0, 2**bits, shape)
    lut = RNG.normal(size=2**bits).astype(np.float32)
    word = sum(int(index) << (bits * i) for i, index in enumerate(indices.flatten()))
    packed = np.frombuffer(word.to_bytes(-(-35 * bits // 8), "little"), np.uint8)

    def build() -> Any:
        sizes = np.array(shape, np.uint32)
        return mb.constexpr_lut_to_dense(indices=packed, lut=lut, shape=sizes)

    if bits == 8:
        got = weight(build, shape, tmp_path, "iOS17", np.float32)
        np.testing.assert_array_equal(got, lut[indices])
        return
    with pytest.raises(MilError, match="a palette of 16 entries is not modelled"):
        weight(build, shape, tmp_path, "iOS17", np.float32)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("output", ["int8", "uint8"])
@pytest.mark.parametrize("axis", [None, 1])
def test_quantize_and_back(dtype: Any, output: str, axis: int | None, tmp_path: Path) -> None:
    integer = np.dtype(output).type
    limits = np.iinfo(integer)
    x = RNG.normal(scale=3, size=(2, 3, 40)).astype(dtype)
    size = () if axis is None else (3,)
    scale = RNG.uniform(0.01, 0.03, size).astype(dtype)[()]
    zero = RNG.integers(3, 20, size).astype(integer)[()]
    along = () if axis is None else (-1, 1)
    common = {"scale": scale, "zero_point": zero} | ({} if axis is None else {"axis": np.int32(1)})

    def build(x: Any) -> Any:
        q = mb.quantize(input=x, output_dtype=output, **common)
        return mb.dequantize(input=q, **common)

    got = run(build, x, tmp_path)
    s = np.asarray(scale, np.float32).reshape(along)
    z = np.asarray(zero, np.float32).reshape(along)
    levels = np.clip(np.rint(x.astype(np.float32) / s) + z, limits.min, limits.max)
    np.testing.assert_array_equal(got, ((levels - z) * s).astype(dtype))
    assert (levels == limits.min).any()  # the test reaches saturation
    assert (levels == limits.max).any()


def test_quantize_rounds_halves_to_even_without_zero_point(tmp_path: Path) -> None:
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 1000, -1000], np.float32)

    def build(x: Any) -> Any:
        q = mb.quantize(input=x, scale=np.float32(1), output_dtype="int8")
        return mb.dequantize(input=q, scale=np.float32(1))

    assert run(build, x, tmp_path).tolist() == [0, 2, 2, 0, -2, 127, -128]


def test_nan_is_not_quantized_away(tmp_path: Path) -> None:
    def build(x: Any) -> Any:
        nan = mb.mul(x=x, y=np.float32(np.inf))
        return mb.dequantize(
            input=mb.quantize(input=nan, scale=np.float32(1), output_dtype="int8"),
            scale=np.float32(1),
        )

    with pytest.raises(MilError, match="NaN is quantized"):
        run(build, np.zeros(3, np.float32), tmp_path)
