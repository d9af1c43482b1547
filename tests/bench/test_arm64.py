"""ARM kernels, emulated: the reference's perturbation there as well, and int8 by dot products."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rid_bench import results
from rid_bench.artefacts import open_artefact
from rid_bench.devices import bundle

ARM64 = Path(__file__).resolve().parents[2] / "benchmarks" / "arm64"
PRECISIONS = ("fp16", "w8", "int8")
SIDE = 64


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ARM64 / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look there for what annotations mean
    spec.loader.exec_module(module)
    return module


kernels = load("kernels")


@pytest.fixture(scope="session")
def emulator() -> Path:
    """The emulated Python, built once and kept outside the checkout; a skip that says why not."""
    missing = [tool for tool in ("apt-get", "dpkg", "bash") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"ARM64 IS NOT CHECKED: {', '.join(missing)} missing; it needs Debian")
    done = subprocess.run(
        [ARM64 / "prepare.sh"], capture_output=True, text=True, timeout=1200, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        pytest.skip(f"ARM64 IS NOT CHECKED: it could not be built: {last}")
    return Path(done.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="session")
def matrix(
    emulator: Path,
    checkpoint: Path,
    exported: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """The tiny defender in every precision, as ``tflite fp32`` and so on."""
    from rid_export.pipeline import export
    from rid_export.spec import ExportSpec

    out = tmp_path_factory.mktemp("matrix")
    specs = [ExportSpec(t, p, resolution=SIDE) for t in exported for p in PRECISIONS]
    made = export(specs, checkpoint, out)
    assert [result.error for result in made] == [None] * len(specs)
    files = {f"{target} fp32": path for target, path in exported.items()}
    return files | {
        f"{spec.target} {spec.precision}": Path(result.file)
        for spec, result in zip(specs, made, strict=True)
    }


@pytest.mark.full
@pytest.mark.slow
def test_arm_kernels_agree_with_the_reference(
    matrix: dict[str, Path], emulator: Path, reference: Any, tmp_path: Path
) -> None:
    artefacts = [open_artefact(path) for path in matrix.values()]
    bundle.pack(artefacts, [reference], tmp_path / "bench.zip")
    zipfile.ZipFile(tmp_path / "bench.zip").extractall(tmp_path / "bundle")
    done = subprocess.run(
        [ARM64 / "run.sh", tmp_path / "bundle", tmp_path / "arm.json"],
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = results.load(tmp_path / "arm.json")
    assert found.machine.architecture == "aarch64"
    assert len(found.fidelity) == len(artefacts)
    for row in found.fidelity:
        assert row.error is None, row
        assert row.gate is None, row
        if row.precision == "fp32":
            assert min(image.sqnr_db for image in row.images) > 90
    assert found.cells == []  # emulated time is never shown
    assert (emulator / "ready").is_file()


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("target", ["tflite", "onnx"])
def test_int8_products_are_dot_products(
    matrix: dict[str, Path], target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = kernels.main([str(matrix[f"{target} int8"])])
    said = capsys.readouterr()
    assert code == 0, said
    assert "dot products" in said.out
    assert ("neondot" in said.out) == (target == "tflite")


@pytest.mark.full
@pytest.mark.slow
def test_an_older_core_is_told_from_it(matrix: dict[str, Path]) -> None:
    found = kernels.watch(matrix["tflite int8"], core="cortex-a72")
    assert found.dots == 0
    assert found.products  # int8 all the same, by other kernels
    assert found.complaint() == "no dot-product instruction was run"


LOG = """\
----------------
IN: 
0x00001010:  4f80e010  sdot     v16.4s, v0.16b, v0.4b[0]
0x00001014:  d65f03c0  ret      
IN: 
0x00001100:  4f80e010  sdot     v16.4s, v0.16b, v0.4b[0]
0x00009000:  6f84e010  udot     v16.4s, v0.16b, v4.4b[0]
"""  # noqa: W291 - as the emulator writes it
DOTS, PLAIN = "xnn_qs8_qc8w_gemm_ukernel_4x16c4__neondot", "xnn_qs8_qc8w_igemm_ukernel_4x16c4__neon"


@pytest.mark.parametrize(
    ("functions", "complaint"),
    [
        ([(0x0, DOTS), (0x100, "other")], None),
        ([(0x0, DOTS), (0x100, PLAIN)], f"without dot products: {PLAIN}"),
        ([(0x0, "xnn_f32_gemm_ukernel"), (0x100, "other")], "no int8 matrix product was run"),
        ([], None),
    ],
)
def test_the_log_is_read(functions: list[tuple[int, str]], complaint: str | None) -> None:
    found = kernels.read_log(LOG.splitlines(), 0x1000, 0x2000, functions)
    assert found.dots == 2  # the third lies outside the library
    assert (found.products is None) == (not functions)
    assert found.complaint() == complaint


def test_what_is_no_network_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert kernels.main([str(tmp_path / "missing.tflite")]) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}/missing.tflite: no .tflite")
