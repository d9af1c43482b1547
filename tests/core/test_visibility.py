"""How visible a change is: against the published packages, and what each price is there for."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rid_core import visibility
from rid_core.channel import blur, real_jpeg, round_to_levels
from rid_core.errors import RidError


def _tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255


def _noise(image: torch.Tensor, levels: float, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, image.shape, generator=generator) * 2 - 1
    return round_to_levels((image + signs * levels / 255).clamp(0, 1))


@pytest.fixture(scope="module")
def photos(astronaut: np.ndarray) -> list[torch.Tensor]:
    """Four views of a portrait of 256 and 320 pixels."""
    whole = Image.fromarray(astronaut)
    views = [whole.resize((256, 256)), whole.crop((100, 0, 356, 256)),
             whole.crop((0, 192, 320, 512)), whole.crop((192, 100, 512, 356))]  # fmt: skip
    return [_tensor(np.array(view)) for view in views]


def _changes(image: torch.Tensor) -> list[torch.Tensor]:
    cast = torch.tensor([6.0, 0, 0]).view(1, 3, 1, 1) / 255
    return [
        _noise(image, 2),
        _noise(image, 8),
        real_jpeg(image, 75),
        real_jpeg(image, 30),
        round_to_levels(blur(image, 1.0)),
        round_to_levels((image + cast).clamp(0, 1)),
    ]


def test_ssimulacra2_is_the_packages_within_a_point(
    photos: list[torch.Tensor], tmp_path: Path
) -> None:
    package = pytest.importorskip("ssimulacra2")
    pairs = [(image, changed) for image in photos for changed in _changes(image)]
    assert len(pairs) >= 20
    found = []
    for clean, changed in pairs:
        files = [tmp_path / name for name in ("a.png", "b.png")]
        for file, image in zip(files, (clean, changed), strict=True):
            pixels = (image[0].permute(1, 2, 0) * 255).round().byte().numpy()
            Image.fromarray(pixels).save(file)
        expected = package.compute_ssimulacra2(*map(str, files))
        score = visibility.ssimulacra2(clean, changed).item()
        assert score == pytest.approx(expected, abs=1)
        found.append(score)
    assert min(found) < 50 < 80 < max(found)  # the pairs are not all alike


def test_no_change_is_the_best_score_of_all(photos: list[torch.Tensor]) -> None:
    image = photos[0]
    assert visibility.ssimulacra2(image, image).item() == pytest.approx(100, abs=0.5)
    assert visibility.JOD()(image, image).item() == pytest.approx(10, abs=1e-3)
    assert visibility.colour_change(image, image).item() == pytest.approx(0, abs=1e-2)


def test_jod_falls_with_the_levels_and_when_the_photo_is_enlarged(
    photos: list[torch.Tensor],
) -> None:
    batch = torch.cat([photos[0], photos[0], photos[0]])
    changed = torch.cat([_noise(photos[0], levels) for levels in (1, 4, 12)])
    normal, enlarged = visibility.JOD()(batch, changed), visibility.JOD(19.0)(batch, changed)
    assert normal.shape == (3,)
    assert normal[0] > normal[1] > normal[2]
    assert bool((enlarged[1:] < normal[1:]).all())
    # Of a batch, each photo has the JOD that it has alone.
    assert visibility.JOD()(photos[0], changed[1:2]).item() == pytest.approx(
        normal[1].item(), abs=1e-3
    )


def test_only_the_colour_price_sees_a_cast(photos: list[torch.Tensor]) -> None:
    """Two levels of red over everything, against random signs of two levels."""
    image = photos[0] * 0.9 + 0.05
    red = image + torch.tensor([2.0, 0, 0]).view(1, 3, 1, 1) / 255
    noise = image + (torch.randint(0, 2, image.shape) * 2 - 1) * 2 / 255
    jod = visibility.JOD()
    assert jod(image, red).item() > 9.9
    cast, signs = (visibility.colour_change(image, changed).item() for changed in (red, noise))
    assert cast == pytest.approx(2 / 3**0.5, rel=0.01)
    assert signs < 0.2 * cast


@pytest.mark.parametrize("name", ["jod", "ssimulacra2", "colour"])
def test_a_step_along_the_gradient_is_seen_less(name: str, photos: list[torch.Tensor]) -> None:
    prices = {
        "jod": lambda a, b: 10 - visibility.JOD()(a, b),
        "ssimulacra2": lambda a, b: 100 - visibility.ssimulacra2(a, b),
        "colour": visibility.colour_change,
    }
    image = photos[1][..., :96, :96]
    changed = _noise(image, 8).requires_grad_(True)
    before = prices[name](image, changed).sum()
    (gradient,) = torch.autograd.grad(before, changed)
    assert bool(torch.isfinite(gradient).all())
    moved = changed.detach() - 0.5 / 255 * gradient / gradient.abs().max()
    assert prices[name](image, moved).item() < before.item()


@pytest.mark.parametrize(
    "measure", [visibility.JOD(), visibility.ssimulacra2, visibility.colour_change]
)
def test_pictures_of_two_sizes_are_one_clear_line(measure: object) -> None:
    with pytest.raises(RidError, match=r"of one size are needed .*64x64 and 64x96"):
        measure(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 96))  # type: ignore[operator]


def test_without_cvvdp_the_error_names_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycvvdp", None)
    with pytest.raises(RidError, match="pip install --no-deps cvvdp"):
        visibility.JOD()
