"""The matrix of channels and purifications: the steps, the figures, and the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from rid_core import channel, visibility
from rid_core.budget import Budget
from rid_core.checkpoint import ModelCard, load_checkpoint, save_checkpoint, weights_digest
from rid_core.data import list_portraits
from rid_core.defenders import Defender, create_defender
from rid_core.errors import RidError
from rid_core.surrogates import load_surrogate, open_encoder
from rid_core.surrogates.stable_diffusion import load_stable_diffusion
from rid_eval import filters, latent_shift, purifiers
from rid_eval.cli import group
from rid_eval.inverse import InverseSettings, train_inverse
from rid_eval.photos import PhotoFolder
from rid_eval.robustness import cell, equal_noise, measure, protect
from rid_eval.steps import CHANNELS, PURIFICATIONS, Chain, parse_chain, select


@pytest.fixture(scope="module")
def face(astronaut: np.ndarray) -> Tensor:
    """A real face, float32 [1, 3, 96, 96]."""
    return torch.from_numpy(astronaut[30:222:2, 128:320:2]).permute(2, 0, 1)[None].float() / 255


@pytest.fixture
def defender() -> Defender:
    torch.manual_seed(0)
    network = create_defender("rid-n")
    torch.nn.init.normal_(network.to_image.conv.weight, std=0.1)  # type: ignore[union-attr]
    return network.eval().requires_grad_(False)


@pytest.fixture
def checkpoint(tmp_path: Path, defender: Defender) -> Path:
    path = tmp_path / "mine.safetensors"
    save_checkpoint(path, defender, ModelCard(preset="rid-n", levels=8, surrogates=["tiny"]))
    return path


def psnr(one: Tensor, other: Tensor) -> float:
    return float(visibility.psnr(one, other).mean())


@pytest.mark.parametrize("name", [*CHANNELS, *PURIFICATIONS])
def test_every_step_keeps_the_size_and_range_and_looks_like_the_photo(
    name: str, face: Tensor
) -> None:
    link = {**CHANNELS, **PURIFICATIONS}[name]
    pair = torch.cat([face, face])
    states = Chain((link,)).states(pair)
    assert len(states) == 2
    assert states[-1].shape == pair.shape
    assert torch.equal(states[-1][0], states[-1][1])  # the same to every image of a batch
    assert 0 <= states[-1].min() <= states[-1].max() <= 1
    levels = states[-1] * 255
    assert (levels - levels.round()).abs().max() < 1e-3
    assert psnr(states[-1], pair) > (12 if name == "crop10" else 20)


def test_codecs_lose_more_at_lower_quality(face: Tensor) -> None:
    kept = [psnr(CHANNELS[f"jpeg{q}"].apply(face), face) for q in (95, 85, 75, 50)]
    assert kept == sorted(kept, reverse=True)
    assert psnr(channel.real_webp(face, 80), face) > 28


def test_filters_clean_as_well_as_those_of_scikit_image(face: Tensor) -> None:
    restoration = pytest.importorskip("skimage.restoration")
    ndimage = pytest.importorskip("scipy.ndimage")
    noisy = channel.grain(face, 6.0)

    def other(function: Callable[[np.ndarray], np.ndarray]) -> Tensor:
        found = function(noisy[0].permute(1, 2, 0).double().numpy())
        return torch.from_numpy(np.asarray(found)).permute(2, 0, 1)[None].float()

    theirs = other(lambda x: ndimage.median_filter(x, (3, 3, 1), mode="mirror"))
    assert torch.allclose(filters.median(noisy), theirs, atol=1e-6)
    theirs = other(lambda x: restoration.denoise_tv_chambolle(
        x, weight=0.03, channel_axis=2, eps=1e-7, max_num_iter=60))  # fmt: skip
    assert psnr(filters.total_variation(noisy), theirs) > 55
    theirs = other(lambda x: restoration.denoise_nl_means(
        x, 5, 5, h=0.8 * 6 / 255, sigma=6 / 255, channel_axis=2))  # fmt: skip
    assert psnr(filters.non_local_means(noisy), face) > psnr(theirs, face) - 0.5


def test_bilateral_is_the_weighted_mean_of_its_definition(face: Tensor) -> None:
    around = face[0, :, 36:45, 46:55].double()
    rows, columns = torch.meshgrid(torch.arange(9) - 4, torch.arange(9) - 4, indexing="ij")
    apart = (around - around[:, 4:5, 4:5]).square().sum(dim=0)
    weight = torch.exp(-(rows**2 + columns**2) / (2 * 2.0**2) - apart / (2 * 0.1**2))
    wanted = (around * weight).sum(dim=(1, 2)) / weight.sum()
    assert torch.allclose(filters.bilateral(face)[0, :, 40, 50], wanted.float(), atol=1e-5)


def test_noise_of_equal_norm_has_it_even_on_black(face: Tensor) -> None:
    dark = face * 0.02
    assert equal_noise(dark, 0.01, 0).square().mean().sqrt().item() == pytest.approx(0.01, rel=0.02)
    assert (dark + equal_noise(dark, 0.01, 0)).min() >= 0


def test_figures_of_a_cell_are_shares_of_the_plain_effect() -> None:
    plain, floor = np.array([1.0, 1.0, 2.0]), np.array([0.2, 0.2, 0.4])
    same = cell(plain, floor, plain, floor)
    assert (same.kept, same.low, same.high, same.above_floor) == pytest.approx((100,) * 4)
    half = cell(plain / 2, floor, plain, floor)
    assert half.kept == pytest.approx(50)
    assert half.floor_kept == pytest.approx(20)
    assert half.above_floor == pytest.approx(37.5)
    assert cell(floor, floor, floor * 1.1, floor).above_floor is None


def test_an_inverse_that_brings_back_the_photo_leaves_nothing(
    face: Tensor, tiny_encoder_file: Path
) -> None:
    """The same subtraction on a clean photo would shift it as far: that is no merit."""
    from rid_eval.steps import PURIFICATION, Link

    encoder = load_surrogate("tiny-autoencoder", path=tiny_encoder_file)
    mark = torch.where(torch.arange(96) % 2 == 0, 1.0, -1.0).expand(1, 3, 96, 96)
    inside = (face * 200 + 20).round() / 255
    protected = protect(lambda image: mark, [inside], Budget(8))
    assert protected.rms_levels == pytest.approx(8, abs=0.01)
    undo = Link("undo", PURIFICATION, "", lambda image: image - mark * 8 / 255)
    matrix = measure({"mark": protected}, inside, [Chain((undo,))], [encoder])
    row = matrix.cells["mark"]["tiny"]
    assert row["identity"].effect > 0
    assert row["undo"].kept < 5
    assert matrix.alone["tiny"]["undo"] == pytest.approx(row["identity"].effect, rel=0.5)


def test_what_a_channel_does_by_itself_is_no_effect(face: Tensor, tiny_encoder_file: Path) -> None:
    encoder = load_surrogate("tiny-autoencoder", path=tiny_encoder_file)
    nothing = protect(torch.zeros_like, [face], Budget(8))
    chains = [parse_chain("blur1+jpeg50", CHANNELS)]
    matrix = measure({"nothing": nothing}, face, chains, [encoder])
    assert matrix.cells["nothing"]["tiny"]["blur1+jpeg50"].effect < 1e-6
    assert matrix.alone["tiny"]["blur1+jpeg50"] > 0.001


def test_the_batch_does_not_matter(face: Tensor, tiny_encoder_file: Path) -> None:
    encoder = load_surrogate("tiny-autoencoder", path=tiny_encoder_file)
    photos = [face, face.flip(3), face * 0.7]
    signs = protect(latent_shift.random_signs, photos, Budget(8))
    chains = [Chain((CHANNELS["noise4"],)), Chain((PURIFICATIONS["median"],))]
    one, many = (
        measure({"r": signs}, torch.cat(photos), chains, [encoder], batch=b) for b in (1, 3)
    )
    for chain, found in one.cells["r"]["tiny"].items():
        assert found.effect == pytest.approx(many.cells["r"]["tiny"][chain].effect, rel=1e-3)


def test_photos_of_one_name_in_several_folders_all_count(portraits: Path, tmp_path: Path) -> None:
    for person in ("00", "01"):
        (tmp_path / person).mkdir()
        (tmp_path / person / "000.jpg").write_bytes((portraits / "0000.jpg").read_bytes())
    assert list(PhotoFolder(tmp_path, "??/000.jpg").load(64)) == ["00/000.jpg", "01/000.jpg"]


def test_of_a_whole_model_the_encoder_alone_is_opened(
    diffusers_checkpoint: Callable[[str], Path], tiny_encoder_file: Path
) -> None:
    encoder = open_encoder(diffusers_checkpoint("sd"))
    assert encoder.denoiser is None  # type: ignore[attr-defined]
    assert open_encoder(tiny_encoder_file).name == "tiny"


def test_unknown_steps_name_the_nearest() -> None:
    with pytest.raises(RidError, match="did you mean jpeg75"):
        parse_chain("jpg75+median", {**CHANNELS, **PURIFICATIONS})
    with pytest.raises(RidError, match="no purification is called 'zzz'; known: median"):
        select(["zzz"], PURIFICATIONS, "purification")
    assert select(["none"], CHANNELS, "channel") == []
    assert Chain(()).name == "identity"


def test_img2img_is_the_same_twice_and_moves_with_strength(
    face: Tensor, diffusers_checkpoint: Callable[[str], Path]
) -> None:
    model = load_stable_diffusion(diffusers_checkpoint("sd"), decoder=True)
    there = model.decode(model.encode(face))
    weak, strong = (purifiers.img2img(face, model, s) for s in (0.1, 0.6))
    assert weak.shape == face.shape
    assert torch.equal(weak, purifiers.img2img(face, model, 0.1))
    assert psnr(weak, there) > psnr(strong, there)
    assert len(purifiers.img2img_links(model)) == 3
    with pytest.raises(RidError, match="strength of img2img"):
        purifiers.img2img_links(model, [1.5])
    with pytest.raises(RidError, match="multiples of 8"):
        purifiers.img2img(face[..., :90], model, 0.1)


def test_img2img_of_a_perfect_model_keeps_the_latent(
    face: Tensor, diffusers_checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A denoiser that knows the noise gives back what was encoded, in any number of steps."""
    model = load_stable_diffusion(diffusers_checkpoint("sd-v"), decoder=True)
    clean = model.encode(face)
    schedule = model.schedule
    assert schedule is not None

    def perfect(noisy: Tensor, t: Tensor) -> Tensor:
        return (noisy - schedule.signal[t[0]] * clean) / schedule.sigma[t[0]]

    monkeypatch.setattr(model, "predict_noise", perfect)
    found = purifiers.img2img(face, model, 0.3)
    assert torch.allclose(found, model.decode(clean), atol=1e-3)


