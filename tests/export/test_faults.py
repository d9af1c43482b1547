"""Faults planted into real files of all three formats: each is refused, with the right reason.

A file with a fault has sound metadata and a fitting digest (unless those are the fault), so that
nothing but the gate can tell.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import planted
import pytest
from planted import DIFFER, SUFFIX, make_network, refuse

from rid_core.artifact import read_metadata
from rid_core.output import suppress_output
from rid_export.verification import verify

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("two_portraits")]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / "tiny.safetensors"
    return make_network(path, width=16, detail_width=16, inner_blocks=1)


@pytest.fixture(scope="module")
def sound(network: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A sound file of each format; made once."""
    folder = tmp_path_factory.mktemp("sound")
    made: dict[str, Path] = {}

    def get(target: str) -> Path:
        if target not in made:
            made[target] = planted.convert(target, network, folder / f"rid-n{SUFFIX[target]}")
        return made[target]

    return get


@pytest.fixture(params=sorted(SUFFIX))
def target(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def victim(target: str, sound: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of the sound file, to be spoilt."""
    source = sound(target)
    copy = tmp_path / source.name
    if source.is_dir():
        shutil.copytree(source, copy)
    else:
        shutil.copy(source, copy)
    return copy


def test_sound_files_pass(victim: Path, network: Path) -> None:
    with suppress_output():
        found = verify(victim, network)
    assert all(check.passed for entry in found.parity for check in entry.checks)


# -- weights --------------------------------------------------------------------------------------


def bgr_output(path: Path) -> Any:
    return lambda weights: planted.by_colour(weights, [2, 1, 0], path)


def one_filter(weights: np.ndarray) -> np.ndarray:
    weights[1] *= -1
    return weights


def one_nan(weights: np.ndarray) -> np.ndarray:
    weights[0, 0, 0, 0] = np.nan
    return weights


def stem_sees(factor: float, offset: float) -> Callable[[Path, Path], None]:
    """The first layer works as if it saw ``factor * image + offset``."""

    def change(path: Path, network: Path) -> None:
        weights = planted.lowered(network, path)["stem.weight"]
        shift = offset * weights.sum(axis=(1, 2, 3))
        planted.edit(
            path, network, stem_weight=lambda w: w * factor, stem_bias=lambda bias: bias + shift
        )

    return change


def layers(**changes: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path, Path], None]:
    return lambda path, network: planted.edit(path, network, **changes)


WEIGHTS: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "one filter changed": (layers(stem_weight=one_filter), DIFFER),
    "red and blue in": (
        layers(stem_weight=lambda w: w[:, ::-1]),
        "red and blue are swapped in the input",
    ),
    "red and blue out": (
        lambda path, network: planted.edit(
            path,
            network,
            to_image_conv_weight=bgr_output(path),
            to_image_conv_bias=bgr_output(path),
        ),
        "red and blue are swapped in the output",
    ),
    "sign": (
        layers(to_image_conv_weight=np.negative, to_image_conv_bias=np.negative),
        "the sign of delta is reversed",
    ),
    "0..255": (stem_sees(255, 0), "sees 0..255 instead of 0..1"),
    "divided by 255 twice": (stem_sees(1 / 255, 0), "divided by 255 once more"),
    "-1..1": (stem_sees(2, -1), r"sees -1\.\.1 instead of 0\.\.1"),
    "inverted": (stem_sees(-1, 1), "inverted image"),
    "NaN": (layers(stem_weight=one_nan), "NaN"),
    "a block dropped": (
        layers(
            encoder_0_project_weight=np.zeros_like,
            encoder_0_project_bias=np.zeros_like,
        ),
        DIFFER,
    ),
    "a bias dropped": (layers(decoder_0_expand_bias=np.zeros_like), DIFFER),
    "kernels transposed": (layers(stem_weight=lambda w: w.transpose(0, 1, 3, 2)), DIFFER),
    "last layer lost": (
        layers(to_image_conv_weight=np.zeros_like, to_image_conv_bias=np.zeros_like),
        "delta is zero everywhere",
    ),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights(name: str, victim: Path, network: Path) -> None:
    plant, pattern = WEIGHTS[name]
    plant(victim, network)
    refuse(victim, network, pattern)


# -- operators ------------------------------------------------------------------------------------


OPERATORS: dict[str, tuple[Any, Any, Any, str]] = {
    "ReLU missing": (
        ("Relu", "Identity"),
        ("relu", "mul"),
        planted.unfuse_tflite_relu,
        DIFFER,
    ),
    "tanh missing": (
        ("Tanh", "Identity"),
        ("tanh", "mul"),
        planted.retype_tflite(28, 20),  # there is no identity: a clamp to -1..1
        "tanh at the end is missing, or a clamp stands in its place",
    ),
    "another curve for tanh": (
        ("Tanh", "Sigmoid"),
        ("tanh", "softmax"),
        planted.retype_tflite(28, 14),
        "delta_sqnr_db",
    ),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_operators(name: str, victim: Path, network: Path) -> None:
    onnx, mil, tflite, pattern = OPERATORS[name]
    planted.replace_operator(victim, onnx, mil, tflite)
    refuse(victim, network, pattern)


def test_dtype_of_a_feature(sound: Callable[[str], Path], network: Path, tmp_path: Path) -> None:
    path = tmp_path / "rid-n.mlpackage"
    shutil.copytree(sound("coreml"), path)
    program = planted.edited_program(path)
    with program:
        array = program.model.description.output[1].type.multiArrayType
        array.dataType = 65568  # float32
    planted.reseal(path)
    refuse(path, network, "the package has delta as .*float32")


# -- quantization ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quantized(network: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A sound int8 file of each format; made once."""
    folder = tmp_path_factory.mktemp("quantized")
    made: dict[str, Path] = {}

    def get(target: str) -> Path:
        if target not in made:
            path = folder / f"rid-n.int8{SUFFIX[target]}"
            made[target] = planted.convert_int8(target, network, path)
        return made[target]

    return get


SCALES = ("weights", "activations")


@pytest.mark.full
@pytest.mark.parametrize("what", SCALES)
def test_scales(
    what: str, target: str, quantized: Callable[[str], Path], network: Path, tmp_path: Path
) -> None:
    source = quantized(target)
    with suppress_output():
        verify(source, network)
    path = tmp_path / source.name
    (shutil.copytree if source.is_dir() else shutil.copy)(source, path)
    planted.falsify_scale(path, what == "weights")
    refuse(
        path, network, "delta_sqnr_db is .*(precision is too low|saturates|scale)|LiteRT refuses"
    )


# -- metadata -------------------------------------------------------------------------------------


def renamed(infos: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(dataclasses.replace(info, name="photo") for info in infos)


METADATA: dict[str, tuple[Callable[[Any], dict[str, Any]], str]] = {
    "weights": (lambda m: {"weights": "0" * 64}, "not made from .*says weights 0000"),
    "preset": (lambda m: {"preset": "rid-s"}, "not made from .*says preset rid-s"),
    "levels": (lambda m: {"levels": 12}, "not made from .*says levels 12"),
    "stride": (lambda m: {"stride": 32}, "not made from .*says stride 32"),
    "resolution": (
        lambda m: {"resolution": 96},
        r"contradicts itself: image is \[1, .*, but 96 pixels",
    ),
    "layout": (
        lambda m: {"layout": "nchw" if m.layout == "nhwc" else "nhwc"},
        "contradicts itself: image is",
    ),
    "dtype": (
        lambda m: {"inputs": tuple(dataclasses.replace(i, dtype="int8") for i in m.inputs)},
        "image.*int8",
    ),
    "input's name": (lambda m: {"inputs": renamed(m.inputs)}, "an input image .*needed"),
    "output's name": (lambda m: {"outputs": renamed(m.outputs[:1]) + m.outputs[1:]}, "photo"),
    "no delta": (lambda m: {"outputs": m.outputs[:1]}, "an output delta are needed"),
    "format": (
        lambda m: {"format": "onnx" if m.format == "tflite" else "tflite"},
        "with the metadata of a",
    ),
}


@pytest.mark.parametrize("name", METADATA)
def test_metadata(name: str, victim: Path, network: Path) -> None:
    changes, pattern = METADATA[name]
    planted.reseal(victim, **changes(read_metadata(victim)))
    refuse(victim, network, pattern)


# -- files ----------------------------------------------------------------------------------------


def model_file(path: Path) -> Path:
    return path / planted.MODEL if path.is_dir() else path


def cut(share: float) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        file = model_file(path)
        data = file.read_bytes()
        file.write_bytes(data[: int(len(data) * share)])

    return change


def swap(old: bytes, new: bytes) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        file = model_file(path)
        data = file.read_bytes()
        assert old in data
        file.write_bytes(data.replace(old, new))

    return change


def flip_a_bit(path: Path) -> None:
    file = planted.weight_file(path)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def overwrite(data: bytes) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        if path.is_dir():
            shutil.rmtree(path)
        path.write_bytes(data)

    return change


def unseal(path: Path) -> None:
    from rid_core.artifact import rewrite_metadata

    rewrite_metadata(path, dataclasses.replace(read_metadata(path), network=""))


FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut in half": (cut(0.5), "damaged|truncated"),
    "last bytes lost": (cut(0.99), "damaged|truncated|changed after"),
    "empty": (overwrite(b""), "empty file"),
    "text": (overwrite(b"this is no model\n" * 9), "no exported defender"),
    "one bit flipped": (flip_a_bit, "changed after its export"),
    "never sealed": (unseal, "its export was never finished"),
    "somebody else's": (swap(b"RID_METADATA", b"XXX_METADATA"), "not one of ours"),
    "metadata of the future": (swap(b'"schema":1', b'"schema":9'), "has schema 9"),
    "metadata damaged": (swap(b'"schema":1', b'"schema"@1'), "is not JSON"),
}


@pytest.mark.parametrize("name", FILES)
def test_files(name: str, victim: Path, network: Path) -> None:
    plant, pattern = FILES[name]
    plant(victim)
    refuse(victim, network, pattern)


def test_missing_file(network: Path, tmp_path: Path) -> None:
    refuse(tmp_path / "none.tflite", network, "cannot be read")


def test_weights_of_a_package_missing(
    sound: Callable[[str], Path], network: Path, tmp_path: Path
) -> None:
    path = tmp_path / "rid-n.mlpackage"
    shutil.copytree(sound("coreml"), path)
    (path / planted.WEIGHTS).unlink()
    refuse(path, network, "changed after its export")
    planted.reseal(path)
    refuse(path, network, r"weight\.bin")


def test_wrong_file_under_the_right_name(
    sound: Callable[[str], Path], network: Path, tmp_path: Path
) -> None:
    onnx = tmp_path / "rid-n.tflite"
    shutil.copy(sound("onnx"), onnx)
    refuse(onnx, network, "ONNX by its content.*rid-n.onnx")
    checkpoint = tmp_path / "rid-n.onnx"
    shutil.copy(network, checkpoint)
    refuse(checkpoint, network, "a checkpoint, not an exported file")


def test_another_checkpoint(victim: Path, small_checkpoint: Path) -> None:
    refuse(victim, small_checkpoint, "not made from .*(levels|weights)")


# -- how many -------------------------------------------------------------------------------------


def test_there_are_enough_of_them() -> None:
    """In each format; those of the network alone would do without those of metadata and files."""
    from test_faults_graphs import CASES

    for target in SUFFIX:
        graphs = sum(case[1] == target for case in CASES)
        network = len(WEIGHTS) + len(OPERATORS) + len(SCALES) + graphs
        assert network >= 25, target
        assert network + len(METADATA) + len(FILES) >= 50, target
