from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from rid_core.attacks import list_methods, protect
from rid_core.attacks.pgd import pgd
from rid_core.attacks.registry import settings_of
from rid_core.attacks.streams import RandomStreams
from rid_core.budget import Budget
from rid_core.errors import RidError
from rid_core.surrogates import DiffusionSurrogate, Ensemble, load_surrogate, relative_shift

SHORT = {
    "pgd": {"steps": 6},
    "photoguard": {"steps": 6},
    "momentum": {"steps": 6},
    "advdm": {"steps": 6},
    "mist": {"steps": 6},
    "aspl": {"rounds": 2, "surrogate_steps": 1, "attack_steps": 3},
}


@pytest.fixture(scope="module")
def portrait(astronaut: np.ndarray) -> Tensor:
    return torch.from_numpy(astronaut[:64, 190:254].copy()).permute(2, 0, 1)[None].float() / 255


@pytest.fixture
def models(diffusers_checkpoint: Callable[[str], Path]) -> Ensemble:
    paths = [diffusers_checkpoint(family) for family in ("sd", "sd-other")]
    return Ensemble([load_surrogate("stable-diffusion", path=path) for path in paths])


def test_pgd_finds_the_corner_of_a_linear_loss() -> None:
    image = torch.full((1, 3, 8, 8), 0.5)
    slope = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    budget = Budget(8)
    unit = pgd(image, lambda x: (x * slope).sum(dim=(1, 2, 3)), budget, steps=40)
    assert torch.equal(unit, -slope.sign())


def test_a_step_is_a_share_of_the_bound_and_may_fall() -> None:
    image, start = torch.full((1, 3, 4, 4), 0.5), torch.zeros(1, 3, 4, 4)
    run = {"loss": lambda x: x.sum(dim=(1, 2, 3)), "budget": Budget(4), "start": start}
    one = pgd(image, steps=1, step=0.25, **run)
    torch.testing.assert_close(one, torch.full_like(image, -0.25))
    falling = pgd(image, steps=2, step=0.25, last_step=0.0, **run)
    torch.testing.assert_close(falling, torch.full_like(image, -0.375))


def test_momentum_remembers_the_first_gradients() -> None:
    image, start = torch.full((1, 3, 4, 4), 0.5), torch.zeros(1, 3, 4, 4)
    signs = iter([3.0, 3.0, -1.0] * 2)

    def loss(x: Tensor) -> Tensor:
        return next(signs) * x.sum(dim=(1, 2, 3))

    # The last gradient is smaller and points back: counted alike, it does not turn the movement.
    with_it = pgd(image, loss, Budget(8), steps=3, step=0.1, momentum=1.0, start=start)
    without = pgd(image, loss, Budget(8), steps=3, step=0.1, start=start)
    torch.testing.assert_close(with_it, torch.full_like(image, -0.3))
    torch.testing.assert_close(without, torch.full_like(image, -0.1))


def test_pgd_on_an_encoder_beats_random_signs(
    tiny_encoder_file: Path, astronaut: np.ndarray
) -> None:
    surrogate = load_surrogate("tiny-autoencoder", path=tiny_encoder_file)
    image = torch.from_numpy(astronaut[:96, 180:276].copy()).permute(2, 0, 1)[None].float() / 255
    budget = Budget(8)
    signs = torch.randint(0, 2, image.shape, generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    reference = surrogate.encode(image)

    def shift(unit: torch.Tensor) -> float:
        return relative_shift(reference, surrogate.encode(budget.apply(image, unit))).item()

    unit = protect("pgd", image, Ensemble([surrogate]), budget, steps=10)
    assert unit.abs().max() <= 1
    assert shift(unit) > 2 * shift(signs)
    again = protect("pgd", image, Ensemble([surrogate]), budget, steps=10)
    assert torch.equal(unit, again)


@pytest.mark.parametrize("name", sorted(SHORT))
def test_a_method_keeps_the_bound_repeats_itself_and_leaves_the_models_as_they_were(
    name: str, models: Ensemble, portrait: Tensor
) -> None:
    before = [{k: v.clone() for k, v in m.state_dict().items()} for m in models.members]  # type: ignore[attr-defined]
    one = protect(name, portrait, models, Budget(4), [5], **SHORT[name])
    assert one.shape == portrait.shape
    assert 0.1 < one.abs().max() <= 1
    protected = Budget(4).apply(portrait, one)
    assert (protected - portrait).abs().max() <= 4 / 255 + 1e-6
    assert torch.equal(one, protect(name, portrait, models, Budget(4), [5], **SHORT[name]))
    if name != "aspl":  # which starts without a perturbation; its noise differs, few signs do
        assert not torch.equal(one, protect(name, portrait, models, Budget(4), [6], **SHORT[name]))
    for member, saved in zip(models.members, before, strict=True):
        state = member.state_dict()  # type: ignore[attr-defined]
        assert all(torch.equal(state[k], v) for k, v in saved.items())
        assert not any(p.requires_grad for p in member.parameters())  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["advdm", "aspl"])
