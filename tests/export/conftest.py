"""One seeded defender, exported once per session to every target."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # a converter's own process imports broken_targets


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
    config = {"width": 16, "head_width": 8, "inner_blocks": 1}
    defender = create_defender("rid-n", **config)
    torch.nn.init.normal_(defender.to_image.conv.weight, std=0.3)
    path = tmp_path_factory.mktemp("checkpoint") / "small.safetensors"
    save_checkpoint(path, defender, ModelCard("rid-n", levels=6, config=config))
    return path


@pytest.fixture(scope="session")
def portrait() -> Any:
    from rid_export.portraits import bundled_portraits

    return bundled_portraits(512)[0]


@pytest.fixture(scope="session")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """``exported("tflite")`` is the result of exporting to it; each is made once."""
    from rid_export.pipeline import export
    from rid_export.spec import ExportSpec

    out = tmp_path_factory.mktemp("dist")
    made: dict[str, Any] = {}

    def get(target: str) -> Any:
        if target not in made:
            (made[target],) = export([ExportSpec(target=target)], checkpoint, out)
        assert made[target].error is None, made[target].error
        return made[target]

    return get


@pytest.fixture(scope="session")
def reference(checkpoint: Path, portrait: Any) -> Any:
    """What the gate compares with."""
    from rid_core.runtimes.torch_runtime import TorchRuntime
    from rid_export.parity import make_reference

    runtime = TorchRuntime(checkpoint)
    return make_reference(lambda image: runtime.run(image)["delta"], [portrait], runtime.levels)
