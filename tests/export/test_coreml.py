"""Core ML: what is in the package; its numbers come from our interpreter of ML programs."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from rid_core.artifact import read_metadata
from rid_core.errors import RidError
from rid_core.runtimes import load_runtime

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
    import dataclasses

    from rid_export.registry import get_target

    path = exported("coreml").file
    metadata = read_metadata(path)
    get_target("coreml").inspect(path, metadata)
    wrong = dataclasses.replace(metadata.outputs[1], dtype="float32")
    with pytest.raises(RidError, match="the package has delta as"):
        get_target("coreml").inspect(
            path, dataclasses.replace(metadata, outputs=(metadata.outputs[0], wrong))
        )
