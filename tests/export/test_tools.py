"""The commands that look at files: inspect, doctor, verify, compare, lint."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from rid_core.artifact import read_metadata, seal
from rid_export import doctor as doctor_module
from rid_export.cli import main_command
from rid_export.doctor import Diagnosis, Package, examine
from rid_export.registry import get_target

PROGRAM = [sys.executable, "-c", "from rid_export.cli import main; main()"]
COMMANDS = ("inspect", "doctor", "verify", "compare", "lint")


def processor_seconds() -> float:
    """Of all children so far: what a busy machine does not lengthen."""
    spent = os.times()
    return spent.children_user + spent.children_system


def call(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_quick_and_shows_examples(command: str) -> None:
    times = []
    for _ in range(5):
        start = processor_seconds()
        done = call(command, "--help")
        times.append(processor_seconds() - start)
        if times[-1] < 0.3:
            break
    assert done.returncode == 0
    assert f"rid-export {command}" in done.stdout.split("Examples:")[1]
    assert "--json" in done.stdout
    assert min(times) < 0.3


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help_imports_nothing_heavy(command: list[str]) -> None:
    code = (
        "import sys\nfrom click.testing import CliRunner\n"
        "from rid_export.cli import main_command\n"
        f"assert CliRunner().invoke(main_command, {[*command, '--help']!r}).exit_code == 0\n"
        "heavy = {'torch', 'numpy', 'PIL', 'onnx', 'coremltools', 'tensorflow', 'ai_edge_litert'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["inspect", "none.onnx"], 1, "none.onnx: cannot be read"),
        (["verify", "none.onnx"], 1, "none.onnx: cannot be read"),
        (["compare", "none.onnx", "rid-s"], 1, "none.onnx: no such checkpoint"),
        (["lint", "--preset", "rid-dot"], 1, "did you mean rid-dit"),
        (["lint", "--target", "onyx"], 1, "did you mean onnx"),
        (["lint", "--checkpoint", "none.safetensors"], 1, "no such checkpoint"),
        (["lint", "--preset", "rid-s", "--checkpoint", "x"], 2, "not both"),
        (["compare", "rid-s"], 2, "Missing argument"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: list[str], code: int, text: str) -> None:
    done = call(*arguments)
    assert done.returncode == code, done.stderr
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert code == 2 or done.stderr.count("\n") == 1


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x00" * 99, b"\x08\x07garbage"])
@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_foreign_files(command: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "photo.tflite"
    path.write_bytes(content)
    done = call(command, path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {path}: ")
    assert done.stderr.count("\n") == 1


# -- inspect --------------------------------------------------------------------------------------

OPERATORS = {"onnx": ("Conv", "DepthToSpace"), "tflite": ("CONV_2D", "TANH"), "coreml": ("conv",)}


@pytest.mark.slow
@pytest.mark.parametrize("target", sorted(OPERATORS))
def test_inspect(target: str, exported: Any) -> None:
    file = exported(target).file
    done = call("inspect", file)
    assert done.returncode == 0, done.stderr
    for text in ("8 levels of 255", "rid-s", "MB", "delta: float", *OPERATORS[target]):
        assert text in done.stdout
    document = json.loads(call("inspect", file, "--json").stdout)
    assert document["schema"] == 1
    assert document["problem"] is None
    assert document["metadata"]["preset"] == "rid-s"
    assert document["bytes"] > 100_000
    for name in OPERATORS[target]:
        assert document["operators"][name] >= 1


def test_sizes_of_a_dynamic_file() -> None:
    from test_codegen import metadata

    from rid_export.commands import _listed, _sizes

    assert _sizes(metadata("tflite")) == "512 x 512 pixels, nhwc, RGB"
    assert _sizes(metadata("onnx", dynamic=True)) == "any multiple of 16 pixels, nchw, RGB"
    assert _listed(((512, 512), (16, 32))) == "512 x 512, 16 x 32 pixels"


@pytest.mark.slow
@pytest.mark.parametrize("target", sorted(OPERATORS))
def test_inspect_needs_no_converter(target: str, exported: Any) -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'onnxruntime', 'coremltools', 'ai_edge_litert',\n"
        "             'flatbuffers', 'google.protobuf', 'tensorflow', 'litert_torch'):\n"
        "    sys.modules[name] = None\n"
        "from rid_export.cli import main_command\n"
        f"main_command(['inspect', {str(exported(target).file)!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "operators" in done.stdout


@pytest.mark.slow
def test_inspect_of_an_altered_file_as_json(exported: Any, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    data = bytearray(exported("onnx").file.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    done = call("inspect", path, "--json")
    assert done.returncode == 1
    assert "changed after its export" in json.loads(done.stdout)["problem"]


# -- verify ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_verify(exported: Any, checkpoint: Path) -> None:
    done = call("verify", exported("onnx").file, "--against", checkpoint)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "delta_sqnr_db" in done.stdout
    assert "at least 60" in done.stdout
    document = json.loads(
        call("verify", exported("onnx").file, "--against", checkpoint, "--json").stdout
    )
    assert document["passed"] is True
    assert document["parity"][0]["checks"][0]["value"] > 60


@pytest.mark.slow
def test_verify_looks_at_another_shape_of_a_dynamic_file(
    small_file: Path, small_checkpoint: Path, tmp_path: Path
) -> None:
    """A file that says it takes any size, and takes one."""
    path = tmp_path / "m.onnx"
    shutil.copy(small_file, path)
    seal(path, dataclasses.replace(read_metadata(path), dynamic=True))
    done = call("verify", path, "--against", small_checkpoint)
    assert done.returncode == 1
    assert "cannot run it at 16 x 16 pixels, so its metadata (sizes, types) are" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.full
@pytest.mark.slow
def test_verify_against_another(exported: Any, small_checkpoint: Path, tmp_path: Path) -> None:
    done = call("verify", exported("onnx").file, "--against", small_checkpoint, "--json")
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert document["passed"] is False
    assert document["problem"].split(": ", 1)[1].startswith("not made from")
    assert done.stderr.count("\n") == 1


@pytest.mark.full
@pytest.mark.slow
def test_verify_by_the_preset_that_the_file_names(exported: Any, tmp_path: Path) -> None:
    """The bundled rid-s has other weights than the tests' own, or there is none for a preset."""
    done = call("verify", exported("onnx").file)
    assert done.returncode == 1
    assert "rid-s" in done.stderr
    path = tmp_path / "m.onnx"
    shutil.copy(exported("onnx").file, path)
    seal(path, dataclasses.replace(read_metadata(path), preset="rid-x"))
    assert "no trained 'rid-x' comes with the package" in call("verify", path).stderr


