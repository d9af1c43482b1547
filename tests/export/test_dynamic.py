"""Files that take any size: what they claim is what was run, and one size baked in is refused."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rid_core.artifact import read_metadata
from rid_core.errors import RidError
from rid_core.fidelity import compare
from rid_core.runtimes.onnxruntime import OnnxRuntime
from rid_core.runtimes.torch import TorchRuntime
from rid_export.parity import gate, thresholds
from rid_export.pipeline import STAGES, Job, Stage, export
from rid_export.portraits import bundled_portraits, of_many_sizes
from rid_export.spec import ExportSpec
from rid_export.verification import reference_of

SIZES = ((16, 16), (256, 512), (512, 528), (640, 480), (480, 640), (768, 768), (1024, 2048))
SPEC = ExportSpec("onnx", resolution=64, dynamic=True)


@pytest.fixture(scope="module")
def dynamic(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny defender as an ONNX file that takes any size."""
    (made,) = export([SPEC], small_checkpoint, tmp_path_factory.mktemp("dynamic"))
    assert made.error is None, made.error
    assert made.file.name == "rid-n.64px.dynamic.onnx"
    return made.file


@pytest.fixture(scope="module")
def reference(dynamic: Path, small_checkpoint: Path) -> Any:
    """What ``verify`` holds it against."""
    return reference_of(TorchRuntime(small_checkpoint), read_metadata(dynamic), lambda line: None)


# -- sizes ----------------------------------------------------------------------------------------


def test_sizes_of_the_gate() -> None:
    """Both orientations, above 512 and below, and more cells than there are codes at 1/16."""
    square = bundled_portraits(64)
    found = of_many_sizes(square, 16)
    sizes = [(image.shape[0], image.shape[1]) for image in found]
    assert set(SIZES) < set(sizes)
    assert len(set(sizes)) == len(sizes)
    assert any(height > width for height, width in sizes)
    assert any(height < width for height, width in sizes)
    assert max(height for height, _ in sizes) > 128 * 16 < max(width for _, width in sizes)
    assert all(image.dtype == np.float32 and image.flags.c_contiguous for image in found)
    # A portrait goes on in its mirror image.
    wide = found[sizes.index((256, 512))]
    source = square[sizes.index((256, 512))]
    assert np.array_equal(wide[:64, :64], source)
    assert np.array_equal(wide[:64, 64:128], source[:, ::-1])


@pytest.mark.parametrize("stride", [8, 24, 32, 64])
def test_sizes_fit_the_stride(stride: int) -> None:
    found = of_many_sizes([np.zeros((stride, stride, 3), np.float32)], stride)
    assert all(not size % stride for image in found for size in image.shape[:2])
    assert found[0].shape == (stride, stride, 3)


# -- sound files ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_it_runs_and_agrees(size: tuple[int, int], dynamic: Path, small_checkpoint: Path) -> None:
    image = np.random.default_rng(sum(size)).random((*size, 3), dtype=np.float32)
    expected = TorchRuntime(small_checkpoint).run(image)
    got = OnnxRuntime(dynamic, threads=1).run(image)
    found = compare(expected["delta"], got["delta"], 1 / 6)
    assert found.sqnr_db > 60
    assert found.max_error < 0.01
    assert found.sign_agreement > 0.9999
    np.testing.assert_allclose(got["protected"], expected["protected"], atol=1e-4)


@pytest.mark.slow
def test_the_metadata_says_at_which_sizes_it_was_proved(dynamic: Path, small_file: Path) -> None:
    found = read_metadata(dynamic)
    assert found.dynamic
    assert found.sizes[0] == (64, 64)
    assert set(SIZES) < set(found.sizes)
    assert found.parity[0].portraits == 8 + len(found.sizes) - 1
    assert read_metadata(small_file).sizes == ((64, 64),)


def rid_export(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    main = "from rid_export.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", main, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_any_resolution_gives_the_same_graph(
    dynamic: Path, small_checkpoint: Path, tmp_path: Path
) -> None:
    """768 once ended in a traceback: more cells than codes."""
    import onnx

    settings = ("--target", "onnx", "--dynamic", "--resolution", "768", "--bare")
    done = rid_export(*settings, "--checkpoint", small_checkpoint, "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    made = tmp_path / "rid-n.768px.dynamic.onnx"
    assert read_metadata(made).sizes[0] == (768, 768)
    first, second = (onnx.load(path).graph for path in (dynamic, made))
    assert first.SerializeToString() == second.SerializeToString()
    shown = rid_export("verify", made, "--against", small_checkpoint)
    assert shown.returncode == 0, shown.stderr
    assert "at 768 x 768, 16 x 16, 256 x 512, 512 x 528" in shown.stdout
    document = json.loads(rid_export("inspect", made, "--json").stdout)
    assert [1024, 2048] in document["metadata"]["sizes"]
    assert "proved at" in rid_export("inspect", made).stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"precision": "int8", "calib_samples": 8},
        {"precision": "fp16", "layout": "nhwc"},
        {"precision": "w8", "io": "uint8"},
        {"precision": "w8a16", "calib_samples": 8, "outputs": ("delta",)},
    ],
)
def test_other_kinds(settings: dict[str, Any], small_checkpoint: Path, tmp_path: Path) -> None:
    spec = ExportSpec("onnx", resolution=512, dynamic=True, **settings)
    (made,) = export([spec], small_checkpoint, tmp_path)
    assert made.error is None, made.error
    assert set(SIZES) < set(read_metadata(made.file).sizes)


