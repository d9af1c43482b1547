"""``rid-eval look``: what a person sees."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import rid_eval
from rid_core.budget import Budget
from rid_core.errors import RidError
from rid_eval import appearance as look
from rid_eval.cli import group
from rid_eval.latent_shift import random_signs
from rid_eval.photos import PhotoFolder
from rid_eval.results import as_json


@pytest.fixture
def image(portraits: Path) -> torch.Tensor:
    return next(iter(PhotoFolder(portraits, "0000.jpg").load(256).values()))


def test_a_louder_change_is_worse_by_every_measure(image: torch.Tensor) -> None:
    unit = random_signs(image)
    faint, loud = (
        look.look_of(image, look.protected_at(image, unit, Budget(levels))) for levels in (2, 12)
    )
    for name in ("jod", "jod_enlarged", "ssimulacra2", "psnr"):
        assert getattr(faint, name) > getattr(loud, name), name
    assert faint.flip < loud.flip
    assert faint.jod > faint.jod_enlarged
    assert faint.colour < 0.1


def test_a_cast_shows_as_the_mean_change_of_a_channel(image: torch.Tensor) -> None:
    unit = torch.tensor([0.0, 0.5, 0.0]).view(1, 3, 1, 1).expand_as(image)
    dark = image * 0.8  # nothing is clipped
    assert look.look_of(dark, look.protected_at(dark, unit, Budget(8))).colour == pytest.approx(
        4, abs=0.3
    )


@pytest.mark.parametrize("wanted", [9.9, 9.7, 9.0])
def test_the_strength_of_a_wanted_jod_has_it(image: torch.Tensor, wanted: float) -> None:
    unit = random_signs(image)
    strength = look.strength_at(wanted, [image], [unit], Budget(16))
    assert 0 < strength < 1
    found = look.mean_jod([image], [unit], Budget(16), strength)
    assert found == pytest.approx(wanted, abs=0.01)


def test_on_a_phone_a_large_photo_hides_noise_of_its_own_pixels_only(image: torch.Tensor) -> None:
    """A perturbation at the working scale is enlarged with the photo, and can be seen."""
    seen = look.phone_jod(image, random_signs, Budget(8), megapixels=1)
    nothing = look.phone_jod(image, torch.zeros_like, Budget(8), megapixels=1)
    assert nothing == pytest.approx(10, abs=1e-3)
    assert 6 < seen < 9.8


def test_the_command_prints_writes_and_draws(portraits: Path, tmp_path: Path) -> None:
    arguments = [
        "look", "rid-n", "--images", str(portraits), "--pattern", "000[01].jpg", "--size", "192",
        "--large", "0", "--json", str(tmp_path / "look.json"), "--sheet", str(tmp_path / "a.png"),
    ]  # fmt: skip
    done = CliRunner().invoke(group, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    raw = json.loads((tmp_path / "look.json").read_text())
    assert list(raw["rows"]) == ["random", "rid-n"]
    assert raw["rows"]["rid-n"]["phone_jod"] is None
    assert f"{raw['rows']['rid-n']['mean']['jod']:.2f}" in done.output
    found = rid_eval.look(
        ["rid-n"], rid_eval.PhotoFolder(portraits, "000[01].jpg"), size=192, large=0
    )
    assert as_json(found)["rows"] == raw["rows"]
    sheet = np.array(Image.open(tmp_path / "a.png"))
    assert sheet.shape == (2 * 320, 3 * 160, 3)  # original, random signs, rid-n


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--against", "pgd"], "needs a --surrogate"),
        (["--pattern", "zz*"], "no portrait matches"),
        (["--levels", "0"], "0 is not in the range 1<=x<=255"),
    ],
)
def test_wrong_use_is_one_clear_line(extra: list[str], message: str, portraits: Path) -> None:
    arguments = ["look", "rid-n", "--images", str(portraits), "--limit", "1", *extra]
    done = CliRunner().invoke(group, arguments)
    assert done.exit_code != 0
    assert message in str(done.exception) + done.output
    assert isinstance(done.exception, RidError | SystemExit)