def test_the_training_loss_rises(name: str, models: Ensemble, portrait: Tensor) -> None:
    settings = {"steps": 25} if name == "advdm" else {"rounds": 4, "surrogate_steps": 1}
    unit = protect(name, portrait, models, Budget(16), [0], **settings)
    signs = torch.randint(0, 2, unit.shape, generator=torch.Generator().manual_seed(1)) * 2.0 - 1

    def loss(change: Tensor) -> float:
        total = 0.0
        for member in models.members:
            assert isinstance(member, DiffusionSurrogate)
            with torch.no_grad():
                latent = member.encode(Budget(16).apply(portrait, change)).expand(64, -1, -1, -1)
                noise, t = RandomStreams(range(64)).noise(latent, 0, member.timesteps)
                total += member.denoising_loss(latent, noise, t).mean().item()
        return total

    clean, noisy, attacked = loss(torch.zeros_like(unit)), loss(signs), loss(unit)
    assert attacked - clean > 2 * abs(noisy - clean)


def test_photoguard_shrinks_the_latent_and_mist_approaches_its_target(
    models: Ensemble, portrait: Tensor
) -> None:
    member = models.members[0]
    alone = Ensemble([member])
    size = member.encode(portrait).square().mean()
    unit = protect("photoguard", portrait, alone, Budget(16), steps=20)
    assert member.encode(Budget(16).apply(portrait, unit)).square().mean() < 0.8 * size

    from rid_core.attacks.methods import _checkerboard

    aim = member.encode(_checkerboard(64, 64))
    unit = protect("mist", portrait, alone, Budget(16), steps=20, rate=0.0)
    near = (member.encode(Budget(16).apply(portrait, unit)) - aim).square().mean()
    assert near < 0.95 * (member.encode(portrait) - aim).square().mean()


def test_mist_takes_a_picture_as_its_target(
    models: Ensemble, portrait: Tensor, portraits: Path
) -> None:
    target = str(portraits / "0000.jpg")
    one = protect("mist", portrait, models, Budget(8), steps=2, target=target)
    assert not torch.equal(one, protect("mist", portrait, models, Budget(8), steps=2))
    with pytest.raises(RidError, match=r"0006\.jpg: damaged or truncated"):
        protect("mist", portrait, models, Budget(8), target=str(portraits / "0006.jpg"))


def test_what_becomes_of_a_photo_does_not_depend_on_its_batch(
    models: Ensemble, portrait: Tensor
) -> None:
    batch = torch.cat([portrait, portrait.flip(3)])
    both = protect("advdm", batch, models, Budget(8), [3, 4], steps=3)
    alone = protect("advdm", portrait.flip(3), models, Budget(8), [4], steps=3)
    agree = (both[1:] - alone).abs() < 1e-5
    assert agree.float().mean() > 0.98  # signs of vanishing gradients may differ


def test_defaults_are_the_published_ones() -> None:
    assert settings_of("photoguard") == {"steps": 1000, "step": 1 / 3}
    assert settings_of("advdm") == {"steps": 100, "step": 1 / 16}
    assert settings_of("mist") == {"steps": 100, "step": 1 / 16, "rate": 1e4, "target": ""}
    assert settings_of("momentum") == {"steps": 10, "step": 0.1, "decay": 1.0}
    assert settings_of("aspl") == {
        "rounds": 50,
        "surrogate_steps": 3,
        "attack_steps": 6,
        "step": 0.1,
        "learning_rate": 5e-7,
    }


def test_mistakes_are_named(
    models: Ensemble, portrait: Tensor, tiny_encoder_file: Path,
    diffusers_checkpoint: Callable[[str], Path],
) -> None:  # fmt: skip
    assert set(SHORT) < set(list_methods())
    encoder = Ensemble([load_surrogate("tiny-autoencoder", path=tiny_encoder_file)])
    half = load_surrogate("stable-diffusion", path=diffusers_checkpoint("sd"), dtype="bfloat16")
    for name, ensemble, settings, message in (
        ("adv-dm", models, {}, "did you mean advdm"),
        ("advdm", models, {"step_size": 0.1}, "has no setting 'step_size'; did you mean step"),
        ("advdm", models, {"steps": "many"}, "steps must be of type int"),
        ("advdm", models, {"steps": -1}, "must not be negative"),
        ("advdm", encoder, {}, "needs diffusion models; tiny only encodes"),
        ("aspl", Ensemble([half]), {}, "load it with dtype = float32"),
    ):
        with pytest.raises(RidError, match=message):
            protect(name, portrait, ensemble, Budget(8), **settings)