def test_a_network_of_one_size_is_refused_before_anything_slow(
    small_dit: Path, tmp_path: Path
) -> None:
    done = rid_export(
        *("--target", "onnx", "--dynamic", "--resolution", "64"),
        *("--checkpoint", small_dit, "-o", tmp_path / "dist"),
    )
    assert done.returncode == 1
    assert done.stderr == "error: rid-dit works at 64 x 64 only: leave --dynamic out\n"
    assert not (tmp_path / "dist").exists()


# -- planted faults -------------------------------------------------------------------------------


def nodes(model: Any, kind: str) -> list[Any]:
    return [node for node in model.graph.node if node.op_type == kind]


def constant(model: Any, value: int) -> str:
    from onnx import numpy_helper

    name = f"planted.{value}"
    if name not in {tensor.name for tensor in model.graph.initializer}:
        tensor = numpy_helper.from_array(np.array(value, np.int64), name)
        model.graph.initializer.append(tensor)
    return name


def bake_one_size(model: Any) -> None:
    """As many codes as the 64 pixels have cells, whatever the image has."""
    for node in nodes(model, "Range")[:2]:
        node.input[1] = constant(model, 16)


def never_start_over(model: Any) -> None:
    """Beyond the last code there is none."""
    for node in nodes(model, "Mod"):
        node.input[1] = constant(model, 10**6)


def stay_at_the_last(cells: slice) -> Callable[[Any], None]:
    """The last code again and again instead of all from the first."""

    def spoil(model: Any) -> None:
        for node in nodes(model, "Mod")[cells]:
            del node.attribute[:]
            node.op_type = "Min"
            node.input[1] = constant(model, 127)

    return spoil


def start_over_too_soon(model: Any) -> None:
    for node in nodes(model, "Mod"):
        node.input[1] = constant(model, 64)


def take_height_for_width(model: Any) -> None:
    """Rows of one axis, columns of the same: right for squares."""
    shapes = nodes(model, "Shape")
    ends = {(a.name, a.i) for a in shapes[0].attribute}
    other = next(node for node in shapes if {(a.name, a.i) for a in node.attribute} != ends)
    del other.attribute[:]
    other.attribute.extend(shapes[0].attribute)


CANNOT_RUN = r"cannot run it at {} pixels, so its metadata \(sizes, types\) are not about"
BAKED = r"delta_sqnr_db is .* at {} pixels: at 64 x 64 pixels it agrees: is a size baked into"
FAULTS: dict[str, tuple[Callable[[Any], None], str]] = {
    "one size baked in": (bake_one_size, CANNOT_RUN.format("16 x 16")),
    "codes run out": (never_start_over, CANNOT_RUN.format("512 x 528")),
    "the last code stays": (stay_at_the_last(slice(None)), BAKED.format(r"\d{3,4} x \d{3,4}")),
    "the last code stays, at 1/16": (
        stay_at_the_last(slice(2, 4)),
        BAKED.format("(2064 x 32|32 x 2064)"),
    ),
    "codes start over too soon": (start_over_too_soon, BAKED.format(r"\d{3,4} x \d{3,4}")),
    "height for width": (take_height_for_width, CANNOT_RUN.format("256 x 512")),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_a_file_that_does_not_take_any_size(
    name: str, dynamic: Path, reference: Any, tmp_path: Path
) -> None:
    import onnx

    plant, text = FAULTS[name]
    model = onnx.load(dynamic)
    plant(model)
    path = tmp_path / dynamic.name
    onnx.save(model, path)
    bounds = thresholds("fp32", 6, rounded=False)
    # At the one size that was asked for, nothing shows.
    square = type(reference)(
        reference.portraits[:8], reference.deltas[:8], reference.predict, reference.levels
    )
    gate(OnnxRuntime(path, sealed=False), square, bounds)
    with pytest.raises(RidError) as caught:
        gate(OnnxRuntime(path, sealed=False), reference, bounds)
    assert re.search(text, str(caught.value)), caught.value
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_export_refuses_one_size_baked_in(
    dynamic: Path, small_checkpoint: Path, tmp_path: Path
) -> None:
    def convert(job: Job) -> None:
        import onnx

        model = onnx.load(dynamic)
        bake_one_size(model)
        onnx.save(model, job.path)

    stages = (Stage("convert", convert), *STAGES[1:])
    (result,) = export([SPEC], small_checkpoint, tmp_path, stages=stages)
    assert result.error is not None
    assert re.search(CANNOT_RUN.format("16 x 16"), result.error), result.error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_file_of_one_size_that_says_it_was_proved_at_others(
    small_file: Path, small_checkpoint: Path, tmp_path: Path
) -> None:
    import planted

    path = tmp_path / "m.onnx"
    shutil.copy(small_file, path)
    planted.reseal(path, sizes=((64, 64), (512, 768)))
    planted.refuse(path, small_checkpoint, "takes 64 x 64 pixels only, and .* proved at 512 x 768")
