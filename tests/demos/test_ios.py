"""The iOS demo as far as a Linux machine can check it: what `ios_demo/check.sh` says it does.

The golden vectors run through the Swift code here, a package that rid-export wrote through the
Swift reader, and the benchmark's JSON through rid-bench. No simulator and no phone is involved.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "ios_demo"
GOLDEN = ROOT / "tests" / "golden"
SKIPPED = 77


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The portrait of the model's vectors as raw RGB: Swift on Linux has no PNG decoder."""
    from PIL import Image

    with Image.open(GOLDEN / "portrait.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    document = json.loads((GOLDEN / "model.json").read_text())
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == document["image"]["rgb_sha256"]
    file = tmp_path_factory.mktemp("portrait") / "portrait.rgb"
    file.write_bytes(pixels.tobytes())
    return file


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny defender as a Core ML package, by rid-export."""
    import torch

    from rid_core.checkpoint import ModelCard, save_checkpoint
    from rid_core.defenders import create_defender
    from rid_export.pipeline import export
    from rid_export.spec import ExportSpec

    folder = tmp_path_factory.mktemp("package")
    config = {"width": 16, "detail_width": 8, "inner_blocks": 1}
    torch.manual_seed(3)
    defender = create_defender("rid-n", **config)
    torch.nn.init.normal_(defender.to_image.conv.weight, std=0.3)
    checkpoint = folder / "tiny.safetensors"
    save_checkpoint(checkpoint, defender, ModelCard("rid-n", levels=8, config=config))
    (result,) = export([ExportSpec(target="coreml", resolution=64)], checkpoint, folder / "dist")
    assert result.error is None
    return Path(result.file)


@pytest.fixture(scope="module")
def wrapper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What rid-export writes for an app, for a network of 16 x 16 pixels."""
    from rid_core.artifact import ArtifactMetadata, TensorInfo
    from rid_export.codegen import wrapper_source

    image = TensorInfo("image", "image", (1, 3, 16, 16), 0.0, 1.0)
    protected = dataclasses.replace(image, name="protected")
    delta = TensorInfo("delta", "float16", (1, 3, 16, 16), -1.0, 1.0)
    metadata = ArtifactMetadata(
        format="coreml",
        preset="rid-s",
        levels=8,
        resolution=16,
        stride=16,
        layout="nchw",
        precision="fp16",
        inputs=(image,),
        outputs=(protected, delta),
        weights="ab" * 32,
        network="cd" * 32,
        licence="Apache-2.0",
        created="2030-01-01T00:00:00+00:00",
    )
    file = tmp_path_factory.mktemp("wrapper") / "RidSCoreML.swift"
    file.write_text(wrapper_source(metadata, Path("rid-s.mlpackage")))
    return file


@pytest.mark.slow
def test_builds_and_passes(portrait: Path, package: Path, wrapper: Path, tmp_path: Path) -> None:
    report = tmp_path / "bench.json"
    environment = os.environ | {
        "RID_PORTRAIT_RGB": str(portrait),
        "RID_PACKAGE": str(package),
        "RID_WRAPPER": str(wrapper),
        "RID_BENCH_JSON": str(report),
    }
    done = subprocess.run(
        [str(DEMO / "check.sh")],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(done.stdout)
    if done.returncode == SKIPPED:
        pytest.skip(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout[-4000:]
    assert "warning:" not in done.stdout
    check_tests_ran(done.stdout)
    check_report(report, tmp_path)


def check_tests_ran(output: str) -> None:
    """All of Core's, golden vectors included; of the Kit only those that need Core ML are left."""
    skipped = set(re.findall(r"'(\w+\.\w+)' skipped", output))
    assert skipped == {"CoreMLTests.testEveryComputeUnit", "CoreMLTests.testThePortraitsPixels"}
    for name in ("BudgetTests.testGoldenVectors", "ProtectionTests.testGoldenVectors"):
        assert re.search(rf"'{re.escape(name)}' passed", output), name


def check_report(file: Path, folder: Path) -> None:
    """rid-bench reads the document that the app's benchmark exports, and makes a page of it."""
    from click.testing import CliRunner

    from rid_bench import results
    from rid_bench.cli import main_command
    from rid_bench.portable.records import label, measured

    (run,) = results.load(file)
    assert run.machine.cpu == "iPhone0,0"
    (cell,) = measured(run.cells)
    assert label(cell, threads=False) == "rid-s Core ML fp32 (CPU kernels)"
    page = folder / "report.html"
    done = CliRunner().invoke(main_command, ["report", str(file), "-o", str(page)])
    assert done.exit_code == 0, done.output
    assert "rid-s" in page.read_text()


def test_no_model_and_no_vector_is_kept_in_the_demo() -> None:
    """Both are read where they are made; a copy would go stale."""
    tracked = [file for file in DEMO.rglob("*") if file.is_file() and ".build" not in file.parts]
    names = {file.name for file in tracked if "Models" not in file.parts}
    assert not names & {file.name for file in GOLDEN.iterdir() if file.suffix in (".json", ".png")}


def test_identifiers_agree() -> None:
    """App group, and the folder of the models, stand in several files."""
    project = (DEMO / "project.yml").read_text()
    source = (DEMO / "App" / "Shared" / "AppGroup.swift").read_text()
    (group,) = re.findall(r'identifier = "(group\.[\w.]+)"', source)
    assert project.count(f"- {group}") == 2
    assert project.count("path: App/Models") == 2
    assert (
        'appendingPathComponent("Models"'
        in (DEMO / "Kit" / "Sources" / "Engine" / "ModelLibrary.swift").read_text()
    )


def test_metadata_keys_agree() -> None:
    """Every key that the Swift parser requires is one that the exporter writes."""
    from rid_core.artifact import ArtifactMetadata

    source = (DEMO / "Core" / "Sources" / "Model" / "ModelMetadata.swift").read_text()
    body = source[source.index("public let format") : source.index("/// Parses the document")]
    wanted = set(re.findall(r"public let (\w+):", body))
    known: Any = {field.name for field in dataclasses.fields(ArtifactMetadata)}
    assert wanted <= known
    assert len(wanted) >= 10
