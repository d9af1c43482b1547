"""Core ML: what is in the package; its numbers come from our interpreter of ML programs."""

from __future__ import annotations

import dataclasses
import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rid_core.artifact import read_metadata
from rid_core.errors import RidError
from rid_core.runtimes import load_runtime
from rid_export.pipeline import STAGES, Job, Stage, export
from rid_export.registry import get_target
from rid_export.spec import ExportSpec

pytestmark = pytest.mark.slow


def test_measured(exported: Any) -> None:
    result = exported("coreml")
    assert result.file.name == "rid-s.mlpackage"
    assert result.figure("delta_sqnr_db") > 60
    assert 6 < result.figure("change_levels") <= 8.001
    if sys.platform != "darwin":
        assert "not Core ML" in result.parity[0].runtime


def test_features_as_swift_sees_them(exported: Any) -> None:
    import coremltools as ct

    spec = ct.utils.load_spec(str(exported("coreml").file))
    assert spec.WhichOneof("Type") == "mlProgram"
    assert spec.specificationVersion == 8  # iOS 17
    (image,) = spec.description.input
    outputs = {feature.name: feature.type for feature in spec.description.output}
    assert image.name == "image"
    assert set(outputs) == {"protected", "delta"}
    for kind in (image.type.imageType, outputs["protected"].imageType):
        assert (kind.width, kind.height) == (512, 512)
        assert kind.ColorSpace.Name(kind.colorSpace) == "RGB"
    delta = outputs["delta"].multiArrayType
    assert delta.ArrayDataType.Name(delta.dataType) == "FLOAT16"
    assert list(delta.shape) == [1, 3, 512, 512]
    assert all(feature.shortDescription for feature in (image, *spec.description.output))
    about = spec.description.metadata
    assert about.license == "Apache-2.0"
    assert about.versionString.startswith("rid-s ")


def test_package_holds_nothing_else(exported: Any) -> None:
    package = exported("coreml").file
    files = {p.relative_to(package).as_posix() for p in package.rglob("*") if p.is_file()}
    assert files == {
        "Manifest.json",
        "Data/com.apple.CoreML/model.mlmodel",
        "Data/com.apple.CoreML/weights/weight.bin",
    }


def test_metadata(exported: Any) -> None:
    found = read_metadata(exported("coreml").file)
    assert [info.dtype for info in (*found.inputs, *found.outputs)] == ["image", "image", "float16"]
    assert found.parity == exported("coreml").parity


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML runs here")
def test_not_on_this_machine(exported: Any) -> None:
    with pytest.raises(RidError, match="macOS only"):
        load_runtime(exported("coreml").file)


def test_changed_weights(exported: Any, tmp_path: Path) -> None:
    package = tmp_path / "spoilt.mlpackage"
    shutil.copytree(exported("coreml").file, package)
    weights = package / "Data/com.apple.CoreML/weights/weight.bin"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 0x40
    weights.write_bytes(data)
    with pytest.raises(RidError, match="changed after its export"):
        load_runtime(package)


def test_features_that_contradict_the_metadata(exported: Any) -> None:
    path = exported("coreml").file
    metadata = read_metadata(path)
    get_target("coreml").inspect(path, metadata)
    wrong = dataclasses.replace(metadata.outputs[1], dtype="float32")
    with pytest.raises(RidError, match="the package has delta as"):
        get_target("coreml").inspect(
            path, dataclasses.replace(metadata, outputs=(metadata.outputs[0], wrong))
        )


# -- precisions -----------------------------------------------------------------------------------

SMALLER = ("fp16", "w8", "pal8", "int8")
BLOB = "Data/com.apple.CoreML/weights/weight.bin"
MODEL = "Data/com.apple.CoreML/model.mlmodel"