# -- compare --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_compare_with_the_checkpoint(exported: Any, checkpoint: Path) -> None:
    done = call("compare", checkpoint, exported("onnx").file)
    assert done.returncode == 0, done.stderr
    for text in ("checkpoint, ", "ONNX fp32", "SQNR", "cosine", "levels", "DepthToSpace"):
        assert text in done.stdout
    assert "different weights" not in done.stdout
    document = json.loads(call("compare", checkpoint, exported("onnx").file, "--json").stdout)
    assert document["delta"]["sqnr_db"] > 60
    assert document["delta"]["max_error_levels"] == pytest.approx(
        8 * document["delta"]["max_error"]
    )
    assert document["a"]["operators"] == {}
    assert document["b"]["operators"]["Tanh"] == 1
    assert document["resolution"] == 512


@pytest.mark.full
@pytest.mark.slow
def test_compare_two_files_and_two_networks(
    exported: Any, checkpoint: Path, small_checkpoint: Path
) -> None:
    both = json.loads(
        call("compare", exported("tflite").file, exported("onnx").file, "--json").stdout
    )
    assert both["delta"]["sqnr_db"] > 60
    other = call("compare", checkpoint, small_checkpoint)
    assert other.returncode == 0
    assert "different weights" in other.stdout
    figures = json.loads(call("compare", checkpoint, small_checkpoint, "--json").stdout)
    assert figures["delta"]["sqnr_db"] < 10


# -- doctor ---------------------------------------------------------------------------------------


