"""One seeded defender, exported once per session to every target."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # a converter's own process imports broken_targets
sys.path.insert(0, str(Path(__file__).parents[1] / "photos"))  # for mutate


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rid-s whose perturbation is not zero; its weights mean nothing."""
    import torch

    from rid_core.checkpoint import ModelCard, save_checkpoint
    from rid_core.defenders import create_defender

    torch.manual_seed(7)
    defender = create_defender("rid-s")
    torch.nn.init.normal_(defender.to_image.conv.weight, std=0.1)
    path = tmp_path_factory.mktemp("checkpoint") / "rid-s.safetensors"
    save_checkpoint(path, defender, ModelCard("rid-s", levels=8))
    return path


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny defender, for tests that convert again."""
    import torch

    from rid_core.checkpoint import ModelCard, save_checkpoint
    from rid_core.defenders import create_defender

    torch.manual_seed(3)
    config = {"width": 16, "detail_width": 8, "inner_blocks": 1}
    defender = create_defender("rid-n", **config)
    torch.nn.init.normal_(defender.to_image.conv.weight, std=0.3)
    path = tmp_path_factory.mktemp("checkpoint") / "small.safetensors"
    save_checkpoint(path, defender, ModelCard("rid-n", levels=6, config=config))
    return path


@pytest.fixture(scope="session")
def small_dit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny diffusion transformer, every layer of which matters."""
    import torch

    from rid_core.checkpoint import ModelCard, save_checkpoint
    from rid_core.defenders import create_defender

    torch.manual_seed(4)
    config = {"image_size": 64, "width": 32, "depth": 2, "heads": 2}
    defender = create_defender("rid-dit", **config)
    for block in defender.blocks:
        torch.nn.init.normal_(block.proj.weight, std=0.2)
        torch.nn.init.normal_(block.fc2.weight, std=0.1)
    torch.nn.init.normal_(defender.head.weight, std=0.2)
    path = tmp_path_factory.mktemp("checkpoint") / "dit.safetensors"
    save_checkpoint(path, defender, ModelCard("rid-dit", levels=8, config=config))
    return path


@pytest.fixture(scope="session")
def portrait() -> Any:
    from rid_export.portraits import bundled_portraits

    return bundled_portraits(512)[0]


@pytest.fixture(scope="session")
def exported(checkpoint: Path, once: Any) -> Any:
    """``exported("tflite")`` is the result of exporting to it; each is made once."""
    from rid_export.pipeline import export
    from rid_export.spec import ExportSpec

    @functools.cache
    def get(target: str) -> Any:
        spec = ExportSpec(target=target)
        (made,) = once(f"dist-{target}", lambda out: export([spec], checkpoint, out))
        assert made.error is None, made.error
        return made

    return get


@pytest.fixture(scope="session")
def small_file(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny defender as ONNX at 64 pixels, for tests that only read or refuse."""
    from rid_export.pipeline import export
    from rid_export.spec import ExportSpec

    out = tmp_path_factory.mktemp("small")
    (made,) = export([ExportSpec("onnx", resolution=64)], small_checkpoint, out)
    assert made.error is None, made.error
    return made.file


@pytest.fixture(scope="session")
def small_images() -> Any:
    """Eight portraits and as many calibration images of 64 pixels, uint8 [8, 64, 64, 3] each."""
    import numpy as np

    from rid_export.calibration import make_calibration
    from rid_export.portraits import bundled_portraits

    portraits = np.stack([np.rint(image * 255) for image in bundled_portraits(64)])
    return portraits.astype(np.uint8), make_calibration(None, 8, 64).images


@pytest.fixture(scope="session")
def small_tflite(small_checkpoint: Path, small_images: Any) -> Any:
    """(graph, bytes of the float model with its layers named, grids) of the tiny defender."""
    import litert_torch

    from rid_core.checkpoint import load_checkpoint
    from rid_core.quantization.grids import calibrate
    from rid_export.backends.litert.convert import named_model
    from rid_export.graph import ExportGraph

    defender, card = load_checkpoint(small_checkpoint)
    graph = ExportGraph(defender, card.levels, "nhwc")
    path = small_checkpoint.with_name("small.tflite")
    litert_torch.convert(graph, sample_kwargs={"image": graph.example(64)}).export(str(path))
    data = named_model(path.read_bytes(), graph.weights())
    return graph, data, calibrate(graph.defender, small_images[1])


@pytest.fixture(scope="session")
def small_onnx(small_checkpoint: Path, small_images: Any) -> Any:
    """(graph, float ``ModelProto`` with its nodes named, grids) of the tiny defender."""
    from rid_core.checkpoint import load_checkpoint
    from rid_core.quantization.grids import calibrate
    from rid_export.backends.onnx.convert import export_graph
    from rid_export.backends.onnx.graph import name_layers
    from rid_export.graph import ExportGraph
    from rid_export.spec import ExportSpec

    defender, card = load_checkpoint(small_checkpoint)
    graph = ExportGraph(defender, card.levels, "nchw")
    model = export_graph(graph, ExportSpec("onnx", resolution=64))
    name_layers(model)
    return graph, model, calibrate(graph.defender, small_images[1])


@pytest.fixture(scope="session")
def small_coreml(small_checkpoint: Path, small_images: Any) -> Any:
    """(graph, ``MLModel`` of the fp16 program, grids) of the tiny defender."""
    from rid_core.checkpoint import load_checkpoint
    from rid_core.quantization.grids import calibrate
    from rid_export.backends.coreml.convert import to_program
    from rid_export.graph import ExportGraph

    defender, card = load_checkpoint(small_checkpoint)
    graph = ExportGraph(defender, card.levels, "nchw", protected_scale=255)
    return graph, to_program(graph, 64, half=True), calibrate(graph.defender, small_images[1])


@pytest.fixture(scope="session")
def reference(checkpoint: Path, portrait: Any) -> Any:
    """What the gate compares with."""
    from rid_core.runtimes.torch import TorchRuntime
    from rid_export.parity import make_reference

    runtime = TorchRuntime(checkpoint)
    return make_reference(lambda image: runtime.run(image)["delta"], [portrait], runtime.levels)


@pytest.fixture
def register() -> Iterator[Callable[[type[Any]], None]]:
    """``register(kind)`` makes one of ``broken_targets`` known as ``broken`` for a test."""
    from rid_export.registry import register_target, unregister_target

    registered: list[type[Any]] = []

    def add(kind: type[Any]) -> None:
        registered.append(register_target(kind))

    yield add
    for kind in registered:
        unregister_target(kind.name)


@pytest.fixture
def two_portraits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the gate look at two portraits only: a planted fault shows in any."""
    from rid_export import portraits

    few: dict[int, Any] = {}
    sound = portraits.bundled_portraits

    def first(resolution: int) -> Any:
        if resolution not in few:
            few[resolution] = sound(resolution)[:2]
        return few[resolution]

    monkeypatch.setattr(portraits, "bundled_portraits", first)
