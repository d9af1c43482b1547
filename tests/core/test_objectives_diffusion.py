"""Objectives on diffusion models, against their closed forms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rid_core import objectives
from rid_core.surrogates import DiffusionSurrogate, load_surrogate


@pytest.fixture(scope="module", params=["sd", "sd-v", "sd3"])
def surrogate(
    request: pytest.FixtureRequest, diffusers_checkpoint: Callable[[str], Path]
) -> DiffusionSurrogate:
    loaded = load_surrogate("stable-diffusion", path=diffusers_checkpoint(request.param))
    assert isinstance(loaded, DiffusionSurrogate)
    return loaded


@pytest.fixture
def scene(surrogate: DiffusionSurrogate) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, 64, 64, generator=generator)
    noise = torch.randn(surrogate.encode(image).shape, generator=generator)
    return image, noise, torch.tensor([150, 800])


def test_adv_sds_has_the_gradient_of_the_closed_form(
    surrogate: DiffusionSurrogate, scene: tuple[Tensor, Tensor, Tensor]
) -> None:
    image, noise, t = scene
    latent = surrogate.encode(image).detach().requires_grad_(True)
    loss = objectives.adversarial_score_distillation(surrogate, latent, noise, t)
    (gradient,) = torch.autograd.grad(loss.sum(), latent)
    schedule = surrogate.schedule  # type: ignore[attr-defined]
    signal, sigma = (share[t].reshape(-1, 1, 1, 1) for share in (schedule.signal, schedule.sigma))
    noisy = signal * latent.detach() + sigma * noise
    error = noise - surrogate.predict_noise(noisy, t)
    expected = signal * sigma**2 * error / latent[0].numel()
    torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-7)
    value = 0.5 * (sigma**2 * error).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(loss.detach(), value, rtol=1e-3, atol=1e-7)


def test_adv_sds_reaches_the_photo_through_the_encoder_alone(
    surrogate: DiffusionSurrogate, scene: tuple[Tensor, Tensor, Tensor]
) -> None:
    image, noise, t = scene
    photo = image.clone().requires_grad_(True)
    latent = surrogate.encode(photo)
    loss = objectives.adversarial_score_distillation(surrogate, latent, noise, t)
    (through_all,) = torch.autograd.grad(loss.sum(), photo)

    fixed = latent.detach().requires_grad_(True)
    loss = objectives.adversarial_score_distillation(surrogate, fixed, noise, t)
    (at_latent,) = torch.autograd.grad(loss.sum(), fixed)
    photo = image.clone().requires_grad_(True)
    (by_encoder,) = torch.autograd.grad(surrogate.encode(photo), photo, at_latent)
    torch.testing.assert_close(through_all, by_encoder, rtol=1e-3, atol=1e-8)


def test_adv_sds_runs_the_network_without_gradient(
    surrogate: DiffusionSurrogate,
    scene: tuple[Tensor, Tensor, Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image, noise, t = scene
    seen = []
    hook = surrogate.denoiser.register_forward_hook(  # type: ignore[union-attr]
        lambda module, inputs, output: seen.append(torch.is_grad_enabled())
    )
    latent = surrogate.encode(image.clone().requires_grad_(True))
    objectives.adversarial_score_distillation(surrogate, latent, noise, t)
    objectives.denoising_failure(surrogate, latent, noise, t)
    hook.remove()
    assert seen == [False, True]


def test_descending_adv_sds_moves_the_latent_along_the_error_of_the_noise(
    surrogate: DiffusionSurrogate, scene: tuple[Tensor, Tensor, Tensor]
) -> None:
    """Score distillation moves it against ``e_hat - e``; this one the other way."""
    image, noise, t = scene
    latent = surrogate.encode(image).detach().requires_grad_(True)
    loss = objectives.adversarial_score_distillation(surrogate, latent, noise, t)
    (gradient,) = torch.autograd.grad(loss.sum(), latent)
    found = surrogate.predict_noise(surrogate.add_noise(latent.detach(), noise, t), t)
    assert ((-gradient) * (found - noise)).sum() > 0


def test_denoising_failure_is_minus_the_training_loss(
    surrogate: DiffusionSurrogate, scene: tuple[Tensor, Tensor, Tensor]
) -> None:
    image, noise, t = scene
    photo = image.clone().requires_grad_(True)
    latent = surrogate.encode(photo)
    loss = objectives.denoising_failure(surrogate, latent, noise, t)
    schedule = surrogate.schedule  # type: ignore[attr-defined]
    noisy = schedule.add_noise(latent, noise, t)
    wanted = schedule.target(latent, noise, t)
    if schedule.prediction == "epsilon":
        error = surrogate.predict_noise(noisy.detach(), t) - noise
        torch.testing.assert_close(-loss, error.square().mean(dim=(1, 2, 3)), rtol=1e-3, atol=1e-6)
    assert wanted.shape == latent.shape
    (gradient,) = torch.autograd.grad(loss.sum(), photo)
    assert gradient.abs().sum() > 0


def test_targeted_latent_is_the_squared_distance() -> None:
    latent = torch.randn(2, 4, 3, 3, requires_grad=True)
    target = torch.randn(1, 4, 3, 3)
    loss = objectives.targeted_latent(latent, target)
    torch.testing.assert_close(loss, ((latent - target) ** 2).mean(dim=(1, 2, 3)))
    (gradient,) = torch.autograd.grad(loss.sum(), latent)
    torch.testing.assert_close(gradient, 2 * (latent.detach() - target) / 36)


def test_feature_shift_averages_the_layers() -> None:
    references = [torch.ones(2, 3, 4, 4), torch.ones(2, 5, 2, 2)]
    shifted = [references[0] * 2, references[1] * 4]
    value = objectives.feature_shift(references, shifted)
    expected = -(torch.log(torch.tensor(1.01)) + torch.log(torch.tensor(9.01))) / 2
    torch.testing.assert_close(value, expected.expand(2))
    with pytest.raises(ValueError, match="zip"):
        objectives.feature_shift(references, shifted[:1])