def test_a_surrogate_without_decoder_or_denoiser_says_so(
    face: Tensor, diffusers_checkpoint: Callable[[str], Path]
) -> None:
    blind = load_stable_diffusion(diffusers_checkpoint("sd"))
    with pytest.raises(RidError, match="without its decoder"):
        purifiers.img2img(face, blind, 0.1)
    encoder = load_stable_diffusion(diffusers_checkpoint("sd"), denoiser=False, decoder=True)
    with pytest.raises(RidError, match="without its denoiser"):
        purifiers.img2img(face, encoder, 0.1)


def test_round_trips_of_folders(
    face: Tensor,
    diffusers_checkpoint: Callable[[str], Path],
    tiny_encoder_file: Path,
    tmp_path: Path,
) -> None:
    for family in ("sd", "tiny-autoencoder"):
        model = purifiers.open_round_trip(diffusers_checkpoint(family))
        assert model(face).shape == face.shape
    with pytest.raises(RidError, match="no decoder beside it"):
        purifiers.open_round_trip(tiny_encoder_file)
    (tmp_path / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    with pytest.raises(RidError, match="AutoencoderKL or AutoencoderTiny"):
        purifiers.open_round_trip(tmp_path)


@pytest.mark.shared
def test_taef2_there_and_back_is_the_photo(shared: Path, face: Tensor) -> None:
    model = purifiers.open_round_trip(shared / "weights/taef2_encoder.pth")
    assert psnr(model(face), face) > 25


@pytest.mark.full
def test_a_learned_inverse_goes_on_where_it_was_cut_off(
    defender: Defender, portraits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rid_eval import inverse

    monkeypatch.setattr(inverse, "_SAVE_EVERY", 2)
    settings = InverseSettings(steps=5, batch=2, crop=64, short_side=64, width=4)
    photos = list_portraits(portraits, [])
    whole = train_inverse(defender, Budget(8), photos, tmp_path / "whole", settings)

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_inverse(defender, Budget(8), photos, tmp_path / "cut", settings, progress=stop)
    seen: list[int] = []
    again = train_inverse(
        defender,
        Budget(8),
        photos,
        tmp_path / "cut",
        settings,
        progress=lambda done, total: seen.append(done),
    )
    assert seen == [2, 3, 4, 5]
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    (file,) = (tmp_path / "cut").iterdir()
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(RidError, match="damaged learned inverse"):
        train_inverse(defender, Budget(8), photos, tmp_path / "cut", settings)
    with pytest.raises(RidError, match="crops of 60 pixels"):
        train_inverse(defender, Budget(8), photos, tmp_path, InverseSettings(crop=60))


def test_a_learned_inverse_takes_a_fixed_pattern_off(portraits: Path, tmp_path: Path) -> None:
    budget = Budget(16)

    class Stripes(Defender):
        stride = 8

        def forward(self, image: Tensor) -> Tensor:
            rows = torch.where(torch.arange(image.shape[2]) % 4 < 2, 1.0, -1.0)
            return rows[:, None].expand_as(image)

    settings = InverseSettings(steps=100, batch=2, crop=64, short_side=160, width=8, rate=5e-3)
    network = train_inverse(Stripes(), budget, list_portraits(portraits, []), tmp_path, settings)
    photo = PhotoFolder(portraits, "0003.jpg").load(160)["0003.jpg"]
    marked = budget.apply(photo, Stripes()(photo))
    assert psnr(network(marked), photo) > psnr(marked, photo) + 1.5


@pytest.mark.full
def test_the_command_writes_the_matrix(
    checkpoint: Path, portraits: Path, tiny_encoder_files: list[Path], tmp_path: Path,
    diffusers_checkpoint: Callable[[str], Path],
) -> None:  # fmt: skip
    target = tmp_path / "robustness.json"
    arguments = [
        "robustness", str(checkpoint), "--images", str(portraits), "--pattern", "000[01].jpg",
        "--size", "128", "--encoder", str(tiny_encoder_files[0]),
        "--encoder", str(tiny_encoder_files[1]), "--pgd", "2", "--channel", "jpeg75",
        "--purification", "median", "--vae", str(diffusers_checkpoint("tiny-autoencoder")),
        "--diffusion", str(diffusers_checkpoint("sd")), "--strength", "0.1",
        "--train", str(portraits), "--train-steps", "2", "--work", str(tmp_path / "work"),
        "--combine", "jpeg75+median", "--combine", "messenger+inverse:mine",
        "--json", str(target), "--quiet",
    ]  # fmt: skip
    done = CliRunner().invoke(group, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    found = json.loads(target.read_text())
    assert found["what"] == "robustness"
    assert list(found["protections"]) == ["random", "pgd-2", "mine"]
    assert found["protections"]["pgd-2"]["trained_on"] == ["member-0"]
    assert found["protections"]["mine"]["trained_on"] == ["tiny"]
    assert (
        found["protections"]["mine"]["weights"]
        == weights_digest(load_checkpoint(checkpoint)[0])[:16]
    )
    assert list(found["steps"]) == [
        "identity", "jpeg75", "median", "vae:tiny-autoencoder", "img2img0.1", "inverse:mine",
        "jpeg75+median", "messenger+inverse:mine",
    ]  # fmt: skip
    assert found["steps"]["jpeg75+median"]["kind"] == "combined"
    cells = found["matrix"]["cells"]["mine"]["member-1"]
    assert cells["identity"]["kept"] == 100
    assert cells["jpeg75"]["low"] <= cells["jpeg75"]["kept"] <= cells["jpeg75"]["high"]
    assert "jpeg75+median" in done.output
    assert str(tmp_path) not in json.dumps({k: v for k, v in found.items() if k != "made"})


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--pattern", "zz*"], "no portrait matches"),
        (["--size", "100"], "cannot work at 100 pixels"),
        (["--channel", "jpeg7"], "no channel is called 'jpeg7'"),
        (["--combine", "jpeg75+inverse:rid-n"], "no step is called 'inverse:rid-n'"),
        (["--device", "cuda"], "no GPU is to be seen"),
    ],
)
def test_bad_input_is_one_line(
    extra: list[str], message: str, checkpoint: Path, portraits: Path, tiny_encoder_file: Path
) -> None:
    if extra == ["--device", "cuda"] and torch.cuda.is_available():
        pytest.skip("there is one")
    arguments = ["robustness", str(checkpoint), "--images", str(portraits), "--size", "64",
                 "--quiet", "--encoder", str(tiny_encoder_file), *extra]  # fmt: skip
    done = CliRunner().invoke(group, arguments)
    assert isinstance(done.exception, RidError)
    assert message in str(done.exception)
