from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from rid_core.errors import RidError
from rid_core.objectives import log_shift
from rid_core.surrogates import Ensemble, Surrogate, load_surrogate


@pytest.fixture(scope="module")
def members(tiny_encoder_files: list[Path]) -> list[Surrogate]:
    """Three encoders of different weights and widths."""
    return [load_surrogate("tiny-autoencoder", path=path) for path in tiny_encoder_files]


CLEAN = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def _moved() -> Tensor:
    noise = torch.rand(CLEAN.shape, generator=torch.Generator().manual_seed(1)) - 0.5
    return (CLEAN + 0.1 * noise).requires_grad_(True)


def shift(member: Surrogate, number: int, images: Tensor) -> Tensor:
    with torch.no_grad():
        reference = member.encode(CLEAN)
    return log_shift(reference, member.encode(images))


def _each(members: list[Surrogate]) -> Tensor:
    with torch.no_grad():
        return torch.stack([shift(m, i, _moved()) for i, m in enumerate(members)])


def test_modes_combine_the_members(members: list[Surrogate]) -> None:
    each = _each(members)
    assert each.unique().numel() == 6
    mean = Ensemble(members).losses(_moved(), {"x": shift})["x"]
    torch.testing.assert_close(mean.detach(), each.mean(dim=0))
    worst = Ensemble(members, "worst").losses(_moved(), {"x": shift})["x"]
    assert torch.equal(worst.detach(), each.max(dim=0).values)
    for drawn in range(4):
        one = Ensemble(members, "random").losses(_moved(), {"x": shift}, drawn)["x"]
        assert torch.equal(one.detach(), each[drawn % 3])
    with pytest.raises(RidError, match="mean, worst, random"):
        Ensemble(members, "best")


def test_a_function_may_be_for_some_members_only(members: list[Surrogate]) -> None:
    each = _each(members)
    functions, on = {"all": shift, "some": shift}, {"some": [0, 2]}
    for offload in (False, True):
        found = Ensemble(members, offload=offload).losses(_moved(), functions, on=on)
        torch.testing.assert_close(found["all"].detach(), each.mean(dim=0))
        torch.testing.assert_close(found["some"].detach(), each[[0, 2]].mean(dim=0))
    drawn = Ensemble(members, "random").losses(_moved(), functions, 1, on)
    assert torch.equal(drawn["all"].detach(), each[1])
    assert torch.equal(drawn["some"].detach(), each[2])


@pytest.mark.parametrize("mode", ["mean", "worst", "random"])
def test_offloading_changes_neither_losses_nor_gradients(
    mode: str, members: list[Surrogate]
) -> None:
    functions = {"shift": shift, "square": lambda m, n, x: m.encode(x).square().mean((1, 2, 3))}
    found = []
    for offload in (False, True):
        images = _moved()
        values = Ensemble(members, mode, offload).to("cpu").losses(images, functions, 1)
        total = 2 * values["shift"].mean() + values["square"].sum()
        (gradient,) = torch.autograd.grad(total, images)
        found.append((values["shift"].detach(), values["square"].detach(), gradient))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert found[0][2].abs().max() > 0


def _kept(members: list[Surrogate], offload: bool) -> int:
    """Numbers that the backward pass keeps alive after the losses were computed."""
    kept = 0

    def pack(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel()
        return tensor

    images = _moved()
    leaf_graphs = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    ensemble = Ensemble(members, offload=offload)
    with leaf_graphs:
        value = ensemble.losses(images, {"x": _outside(shift) if offload else shift})["x"]
    assert value.requires_grad
    return kept


def _outside(function):  # type: ignore[no-untyped-def]
    """What happens inside a member is freed before the losses return: not counted."""

    def quiet(member: Surrogate, number: int, images: Tensor) -> Tensor:
        with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
            return function(member, number, images)

    return quiet


def test_offloading_keeps_no_members_activations(members: list[Surrogate]) -> None:
    alone, three = _kept(members[:1], False), _kept(members, False)
    assert three > 2 * alone
    flat = _kept(members, True)
    # A gradient and a zero of the images' size for each member, however large the networks.
    assert flat < 3 * 3 * CLEAN.numel() < alone


class _Travelling(nn.Module):
    """A surrogate that notes where it is."""

    stride = 1
    on_device: ClassVar[set[str]] = set()
    most = 0

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def to(self, device: torch.device | str) -> _Travelling:  # type: ignore[override]
        here = _Travelling.on_device
        (here.discard if torch.device(device).type == "cpu" else here.add)(self.name)
        _Travelling.most = max(_Travelling.most, len(here))
        return self

    def encode(self, image: Tensor) -> Tensor:
        assert self.name in _Travelling.on_device
        return image * 2


@contextmanager
def _counting() -> Iterator[None]:
    _Travelling.on_device, _Travelling.most = set(), 0
    yield


def test_one_member_at_a_time_is_on_the_device() -> None:
    members = [_Travelling(str(n)) for n in range(3)]
    for offload, most in ((True, 1), (False, 3)):
        with _counting():
            ensemble = Ensemble(members, offload=offload).to("meta")
            ensemble.losses(_moved(), {"x": lambda m, n, x: m.encode(x).mean((1, 2, 3))})
            assert _Travelling.most == most
            assert len(_Travelling.on_device) == (0 if offload else 3)


def test_a_member_comes_back_when_its_loss_fails() -> None:
    ensemble = Ensemble([_Travelling("0")], offload=True).to("meta")

    def fails(member: Surrogate, number: int, images: Tensor) -> Tensor:
        raise RidError("no")

    with _counting():
        with pytest.raises(RidError, match="no"):
            ensemble.losses(_moved(), {"x": fails})
        assert not _Travelling.on_device