@pytest.fixture(scope="module")
def defender(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny one whose every layer matters."""
    import torch

    from rid_core.checkpoint import ModelCard, save_checkpoint
    from rid_core.defenders import create_defender

    torch.manual_seed(11)
    config = {"width": 16, "detail_width": 8, "inner_blocks": 1}
    network = create_defender("rid-n", **config)
    torch.nn.init.normal_(network.to_image.conv.weight, std=0.15)
    path = tmp_path_factory.mktemp("defender") / "tiny.safetensors"
    save_checkpoint(path, network, ModelCard("rid-n", levels=8, config=config))
    return path


def spec_of(precision: str) -> ExportSpec:
    return ExportSpec("coreml", precision, resolution=64, calib_samples=8)


@pytest.fixture(scope="module")
def small(defender: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """The result of exporting it at a precision; each is made once."""
    out = tmp_path_factory.mktemp("precisions")
    made: dict[str, Any] = {}

    def get(precision: str) -> Any:
        if precision not in made:
            (made[precision],) = export([spec_of(precision)], defender, out)
        assert made[precision].error is None, made[precision].error
        return made[precision]

    return get


@pytest.mark.parametrize(
    "precision",
    ["w8", *(pytest.param(name, marks=pytest.mark.full) for name in ("fp16", "pal8", "int8"))],
)
def test_precisions(precision: str, small: Callable[[str], Any]) -> None:
    import coremltools as ct

    result = small(precision)
    assert result.file.name == f"rid-n.64px.{precision}.mlpackage"
    least = {"fp16": 40, "w8": 28, "pal8": 28, "int8": 22}[precision]
    assert least < result.figure("delta_sqnr_db") < (90 if precision == "fp16" else 60)
    assert 7 < result.figure("change_levels") <= 8.0001  # hard, after rounding to 8 bits
    assert result.figure("protected_error_levels") <= 0.5001
    description = ct.utils.load_spec(str(result.file)).description
    kinds = {f.name: f.type.WhichOneof("Type") for f in description.output}
    assert kinds == {"protected": "imageType", "delta": "multiArrayType"}
    # Layers may be kept in float wherever layers are quantized one by one.
    assert (result.notes is not None) == (precision in ("int8", "w8", "pal8"))
    metadata = read_metadata(result.file)
    assert metadata.precision == precision
    assert (metadata.calibration is not None) == (precision == "int8")
    assert [path.name for path in result.file.parent.iterdir() if ".float" in path.name] == []


@pytest.mark.full
def test_compressed_packages_are_smaller(small: Callable[[str], Any]) -> None:
    # So small a network is half biases, and a palette of 256 takes 512 bytes a layer.
    blobs = {name: (small(name).file / BLOB).stat().st_size for name in SMALLER}
    assert max(blobs["w8"], blobs["pal8"], blobs["int8"]) < 0.9 * blobs["fp16"]


@pytest.mark.parametrize(
    ("precision", "claimed"),
    [("w8", "int8"), pytest.param("int8", "w8", marks=pytest.mark.full), ("w8", "fp16")],
)
def test_precision_that_the_program_does_not_have(
    precision: str, claimed: str, small: Callable[[str], Any]
) -> None:
    file = small(precision).file
    metadata = dataclasses.replace(read_metadata(file), precision=claimed)
    with pytest.raises(RidError, match=f"not the {claimed} it says: it has constexpr_affine"):
        get_target("coreml").inspect(file, metadata)


def spoil_scale(job: Job) -> None:
    """Double the steps of one layer's activations where it is dequantized."""
    import numpy as np
    from coremltools.proto import Model_pb2

    file = job.path / MODEL
    model = Model_pb2.Model()
    model.ParseFromString(file.read_bytes())
    (function,) = model.mlProgram.functions.values()
    (block,) = function.block_specializations.values()
    named = {output.name: op for op in block.operations for output in op.outputs}
    chosen = [op for op in block.operations if op.type == "dequantize"][3]
    constant = named[chosen.inputs["scale"].arguments[0].name]
    values = constant.attributes["val"].immediateValue.tensor.bytes
    values.values = (np.frombuffer(values.values, np.float16) * np.float16(2)).tobytes()
    file.write_bytes(model.SerializeToString())


def spoil_weights(job: Job) -> None:
    """Multiply the scales of a layer's quantized weights, in the blob, by 1.5."""
    import numpy as np

    blob = job.path / BLOB
    data = bytearray(blob.read_bytes())
    offset = 64
    while True:
        sentinel, dtype, size, start = struct.unpack_from("<IIQQ", data, offset)
        assert sentinel == 0xDEADBEEF
        values = np.frombuffer(data, np.float16, size // 2, start) if dtype == 1 else np.zeros(1)
        if size >= 16 and (values > 0).all() and (values < 0.02).all():
            data[start : start + size] = (values * np.float16(1.5)).astype(np.float16).tobytes()
            blob.write_bytes(data)
            return
        offset = (start + size + 63) // 64 * 64


@pytest.mark.full
@pytest.mark.parametrize(
    ("precision", "spoil"), [("int8", spoil_scale), ("int8", spoil_weights), ("w8", spoil_weights)]
)
def test_a_wrong_scale_is_refused_and_its_layer_named(
    precision: str, spoil: Callable[[Job], None], defender: Path, tmp_path: Path
) -> None:
    convert, *rest = STAGES
    stages = (convert, Stage("spoil", spoil), *rest)
    (result,) = export([spec_of(precision)], defender, tmp_path, stages=stages)
    assert result.error is not None
    assert "delta_sqnr_db is" in result.error
    assert "worst layer: " in result.error
    assert "\n" not in result.error
    assert not result.file.exists()
