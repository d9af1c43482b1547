from __future__ import annotations

import dataclasses

import pytest

from rid_core.errors import RidError
from rid_export.spec import ExportSpec


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"precision": "int4"}, "did you mean int8"),
        ({"precision": "double"}, "known: fp32, fp16"),
        ({"outputs": ("protected", "detla")}, "did you mean delta"),
        ({"outputs": ("protected",)}, "delta must be among"),
        ({"resolution": 0}, "between 1 and 4096"),
        ({"resolution": 100_000}, "between 1 and 4096"),
    ],
)
def test_values_that_make_no_sense(fields: dict[str, object], text: str) -> None:
    with pytest.raises(RidError, match=text):
        ExportSpec(target="onnx", **fields)


def test_resolution_names_the_nearest() -> None:
    with pytest.raises(RidError, match="--resolution 496 or 512"):
        ExportSpec("onnx", resolution=500).check_size("rid-s", 16, None)
    with pytest.raises(RidError, match=r"--resolution 16$"):
        ExportSpec("onnx", resolution=5).check_size("rid-s", 16, None)
    with pytest.raises(RidError, match="512 x 512 only"):
        ExportSpec("onnx", resolution=256).check_size("rid-dit", 16, 512)
    with pytest.raises(RidError, match="512 x 512 only: leave --dynamic out"):
        ExportSpec("onnx", dynamic=True).check_size("rid-dit", 16, 512)
    ExportSpec("onnx", resolution=768).check_size("rid-s", 16, None)


def test_every_setting_that_is_not_the_default_is_in_the_name() -> None:
    variants: dict[str, dict[str, object]] = {
        "rid-s": {},
        "rid-s.256px": {"resolution": 256},
        "rid-s.int8": {"precision": "int8"},
        "rid-s.uint8": {"io": "uint8"},
        "rid-s.nhwc": {"layout": "nhwc"},
        "rid-s.dynamic": {"dynamic": True},
        "rid-s.delta": {"outputs": ("delta",)},
        "rid-s.768px.fp16.uint8.nhwc.dynamic": {
            "resolution": 768,
            "precision": "fp16",
            "io": "uint8",
            "layout": "nhwc",
            "dynamic": True,
        },
    }
    for name, settings in variants.items():
        assert ExportSpec("onnx", **settings).file_name("rid-s", ".onnx") == f"{name}.onnx"
    told = {"target", "calib", "calib_samples", "allow_noise"}  # by the suffix, by the metadata
    varied = {key for settings in variants.values() for key in settings}
    assert {field.name for field in dataclasses.fields(ExportSpec)} == varied | told


def test_names_and_frozenness() -> None:
    assert ExportSpec("tflite").file_name("rid-s", ".tflite") == "rid-s.tflite"
    assert ExportSpec("x", precision="fp16").file_name("rid-n", ".mlpackage") == (
        "rid-n.fp16.mlpackage"
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        ExportSpec("x").target = "y"  # type: ignore[misc]
