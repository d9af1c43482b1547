"""Photos of any size, protected at the scale of whoever trains on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data

from rid_core import protection as protect
from rid_core.budget import Budget, verify
from rid_core.errors import RidError
from rid_core.image import io as photo
from rid_core.image import tiling

FACE = data.astronaut()


class Pattern:
    """A defender whose perturbation is known: waves of a given period, in pixels of a square."""

    name = "pattern"
    preset = "pattern"
    levels = 8
    stride = 16

    def __init__(self, period: float = 32, fixed_size: int | None = None) -> None:
        self.period = period
        self.fixed_size = fixed_size
        self.seen: list[np.ndarray] = []

    def perturb(self, image: np.ndarray) -> np.ndarray:
        self.seen.append(image)
        y, x = (np.arange(n, dtype=np.float32) * (2 * np.pi / self.period) for n in image.shape[:2])
        wave = np.cos(y)[:, None] * np.sin(x)
        return np.stack([wave, -wave, wave], axis=2)


class Saturated(Pattern):
    """+1 and -1, unrelated from square to square: the hard case for the bound."""

    def perturb(self, image: np.ndarray) -> np.ndarray:
        self.seen.append(image)
        generator = np.random.default_rng(len(self.seen))
        return generator.choice(np.float32([-1, 1]), size=image.shape)


def scaled(height: int, width: int) -> np.ndarray:
    return np.asarray(Image.fromarray(FACE).resize((width, height), Image.Resampling.BICUBIC))


def recovered(pixels: np.ndarray, protected: np.ndarray, attacker: Image.Resampling):
    """Change that is left after somebody scales the short side to 512, in levels.

    Scaling is linear, so the change can be scaled by itself, and in floating point: rounding to 8
    bits would blur the figure.
    """
    height, width = tiling.working_size(*pixels.shape[:2])
    change = protected.astype(np.float32) - pixels
    colours = (Image.fromarray(np.ascontiguousarray(change[:, :, k])) for k in range(3))
    return np.dstack([np.asarray(c.resize((width, height), attacker)) for c in colours])


def test_a_photo_of_512_is_not_scaled():
    runtime = Saturated()
    protected = protect.protect_photo(FACE, runtime)
    assert len(runtime.seen) == 1
    np.testing.assert_array_equal(runtime.seen[0], FACE / np.float32(255))
    unit = Saturated().perturb(FACE)
    np.testing.assert_array_equal(protected, Budget(8).apply_uint8(FACE, unit))


def test_what_the_defender_sees():
    runtime = Pattern()
    protect.protect_photo(scaled(1200, 1600), runtime)
    assert len(runtime.seen) == 2
    view = tiling.resample(scaled(1200, 1600), 512, 683) / 255
    for tile, left in zip(runtime.seen, (0, 171), strict=True):
        assert tile.shape == (512, 512, 3)
        assert tile.dtype == np.float32
        assert tile.flags.c_contiguous
        assert 0 <= tile.min() <= tile.max() <= 1
        np.testing.assert_allclose(tile, view[:, left : left + 512], atol=1e-6)


def test_a_fixed_size_sets_the_working_scale():
    runtime = Pattern(fixed_size=256)
    unit = protect.working_perturbation(scaled(600, 900), runtime)
    assert unit.shape == (256, 384, 3)
    assert {tile.shape for tile in runtime.seen} == {(256, 256, 3)}


@given(st.integers(64, 1500), st.integers(64, 1500), st.integers(1, 255), st.floats(0.05, 1))
@settings(max_examples=15, deadline=None)
def test_the_bound_holds_at_every_size(height, width, levels, strength):
    pixels = scaled(height, width)
    protected = protect.protect_photo(pixels, Saturated(), Budget(levels, strength))
    assert protected.shape == pixels.shape
    verdict = verify(pixels, protected, levels)
    assert verdict.within
    assert verdict.max_levels <= np.ceil(levels * strength)


@pytest.mark.parametrize("size", [(64, 64), (64, 4000), (1000, 64), (65, 511), (513, 512)])
def test_odd_sizes(size):
    pixels = scaled(*size)
    runtime = Pattern()
    protected = protect.protect_photo(pixels, runtime)
    assert protected.shape == pixels.shape
    assert 0 < verify(pixels, protected, 8).max_levels <= 8
    assert {tile.shape for tile in runtime.seen} == {(512, 512, 3)}
    assert len(runtime.seen) == len(tiling.starts(max(tiling.working_size(*size))))


def test_a_strip_beyond_the_limit_is_refused():
    with pytest.raises(RidError, match="4097 x 64 is more than 64 times as long as wide"):
        protect.protect_photo(np.zeros((64, 4097, 3), np.uint8), Pattern())


@pytest.mark.parametrize(
    "pixels", [np.zeros((64, 64), np.uint8), np.zeros((64, 64, 4), np.uint8), np.zeros((64, 64, 3))]
)
def test_what_is_no_photo_is_refused(pixels):
    with pytest.raises(RidError, match="a photo is uint8 RGB of shape"):
        protect.protect_photo(pixels, Pattern())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_broken_runtime_is_refused(value):
    class Broken(Pattern):
        def perturb(self, image):
            return np.full_like(image, value)

    with pytest.raises(RidError, match="pattern returned no perturbation"):
        protect.protect_photo(FACE, Broken())


def test_a_runtime_whose_stride_does_not_fit_is_refused():
    class Odd(Pattern):
        stride = 24

    with pytest.raises(RidError, match="multiples of 24 pixels, and 512 is none"):
        protect.protect_photo(FACE, Odd())


def test_no_seam_between_squares():
    """A defender that draws one tone everywhere: blending must not show where squares meet."""

    class Flat(Pattern):
        def perturb(self, image):
            return np.full_like(image, 0.7)

    grey = np.full((600, 2000, 3), 128, np.uint8)
    np.testing.assert_array_equal(protect.protect_photo(grey, Flat(), Budget(10)), 135)


@pytest.mark.parametrize("attacker", ["BOX", "BILINEAR", "LANCZOS"])
def test_the_perturbation_survives_the_attackers_scaling(attacker, twelve_megapixels):
    """The reason for the working scale: at 12 megapixels, what is drawn at full size is lost."""
    pixels, unit, protected, native = twelve_megapixels
    left = recovered(pixels, protected, Image.Resampling[attacker]) / 8
    energy = (unit**2).sum()
    assert (left**2).sum() > 0.9 * energy
    assert (left * unit).sum() > 0.98 * np.sqrt((left**2).sum() * energy)
    lost = recovered(pixels, native, Image.Resampling[attacker]) / 8
    assert (lost**2).sum() < 0.1 * energy


@pytest.fixture(scope="module")
def twelve_megapixels():
    """A photo, its perturbation at the working scale, protected with it, and at full size."""
    pixels = scaled(3024, 4032) // 2 + 64  # away from 0 and 255, where the range cuts
    runtime = Pattern(period=8)
    unit = protect.working_perturbation(pixels, runtime)
    native = np.empty_like(pixels)
    for square in tiling.tiles(*pixels.shape[:2]):
        # Later squares overwrite: where they meet does not matter here.
        tile = pixels[square.rows, square.columns]
        drawn = Budget(8).apply_uint8(tile, runtime.perturb(tile / np.float32(255)))
        native[square.rows, square.columns] = drawn
    return pixels, unit, protect.protect_photo(pixels, runtime), native


def test_sharpening_is_for_enlarging_only(monkeypatch):
    calls = []
    real = tiling.sharpen
    monkeypatch.setattr(tiling, "sharpen", lambda unit: calls.append(unit.shape) or real(unit))
    for size in ((512, 512), (512, 700), (300, 300)):
        protect.protect_photo(scaled(*size), Pattern())
    assert calls == []
    protect.protect_photo(scaled(600, 600), Pattern())
    assert calls == [(512, 512, 3)]


@pytest.mark.full
@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("name", ["0450", "0461", "0470"])
def test_the_effect_on_an_encoder_survives_the_attackers_scaling(shared, name, monkeypatch):
    """Relative latent shift of the bundled rid-s on a distilled FLUX.2 autoencoder; -s prints."""
    import torch

    from rid_core.runtimes import load_runtime
    from rid_core.surrogates import load_surrogate

    runtime = load_runtime("rid-s")
    path = shared / "weights" / "taef2_encoder.pth"
    encoder = load_surrogate("tiny-autoencoder", path=path)
    portrait = Image.open(shared / "data" / "portraits" / f"{name}.jpg").convert("RGB")
    large = np.asarray(portrait.resize((3072, 3072), Image.Resampling.BICUBIC))

    def code(image: np.ndarray) -> torch.Tensor:
        small = Image.fromarray(image).resize((512, 512), Image.Resampling.BILINEAR)
        batch = torch.from_numpy(np.array(small)).permute(2, 0, 1)[None] / 255
        with torch.inference_mode():
            return encoder.encode(batch)

    def shift(clean: np.ndarray, protected: np.ndarray) -> float:
        before, after = code(clean), code(protected)
        return float((after - before).square().mean() / before.square().mean())

    small = np.asarray(portrait)
    native = np.empty_like(large)
    for square in tiling.tiles(*large.shape[:2]):
        tile = large[square.rows, square.columns]
        drawn = Budget(8).apply_uint8(tile, runtime.perturb(tile / np.float32(255)))
        native[square.rows, square.columns] = drawn
    figures = {
        "512 x 512, never scaled": shift(small, protect.protect_photo(small, runtime)),
        "9.4 megapixels": shift(large, protect.protect_photo(large, runtime)),
        "drawn at full size": shift(large, native),
    }
    monkeypatch.setattr(tiling, "sharpen", lambda unit: unit)
    figures["not sharpened"] = shift(large, protect.protect_photo(large, runtime))
    print(name, {key: round(value, 3) for key, value in figures.items()})
    assert figures["9.4 megapixels"] > 0.7 * figures["512 x 512, never scaled"]
    # What sharpening gives depends on the network's grain: -1 to 5 % so far.
    assert figures["9.4 megapixels"] > 0.97 * figures["not sharpened"]
    assert figures["9.4 megapixels"] > 3 * figures["drawn at full size"]


# Files


def checkpoint(path: Path) -> Path:
    """A small real defender with random weights; trained ones start from zero perturbation."""
    import torch

    from rid_core.checkpoint import ModelCard, save_checkpoint
    from rid_core.defenders import create_defender

    torch.manual_seed(0)
    defender = create_defender("rid-n")
    with torch.no_grad():
        for parameter in defender.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    save_checkpoint(path, defender, ModelCard(preset="rid-n", levels=8))
    return path


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_a_file_round_trip_keeps_the_bound(tmp_path, suffix):
    Image.fromarray(scaled(700, 500)).save(tmp_path / "a.jpg", quality=90)
    outcome = protect.protect_file(tmp_path / "a.jpg", tmp_path / f"b{suffix}", Pattern())
    before = photo.load(tmp_path / "a.jpg").pixels
    verdict = verify(before, photo.load(tmp_path / f"b{suffix}").pixels, 8)
    assert verdict.within
    assert outcome.max_levels == verdict.max_levels > 4
    assert outcome.psnr == pytest.approx(verdict.psnr, abs=1e-6)
    assert (outcome.width, outcome.height) == (500, 700)


def test_levels_and_strength(tmp_path):
    Image.fromarray(FACE).save(tmp_path / "a.png")
    strong = protect.protect_file(tmp_path / "a.png", tmp_path / "b.png", Saturated())
    weak = protect.protect_file(
        tmp_path / "a.png", tmp_path / "b.png", Saturated(), Budget(16, strength=0.25)
    )
    assert (strong.max_levels, weak.max_levels) == (8, 4)


def test_a_broken_bound_is_never_written(tmp_path, monkeypatch):
    Image.fromarray(FACE).save(tmp_path / "a.png")
    monkeypatch.setattr(protect, "protect_photo", lambda pixels, *_: pixels ^ 64)
    with pytest.raises(RidError, match="would change by 64 levels, more than 8; not written"):
        protect.protect_file(tmp_path / "a.png", tmp_path / "b.png", Pattern())
    assert not (tmp_path / "b.png").exists()


def test_an_unknown_ending_fails_before_the_work(tmp_path):
    Image.fromarray(FACE).save(tmp_path / "a.png")
    runtime = Pattern()
    with pytest.raises(RidError, match=r"ends in \.bmp"):
        protect.protect_file(tmp_path / "a.png", tmp_path / "b.bmp", runtime)
    assert not runtime.seen


_MEASURE = """
import json, sys, time
import torch
torch.set_num_threads(2)

