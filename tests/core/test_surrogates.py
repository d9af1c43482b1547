from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from rid_core.errors import RidError
from rid_core.surrogates import list_surrogates, load_surrogate, relative_shift


def test_encodes_at_an_eighth_with_gradient_to_the_image(tiny_encoder_file: Path) -> None:
    surrogate = load_surrogate("tiny-autoencoder", path=tiny_encoder_file)
    image = torch.rand(2, 3, 64, 48, requires_grad=True)
    latent = surrogate.encode(image)
    assert latent.shape == (2, 4, 8, 6)
    latent.square().sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0
    assert surrogate.name == "tiny"
    assert surrogate.stride == 8


def test_half_precision_agrees_and_hands_float_gradients_to_the_image(
    tiny_encoder_file: Path,
) -> None:
    image = torch.rand(2, 3, 64, 64)
    found = {}
    for dtype in ("float32", "bfloat16"):
        leaf = image.clone().requires_grad_(True)
        surrogate = load_surrogate("tiny-autoencoder", path=tiny_encoder_file, dtype=dtype)
        latent = surrogate.encode(leaf)
        latent.square().sum().backward()
        assert latent.dtype == torch.float32
        assert leaf.grad is not None
        assert leaf.grad.dtype == torch.float32
        found[dtype] = latent.detach(), leaf.grad
    for exact, half in zip(found["float32"], found["bfloat16"], strict=True):
        likeness = torch.cosine_similarity(exact.flatten(), half.flatten(), dim=0)
        assert 0.98 < likeness < 0.999999
    with pytest.raises(RidError, match="did you mean bfloat16"):
        load_surrogate("tiny-autoencoder", path=tiny_encoder_file, dtype="bflot16")


def test_frozen(tiny_encoder_file: Path) -> None:
    surrogate = load_surrogate("tiny-autoencoder", path=tiny_encoder_file)
    assert isinstance(surrogate, torch.nn.Module)
    assert not any(p.requires_grad for p in surrogate.parameters())


def test_torch_files_with_tensors_load_and_agree(tiny_encoder_file: Path, tmp_path: Path) -> None:
    torch.save(load_file(tiny_encoder_file), tmp_path / "same_encoder.pth")
    image = torch.rand(1, 3, 32, 32)
    one = load_surrogate("tiny-autoencoder", path=tiny_encoder_file).encode(image)
    other = load_surrogate("tiny-autoencoder", path=tmp_path / "same_encoder.pth").encode(image)
    assert torch.equal(one, other)


class _Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.target,)


def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    sign = tmp_path / "code-ran"
    bomb = tmp_path / "bomb.pth"
    bomb.write_bytes(pickle.dumps({"0.weight": _Bomb(sign)}))
    with pytest.raises(RidError, match="cannot be read as plain tensors"):
        load_surrogate("tiny-autoencoder", path=bomb)
    torch.save({"0.weight": _Bomb(sign)}, bomb)
    with pytest.raises(RidError, match="cannot be read as plain tensors"):
        load_surrogate("tiny-autoencoder", path=bomb)
    assert not sign.exists()


@pytest.mark.parametrize("fault", ["missing", "foreign", "truncated", "layer lost"])
def test_unfit_files_are_refused(fault: str, tiny_encoder_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "encoder.safetensors"
    if fault == "foreign":
        save_file({"weight": torch.zeros(3)}, path)
    elif fault == "truncated":
        path.write_bytes(tiny_encoder_file.read_bytes()[:-100])
    elif fault == "layer lost":
        state = load_file(tiny_encoder_file)
        del state["7.conv.2.weight"]
        save_file(state, path)
    with pytest.raises(RidError, match=r"encoder\.safetensors"):
        load_surrogate("tiny-autoencoder", path=path)


def test_unknown_kinds_and_settings_name_what_is_known() -> None:
    assert "tiny-autoencoder" in list_surrogates()
    with pytest.raises(RidError, match="did you mean tiny-autoencoder"):
        load_surrogate("tiny-autoencoders", path="x")
    with pytest.raises(RidError, match="tiny-autoencoder"):
        load_surrogate("tiny-autoencoder", paths="x")


def test_relative_shift_is_the_definition() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=(2, 3, 4, 5, 6))
    expected = ((after - before) ** 2).mean(axis=(1, 2, 3)) / (before**2).mean(axis=(1, 2, 3))
    measured = relative_shift(torch.from_numpy(before), torch.from_numpy(after))
    np.testing.assert_allclose(measured.numpy(), expected, rtol=1e-12)


@pytest.mark.shared
def test_taef2_loads_and_separates_portraits(shared: Path) -> None:
    from rid_core.data import load_rgb, to_tensor

    surrogate = load_surrogate("tiny-autoencoder", path=shared / "weights/taef2_encoder.pth")
    images = [to_tensor(load_rgb(shared / f"data/portraits/{n}.jpg", 64)) for n in ("0001", "0450")]
    one, other = (surrogate.encode(image[None, :, :64, :64]) for image in images)
    assert one.shape == (1, 32, 8, 8)
    assert surrogate.name == "taef2"
    assert relative_shift(one, other).item() > 0.5
