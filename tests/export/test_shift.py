"""How far a surrogate's latent moves: the definition, for every perturbation its own figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rid_core.errors import RidError
from rid_export.parity import gate, make_reference, measure, thresholds
from rid_export.preparation import LatentShift

LEVELS = 6


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder of the TAESD family with random weights."""
    from safetensors.torch import save_file

    from rid_core.surrogates.tiny_autoencoder import encoder_layers

    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("surrogate") / "random_encoder.safetensors"
    save_file(encoder_layers(8, 4, {}).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def portraits() -> Any:
    from rid_export.portraits import bundled_portraits

    return bundled_portraits(64)[:3]


def unit_of(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (64, 64, 3)).astype(np.float32)


def by_hand(encoder: Path, portrait: np.ndarray, unit: np.ndarray) -> float:
    from rid_core.surrogates import load_surrogate

    network = load_surrogate("tiny-autoencoder", path=encoder)
    saved = (np.rint(portrait * 255) + np.rint(unit * LEVELS)).clip(0, 255) / 255
    with torch.no_grad():
        clean, moved = (
            network.encode(torch.tensor(each, dtype=torch.float32).permute(2, 0, 1)[None])
            for each in (portrait, saved)
        )
    return float((moved - clean).square().mean() / clean.square().mean())


def test_it_is_the_definition_on_the_saved_portrait(encoder: Path, portraits: Any) -> None:
    shift = LatentShift(encoder, LEVELS)
    assert shift.name == "random"
    for seed, portrait in enumerate(portraits):
        unit = unit_of(seed)
        assert shift(portrait, unit) == pytest.approx(by_hand(encoder, portrait, unit), rel=1e-4)


def test_what_no_saved_photo_shows_has_no_effect(encoder: Path, portraits: Any) -> None:
    shift = LatentShift(encoder, LEVELS)
    assert shift(portraits[0], np.zeros((64, 64, 3), np.float32)) == 0
    assert shift(portraits[0], np.full((64, 64, 3), 0.4 / LEVELS, np.float32)) == 0
    assert shift(portraits[0], np.full((64, 64, 3), 0.6 / LEVELS, np.float32)) > 0


def test_a_larger_bound_moves_more(encoder: Path, portraits: Any) -> None:
    unit = unit_of(0)
    small, large = (LatentShift(encoder, levels)(portraits[0], unit) for levels in (2, 16))
    assert large > 4 * small > 0


def test_arrays_that_are_gone_lend_their_figures_to_none(encoder: Path, portraits: Any) -> None:
    """Figures are kept by the arrays' addresses, which Python gives away again."""
    shift = LatentShift(encoder, LEVELS)
    found = [shift(portraits[n % 3].copy(), unit_of(n)) for n in range(12)]
    for n, value in enumerate(found):
        assert value == LatentShift(encoder, LEVELS)(portraits[n % 3], unit_of(n)), n
    assert len(set(found)) == 12


class Weaker:
    """A runtime whose perturbation is the float network's times a factor."""

    name = "planted"

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        return {"delta": predict(image) * np.float32(self.factor)}


def predict(image: np.ndarray) -> np.ndarray:
    return unit_of(round(float(image.sum())))


def test_the_gate_refuses_a_weaker_perturbation(encoder: Path, portraits: Any) -> None:
    import dataclasses

    shift = LatentShift(encoder, LEVELS)
    reference = make_reference(predict, portraits, LEVELS)
    reference = dataclasses.replace(reference, shift=shift)
    figures = measure(Weaker(1), reference, ["delta"])
    assert figures["retained_shift"] == 1
    bounds = [b for b in thresholds("int8", LEVELS, rounded=False) if b.name == "retained_shift"]
    assert gate(Weaker(1), reference, bounds, ["delta"]).checks[0].value == 1
    with pytest.raises(RidError, match=r"retained_shift is 0\.\d+, at least 0\.97 needed"):
        gate(Weaker(0.8), reference, bounds, ["delta"])


def test_a_perturbation_with_nan_has_no_shift(encoder: Path, portraits: Any) -> None:
    with pytest.raises(RidError, match="NaN"):
        LatentShift(encoder, LEVELS)(portraits[0], np.full((64, 64, 3), np.nan, np.float32))


@pytest.mark.parametrize("fault", ["missing", "foreign", "truncated"])
def test_unfit_surrogates_are_refused(fault: str, encoder: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "other.safetensors"
    if fault == "foreign":
        save_file({"weight": torch.zeros(3)}, path)
    elif fault == "truncated":
        path.write_bytes(encoder.read_bytes()[:-100])
    with pytest.raises(RidError, match=r"other\.safetensors"):
        LatentShift(path, LEVELS)