def test_versions() -> None:
    assert Package("onnx", "1.19.1", ">=1.19").good
    assert Package("onnx", "1.23.2", ">=1.19").good
    assert Package("onnx", "2.0.0rc1", ">=1.19").good
    assert Package("onnx", "0.1", "").good
    assert not Package("onnx", "1.9", ">=1.19").good
    assert not Package("onnx", None, ">=1.19").good


def test_needs_are_read_from_our_own_distribution() -> None:
    diagnosis = examine(get_target("onnx"))
    needs = {package.name: package.needed for package in diagnosis.packages}
    assert needs["onnx"].startswith(">=")
    assert needs["torch"].startswith(">=")
    assert diagnosis.problem is None
    assert diagnosis.remedy is None


def test_missing_and_old(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"onnx": None, "onnxruntime": "1.2"}
    sound = doctor_module._version
    monkeypatch.setattr(doctor_module, "_version", lambda name: found.get(name, sound(name)))
    diagnosis = examine(get_target("onnx"))
    assert diagnosis.problem is not None
    assert "onnx is not installed" in diagnosis.problem
    assert "onnxruntime 1.2 is too old" in diagnosis.problem
    assert diagnosis.remedy is not None
    assert diagnosis.remedy.startswith("pip install 'onnx>=")
    assert "'onnxruntime>=" in diagnosis.remedy
    assert "torch" not in diagnosis.remedy


def test_a_package_that_does_not_import(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "onnxsim").mkdir()
    (tmp_path / "onnxsim" / "__init__.py").write_text("raise OSError('libfoo.so: not found')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    diagnosis = examine(get_target("onnx"))
    assert diagnosis.problem == ("installed, but importing it fails: OSError: libfoo.so: not found")
    assert diagnosis.remedy is not None
    assert diagnosis.remedy.startswith("pip install --force-reinstall")


@pytest.mark.parametrize(("problem", "code"), [(None, 0), ("onnx is not installed", 1)])
def test_exit_code(problem: str | None, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = (Package("onnx", None if problem else "1.23", ">=1.19"),)
    remedy = "pip install 'onnx>=1.19'" if problem else None
    found = [Diagnosis("onnx", packages, problem, remedy)]
    monkeypatch.setattr(doctor_module, "examine_all", lambda: found)
    shown = CliRunner().invoke(main_command, ["doctor"], standalone_mode=False)
    assert shown.return_value == code
    assert ("pip install 'onnx>=1.19'" in shown.output) == bool(problem)
    assert "python" in shown.output
    document = json.loads(
        CliRunner().invoke(main_command, ["doctor", "--json"], standalone_mode=False).output
    )
    assert document["targets"][0]["problem"] == problem
    assert document["system"]["torch"]


def test_what_the_gate_can_do_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_module, "_version", lambda name: None)
    tensorflow, coreml = doctor_module.options()
    assert tensorflow.missing == "tensorflow is not installed"
    assert tensorflow.remedy == "pip install -e '.[tensorflow]'"
    assert (coreml.missing is None) == (sys.platform == "darwin")
    monkeypatch.setattr(doctor_module, "_version", lambda name: "2.21.0")
    assert doctor_module.options()[0].missing is None
    monkeypatch.setattr(doctor_module, "examine_all", list)
    shown = CliRunner().invoke(main_command, ["doctor"], standalone_mode=False)
    assert shown.return_value == 0
    assert "TensorFlow's own TFLite interpreter: ready" in shown.output


# -- lint -----------------------------------------------------------------------------------------


def test_lint() -> None:
    clean = call("lint", "--preset", "rid-n")
    assert clean.returncode == 0
    assert clean.stdout == "rid-n: nothing that a delegate is known to refuse\n"
    assert clean.stderr == ""
    document = json.loads(call("lint", "--preset", "rid-dit", "--json").stdout)
    assert {finding["rule"] for finding in document["findings"]} >= {"gelu", "layer-norm"}


def test_lint_of_a_checkpoint(small_checkpoint: Path) -> None:
    done = call("lint", "--checkpoint", small_checkpoint, "--target", "tflite")
    assert done.returncode == 0, done.stderr
    assert "nothing that a delegate is known to refuse" in done.stdout
