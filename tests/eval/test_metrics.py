"""Metrics against values known by other means, and intervals over people."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from rid_core.data import to_batch
from rid_core.errors import RidError
from rid_core.surrogates import load_surrogate
from rid_core.visibility import psnr
from rid_eval import lpips, metrics
from rid_eval.statistics import (
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_ratio,
    ratio_over_images,
)


def _direction(*values: float) -> np.ndarray:
    vector = np.array(values)
    return vector / np.linalg.norm(vector)


def test_a_sample_without_a_face_counts_zero_or_not_at_all() -> None:
    person = _direction(1, 0)
    samples = [_direction(1, 0), _direction(3, 4), None, None]
    score = metrics.identity_score(samples, person, threshold=0.7)
    assert score.fdfr == 0.5
    assert score.ism_found == pytest.approx(0.8)
    assert score.ism_zero == pytest.approx(0.4)
    assert score.recognised == 0.25


def test_without_any_face_the_mean_of_found_ones_does_not_exist() -> None:
    score = metrics.identity_score([None, None], _direction(1, 0), 0.4)
    assert score.fdfr == 1
    assert math.isnan(score.ism_found)
    assert score.ism_zero == 0
    with pytest.raises(RidError, match="no samples"):
        metrics.identity_score([], _direction(1, 0), 0.4)


def test_psnr_agrees_with_scikit_image(astronaut: np.ndarray) -> None:
    from skimage import metrics as reference

    rng = np.random.default_rng(0)
    clean = astronaut[:128, 128:256]
    changed = np.clip(clean + rng.integers(-8, 9, clean.shape), 0, 255).astype(np.uint8)
    expected = reference.peak_signal_noise_ratio(clean, changed)
    pair = to_batch(clean[None]), to_batch(changed[None])
    assert psnr(*pair).item() == pytest.approx(expected, rel=1e-5)
    assert psnr(pair[0], pair[0]).item() == 100


def test_jod_is_the_mean_over_photos_and_falls_with_what_is_seen(astronaut: np.ndarray) -> None:
    clean = np.stack([astronaut[:64, 128:192], astronaut[64:128, 128:192]])
    grain = np.random.default_rng(0).integers(-16, 17, clean.shape)
    changed = np.clip(clean + grain, 0, 255).astype(np.uint8)
    each = [metrics.jod(clean[n : n + 1], changed[n : n + 1]) for n in range(2)]
    assert each[0] != pytest.approx(each[1], abs=1e-3)
    assert metrics.jod(clean, changed) == pytest.approx(np.mean(each), abs=1e-3)
    assert 5 < max(each) < 9.9
    assert metrics.jod(clean, clean) == pytest.approx(10, abs=1e-3)


def test_the_frechet_distance_of_known_gaussians() -> None:
    """Of N(0, 1) and N(m, s^2) in every direction: D (m^2 + (1 - s)^2)."""
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((20000, 3)), 2 + 3 * rng.standard_normal((20000, 3))
    assert metrics.frechet_distance(one, other) == pytest.approx(3 * (4 + 4), rel=0.03)
    assert metrics.frechet_distance(one, one) == pytest.approx(0, abs=1e-6)


def test_few_samples_bias_the_frechet_and_not_the_kernel_distance() -> None:
    rng = np.random.default_rng(1)
    few = [rng.standard_normal((2, 40, 16)) / 4 for _ in range(40)]
    kernel = [metrics.kernel_distance(*pair) for pair in few]
    assert np.mean(kernel) == pytest.approx(0, abs=3 * np.std(kernel) / np.sqrt(len(kernel)))
    assert min(metrics.frechet_distance(*pair) for pair in few) > 0.1
    assert "few" in (metrics.few_samples(40, 5000) or "")
    assert metrics.few_samples(metrics.FEW, metrics.FEW) is None


def test_distances_refuse_what_has_none() -> None:
    with pytest.raises(RidError, match="two samples"):
        metrics.frechet_distance(np.zeros((1, 4)), np.zeros((9, 4)))
    with pytest.raises(RidError, match="different networks"):
        metrics.kernel_distance(np.zeros((9, 4)), np.zeros((9, 5)))


def test_effects_on_a_model_are_none_for_equal_photos_and_grow_with_the_change(
    diffusers_checkpoint: Callable[[str], Path],
) -> None:
    surrogate = load_surrogate("stable-diffusion", path=diffusers_checkpoint("sd"))
    photos = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert metrics.latent_shift(surrogate, photos, photos) == 0
    assert metrics.denoising_rise(surrogate, photos, photos) == pytest.approx(1)
    little, much = (photos + 0.05).clamp(0, 1), 1 - photos
    assert metrics.latent_shift(surrogate, photos, little) > 0
    assert metrics.latent_shift(surrogate, photos, little) < metrics.latent_shift(
        surrogate, photos, much
    )
    one, again = (metrics.gradient_norm(surrogate, photos, draws=2) for _ in range(2))
    assert one == again > 0


def test_lpips_of_its_own_features() -> None:
    """With every weight 1, the mean squared distance of unit features, computed here again."""
    generator = torch.Generator().manual_seed(0)
    shapes = {
        0: (64, 3, 11),
        3: (192, 64, 5),
        6: (384, 192, 3),
        8: (256, 384, 3),
        10: (256, 256, 3),
    }
    backbone, heads = {}, {}
    for number, (place, (outputs, inputs, kernel)) in enumerate(shapes.items()):
        weight = torch.randn(outputs, inputs, kernel, kernel, generator=generator)
        backbone[f"features.{place}.weight"] = weight / (inputs * kernel**2) ** 0.5
        backbone[f"features.{place}.bias"] = torch.zeros(outputs)
        heads[f"lin{number}.model.1.weight"] = torch.zeros(1, outputs, 1, 1)
    heads["lin0.model.1.weight"] += 1
    network = lpips.Lpips(backbone, heads)
    one, other = torch.rand(2, 2, 3, 64, 64, generator=generator)
    assert network(one, one).tolist() == [0, 0]
    shift = torch.tensor([-0.030, -0.088, -0.188])[:, None, None]
    spread = torch.tensor([0.458, 0.448, 0.450])[:, None, None]
    features = [
        torch.relu(torch.conv2d((x * 2 - 1 - shift) / spread, backbone["features.0.weight"],
                                stride=4, padding=2))
        for x in (one, other)
    ]  # fmt: skip
    units = [torch.nn.functional.normalize(x, dim=1) for x in features]
    expected = (units[0] - units[1]).square().sum(dim=1).mean(dim=(1, 2))
    assert torch.allclose(network(one, other), expected, atol=1e-5)


def test_lpips_without_weights_says_where_they_are(tmp_path: Path) -> None:
    with pytest.raises(RidError, match="torchvision"):
        lpips.load_lpips(None, None)
    with pytest.raises(RidError, match="other networks"):
        lpips.Lpips({}, {})
    with pytest.raises(RidError, match="no such file"):
        lpips.load_lpips(tmp_path / "alexnet.pth", tmp_path / "alex.pth")


def test_an_interval_is_over_people_and_not_over_samples() -> None:
    """A hundred equal samples of a person tell no more than one."""
    once = {"a": [0.0], "b": [1.0], "c": [0.5]}
    often = {name: values * 100 for name, values in once.items()}
    one, other = bootstrap_mean(once), bootstrap_mean(often)
    assert one.value == other.value == pytest.approx(0.5)
    assert (one.low, one.high) == (other.low, other.high)
    assert one.identities == 3
    assert one.low < 0.2
    assert one.high > 0.8


def test_the_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        people = {str(n): [value] for n, value in enumerate(rng.standard_normal(20))}
        interval = bootstrap_mean(people)
        hits += interval.low <= 0 <= interval.high
    assert 170 <= hits <= 200


def test_ratios_are_of_the_same_people() -> None:
    """Falls of very different sizes, always in the ratio 2: nothing is unsure about that."""
    below = {"a": [0.1, 0.2], "b": [0.5], "c": [0.9]}
    above = {name: [2 * value for value in values] for name, values in below.items()}
    ratio = bootstrap_ratio(above, below)
    assert ratio.value == ratio.low == ratio.high == pytest.approx(2)
    assert math.isnan(bootstrap_ratio(above, {name: [0.0] for name in below}).value)


def test_what_was_not_measured_is_left_out() -> None:
    nothing = float("nan")
    assert bootstrap_mean({"a": [nothing, 1.0], "b": [nothing]}).identities == 1
    assert math.isnan(bootstrap_mean({"a": [nothing]}).value)
    alone = bootstrap_mean({"a": [0.25]})
    assert alone.value == 0.25
    assert math.isnan(alone.low)
    assert str(alone) == "0.250"
    assert bootstrap_difference({"a": [1.0], "b": [2.0]}, {"b": [3.0]}).value == -1


def test_the_interval_of_a_ratio_over_images_holds_it_and_narrows() -> None:
    rng = np.random.default_rng(1)
    below = rng.uniform(1, 2, 400)
    above = below * rng.uniform(0.4, 0.6, 400)
    many, few = ratio_over_images(above, below), ratio_over_images(above[:20], below[:20])
    assert many.low < above.mean() / below.mean() < many.high
    assert few.high - few.low > 2 * (many.high - many.low)
    # The same images are drawn for both: what is a constant share of each image has no spread.
    same = ratio_over_images(below / 4, below)
    assert (same.low, same.high) == pytest.approx((0.25, 0.25))
