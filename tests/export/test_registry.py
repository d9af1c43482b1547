from __future__ import annotations

import subprocess
import sys

import pytest

from rid_core.errors import MissingExtraError, RidError
from rid_export import registry
from rid_export.backends.onnx.convert import OnnxTarget
from rid_export.registry import get_target, list_targets, register_target
from rid_export.spec import ExportSpec


def test_targets_and_typos() -> None:
    assert list_targets() == ["coreml", "executorch", "onnx", "tflite"]
    with pytest.raises(RidError, match="did you mean tflite"):
        get_target("tflight")


def test_two_of_a_name() -> None:
    class Other(OnnxTarget):
        pass

    with pytest.raises(ValueError, match="two targets are called 'onnx'"):
        register_target(Other)
    assert type(registry.get_target("onnx")) is OnnxTarget


def test_what_a_target_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OnnxTarget, "precisions", ("fp32",))
    with pytest.raises(RidError, match=r"cannot be written in w8; it can in fp32"):
        get_target("onnx").check(ExportSpec("onnx", precision="w8"))
    monkeypatch.setattr(OnnxTarget, "packages", ("onnx", "no_such_package"))
    with pytest.raises(MissingExtraError, match="no_such_package is not installed"):
        get_target("onnx").check(ExportSpec("onnx"))


def test_importing_imports_no_converter() -> None:
    code = """
import sys
import rid_export, rid_export.cli, rid_export.registry, rid_export.pipeline, rid_export.report
rid_export.registry.list_targets()
heavy = ("torch", "onnx", "onnxruntime", "onnxscript", "onnxsim", "coremltools", "litert_torch",
         "ai_edge_litert", "ai_edge_quantizer", "tensorflow", "google.protobuf", "flatbuffers")
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