def peak():
    with open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 1024

with open("/proc/self/clear_refs", "w") as handle:
    handle.write("5")  # the peak starts over from here
before = peak()
from rid_core.protection import protect_file
from rid_core.runtimes import load_runtime
runtime = load_runtime(sys.argv[1])
outcome = protect_file(sys.argv[2], sys.argv[3], runtime, strip_gps=True)
print(json.dumps({
    "megabytes": peak() - before,
    "seconds": outcome.seconds,
    "size": [outcome.width, outcome.height],
    "max_levels": outcome.max_levels,
}))
"""


@pytest.mark.full
@pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="peak memory is read from Linux' /proc"
)
def test_a_12_megapixel_photo_with_a_turn_end_to_end(tmp_path, record_property):
    """4032 x 3024 JPEG, EXIF orientation 6 and GPS: right, and in a fraction of 600 MB."""
    tags = Image.Exif()
    tags[0x0112] = 6
    tags[0x010F] = "Camera Works"
    tags.get_ifd(0x8825)[1] = "N"
    source, target = tmp_path / "a.jpg", tmp_path / "b.png"
    Image.fromarray(scaled(3024, 4032)).save(source, quality=92, exif=tags, dpi=(72, 72))
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, checkpoint(tmp_path / "m.safetensors"), source, target],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    record_property("peak memory", figures)
    assert figures["size"] == [3024, 4032]
    assert figures["megabytes"] < 350
    written = Image.open(target)
    assert written.size == (3024, 4032)
    assert dict(written.getexif()) == {0x0112: 1, 0x010F: "Camera Works"}
    verdict = verify(photo.load(source).pixels, np.asarray(written), 8)
    assert verdict.within
    assert verdict.max_levels == figures["max_levels"] > 4
