"""The defenders: what they cost, what they may contain, how far they see, where they start."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from rid_core.defenders import (
    Defender,
    configure,
    create_defender,
    get_preset,
    list_defenders,
)
from rid_core.defenders.dit import DiTConfig, sincos_positions
from rid_core.defenders.mobile import MobileConfig, ShuffleUp
from rid_core.errors import RidError

MOBILE = ("rid-n", "rid-s", "rid-b")
SMALL_DIT = {"image_size": 32, "patch": 8, "width": 32, "depth": 2, "heads": 4}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small only wait for each other on more threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small(name: str) -> Defender:
    """The preset, cut down where the full size would take long."""
    return create_defender(name, **(SMALL_DIT if name == "rid-dit" else {}))


@torch.no_grad()
def shake(defender: Defender, seed: int = 0) -> Defender:
    """Give every weight a value, so that nothing is zero by its start."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in defender.parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 100
        parameter.copy_(torch.randn(parameter.shape, generator=generator) / fan_in**0.5)
    return defender.eval()


def portrait(height: int = 32, width: int = 32, batch: int = 1, seed: int = 0) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


# The registry.


def test_names():
    assert list_defenders() == ["rid-b", "rid-dit", "rid-n", "rid-s"]
    for name in list_defenders():
        assert get_preset(name).name == name
        assert get_preset(name).summary


def test_unknown_name_is_told_the_nearest():
    with pytest.raises(RidError, match=r"'rid-ss'; did you mean rid-s\?"):
        create_defender("rid-ss")
    with pytest.raises(RidError, match="known: rid-b, rid-dit, rid-n, rid-s"):
        create_defender("photoguard")


def test_unknown_setting_is_told_the_known():
    with pytest.raises(RidError, match=r"rid-n has no setting 'depth'; it has width, "):
        create_defender("rid-n", depth=2)
    with pytest.raises(RidError, match="no setting 'name'"):
        create_defender("rid-n", name="rid-s")


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("rid-n", {"width": 0}, "width must be a whole number from 1 "),
        ("rid-n", {"width": -8}, "width must be"),
        ("rid-n", {"width": 8.0}, "width must be"),
        ("rid-n", {"width": "8"}, "width must be"),
        ("rid-n", {"width": True}, "width must be"),
        ("rid-n", {"width": None}, "width must be"),
        ("rid-n", {"inner_blocks": -1}, "inner_blocks must be a whole number from 0 "),
        ("rid-n", {"inner_blocks": 10**9}, "inner_blocks must be"),
        ("rid-n", {"kernel": 4}, "must be odd"),
        ("rid-dit", {"depth": 0}, "depth must be"),
        ("rid-dit", {"depth": [14]}, "depth must be"),
        ("rid-dit", {"heads": 7}, "multiple of 4 and of heads 7"),
        ("rid-dit", {"width": 6, "heads": 2}, "multiple of 4"),
        ("rid-dit", {"image_size": 500}, "no multiple of patch 16"),
        ("rid-dit", {"image_size": 8192, "patch": 1}, "tokens are too many"),
    ],
)
def test_sizes_that_make_no_network_are_refused(name, overrides, message):
    with pytest.raises(RidError, match=message):
        configure(name, **overrides)


# Costs: what the config says against what a counter sees the real network do.


@pytest.mark.parametrize("name", list_defenders())
def test_costs_are_those_of_the_real_network(name):
    config = get_preset(name).config
    with torch.device("meta"):  # the full size, without allocating it
        defender = create_defender(name)
        image = torch.zeros(1, 3, 512, 512)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        out = defender(image)
    assert out.shape == image.shape
    assert config.multiply_adds() == counter.get_total_flops() // 2
    assert config.parameters() == sum(p.numel() for p in defender.parameters())
    assert config.stride == defender.stride
    assert config.fixed_size == defender.fixed_size
    assert defender.config == config


@pytest.mark.parametrize(
    "config",
    [
        MobileConfig(8, 4, 0, 0, 1, 3),
        MobileConfig(12, 5, 2, 3, 3, 7),
        DiTConfig(64, 8, 24, 3, 2, 2),
        DiTConfig(32, 16, 8, 1, 1, 1),
    ],
)
def test_costs_of_other_sizes(config):
    with torch.device("meta"):
        defender = config.build()
        image = torch.zeros(1, 3, 64, 64 if config.fixed_size is None else config.fixed_size)
        image = image[:, :, : image.shape[3]]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        defender(image)
    assert config.multiply_adds(*image.shape[2:]) == counter.get_total_flops() // 2
    assert config.parameters() == sum(p.numel() for p in defender.parameters())


@pytest.mark.parametrize(
    ("name", "giga", "mega"), [("rid-n", 0.3, 2), ("rid-s", 1.2, 2), ("rid-b", 6, 6)]
)
def test_phone_networks_stay_within_their_limits(name, giga, mega):
    config = get_preset(name).config
    assert config.multiply_adds(512, 512) <= giga * 1e9
    assert config.parameters() <= mega * 1e6


def test_the_papers_network_has_the_papers_size():
    config = get_preset("rid-dit").config
    assert config.parameters() == pytest.approx(225e6, rel=0.002)
    assert config.multiply_adds() == pytest.approx(264e9, rel=0.002)
    with pytest.raises(RidError, match="512 x 512 only"):
        config.multiply_adds(256, 256)


# What goes in and comes out.


@pytest.mark.parametrize("name", list_defenders())
def test_starts_from_no_perturbation(name):
    image = portrait(batch=2)
    unit = small(name)(image)
    assert unit.shape == image.shape
    assert unit.dtype == torch.float32
    assert not unit.any()


@pytest.mark.parametrize("name", list_defenders())
def test_output_is_a_unit_perturbation_even_with_wild_weights(name):
    defender = shake(small(name))
    with torch.no_grad():
        for parameter in defender.parameters():
            parameter.mul_(3)
        unit = defender(portrait(batch=2))
    assert unit.isfinite().all()
    assert unit.abs().max() <= 1
    assert unit.abs().max() > 0.9
    assert unit.std() > 0.1


@pytest.mark.parametrize("name", list_defenders())
def test_images_of_a_batch_do_not_touch(name):
    defender = shake(small(name))
    image = portrait(batch=3)
    with torch.no_grad():
        together = defender(image)
        alone = torch.cat([defender(one[None]) for one in image])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    assert (together[0] - together[1]).abs().max() > 0.01


@pytest.mark.parametrize("name", MOBILE)
@pytest.mark.parametrize("size", [(16, 16), (16, 144), (80, 48)])
def test_any_multiple_of_the_stride_will_do(name, size):
    image = portrait(*size)
    defender = shake(create_defender(name))
    defender.check_input(image)
    with torch.no_grad():
        assert defender(image).shape == image.shape


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((1, 3, 64, 60), torch.float32, "multiples of 16, not 64 x 60"),
        ((1, 3, 0, 64), torch.float32, "multiples of 16"),
        ((3, 64, 64), torch.float32, r"\[3, 64, 64\]"),
        ((1, 4, 64, 64), torch.float32, r"\[1, 4, 64, 64\]"),
        ((1, 64, 64, 3), torch.float32, r"\[1, 64, 64, 3\]"),
        ((1, 3, 64, 64), torch.uint8, "torch.uint8"),
    ],
)
def test_input_that_is_no_image_is_refused(shape, dtype, message):
    with pytest.raises(RidError, match=message):
        create_defender("rid-n").check_input(torch.zeros(shape, dtype=dtype))


def test_the_transformer_takes_one_size_only():
    defender = small("rid-dit")
    defender.check_input(portrait())
    with pytest.raises(RidError, match="works at 32 x 32 only, not 32 x 48"):
        defender.check_input(portrait(32, 48))


@pytest.mark.parametrize("name", list_defenders())
def test_the_same_seed_makes_the_same_network(name):
    states = []
    for seed in (7, 7, 8):
        torch.manual_seed(seed)
        states.append(small(name).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not all(torch.equal(states[0][key], states[2][key]) for key in states[0])


@pytest.mark.parametrize("name", MOBILE)
def test_every_parameter_learns_once_the_head_does(name):
    torch.manual_seed(0)
    defender = create_defender(name)
    image = portrait(batch=2)
    target = torch.sign(image - 0.5)
    optimiser = torch.optim.SGD(defender.parameters(), lr=0.1)
    for step in range(2):
        optimiser.zero_grad()
        (defender(image) - target).square().mean().backward()
        moving = {n for n, p in defender.named_parameters() if p.grad is not None and p.grad.any()}
        if step == 0:
            assert {"to_image.conv.weight", "to_image.conv.bias"} == moving
        optimiser.step()
    assert moving == {n for n, _ in defender.named_parameters()}


def test_every_parameter_of_the_transformer_is_used():
    defender = shake(small("rid-dit"))
    defender(portrait()).square().sum().backward()
    for name, parameter in defender.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 1e-6, name


# Context: an 8-pixel grid that repeats everywhere is what a network makes that sees too little.


def reach(defender: Defender, size: int, axis: int) -> int:
    """Widest stretch of input, along ``axis``, that any one output pixel depends on."""
    stride = defender.stride
    height, width = (size, 2 * stride) if axis == 0 else (2 * stride, size)
    image = torch.full((1, 3, height, width), 0.5, dtype=torch.float64, requires_grad=True)
    unit = defender(image)
    widest = 0
    for phase in range(stride):
        along = size // 2 // stride * stride + phase
        pixel = unit[0, 0, along, 0] if axis == 0 else unit[0, 0, 0, along]
        (gradient,) = torch.autograd.grad(pixel, image, retain_graph=True)
        touched = gradient[0].abs().sum(dim=(0, 2 - axis)).nonzero().flatten()
        assert touched[0] > 0  # the image is larger than what is seen of it
        assert touched[-1] < size - 1
        widest = max(widest, int(touched[-1] - touched[0]) + 1)
    return widest


@torch.no_grad()
def make_positive(defender: Defender) -> Defender:
    """Averages everywhere: no ReLU is shut and nothing cancels, so gradients show all paths."""
    defender = defender.double()
    for name, parameter in defender.named_parameters():
        parameter.fill_(1 / parameter[0].numel() if parameter.ndim > 1 else 0)
        if name.startswith("to_image"):
            parameter.mul_(1e-3)  # away from where tanh is flat
    return defender


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", MOBILE)
def test_context_is_wide_and_what_the_config_says(name, axis):
    preset: MobileConfig = get_preset(name).config
    config = dataclasses.replace(preset, width=4, detail_width=3)  # width changes no reach
    assert config.context == preset.context
    measured = reach(make_positive(config.build()), 2 * config.context + 64, axis)
    assert measured == config.context
    assert measured >= 200


@pytest.mark.parametrize(
    "config", [MobileConfig(4, 3, 0, 1, 2, 3), MobileConfig(4, 3, 2, 0, 2, 5)], ids=str
)
def test_context_of_other_sizes(config):
    assert reach(make_positive(config.build()), 2 * config.context + 64, 1) == config.context


def test_the_transformer_sees_the_whole_image():
    defender = shake(small("rid-dit"))
    image = portrait().requires_grad_()
    defender(image)[0, 0, 0, 0].backward()
    assert image.grad is not None
    assert image.grad.ne(0).float().mean() > 0.99


# Layouts and operators.


@pytest.mark.parametrize("name", MOBILE)
def test_lowering_changes_no_value_and_can_be_undone(name):
    defender = shake(create_defender(name))
    image = portrait(32, 48)
    before = {key: value.clone() for key, value in defender.state_dict().items()}
    with torch.no_grad():
        reference = defender(image)
        defender.lower("nchw")
        assert defender.layout == "nchw"
        lowered = defender(image)
        torch.testing.assert_close(lowered, reference, atol=1e-5, rtol=0)
        changed = [k for k, v in defender.state_dict().items() if not torch.equal(v, before[k])]
        assert set(changed) == {
            f"{module}.conv.{kind}"
            for module in ("up", "leave", "to_image")
            for kind in ("weight", "bias")
        }
        defender.lower("nchw")  # a second time does nothing
        assert torch.equal(defender(image), lowered)
        defender.lower("nhwc")
    assert defender.layout == "nhwc"
    after = defender.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before)


def test_the_shuffle_is_a_depth_to_space():
    """Against a plain loop: channel (row, column, colour) of a cell becomes a pixel."""
    up = ShuffleUp(4, 3, 2)
    x = torch.arange(2 * 12 * 3 * 5, dtype=torch.float32).reshape(2, 12, 3, 5)
    expected = torch.zeros(2, 3, 6, 10)
    for row in range(2):
        for column in range(2):
            for colour in range(3):
                channel = (row * 2 + column) * 3 + colour
                expected[:, colour, row::2, column::2] = x[:, channel]
    assert torch.equal(up.shuffle(x), expected)


@pytest.mark.parametrize("name", list_defenders())
def test_unknown_layout_is_refused(name):
    defender = small(name)
    with pytest.raises(RidError, match="nhwc, nchw, not 'NCHW'"):
        defender.lower("NCHW")
    assert defender.layout == "nhwc"


_OPERATORS = {
    "nchw": {"conv2d", "relu", "tanh", "add", "pixel_shuffle"},
    "nhwc": {"conv2d", "relu", "tanh", "add", "permute", "reshape", "transpose"},
}


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("name", MOBILE)
def test_phone_networks_use_only_what_every_runtime_has(name, layout):
    defender = shake(create_defender(name))
    defender.lower(layout)
    defender.fold()
    program = torch.export.export(defender, (portrait(),))
    calls = [node for node in program.graph.nodes if node.op == "call_function"]
    # Slices cut constants to the size of the image: converters do that themselves.
    cuts = [call for call in calls if "narrow" in call.target.__name__]
    sources = {cut.args[0] for cut in cuts} - set(cuts)
    assert {source.name for source in sources} == {
        f"b_{places}_{codes}"
        for places in ("fine_places", "places")
        for codes in ("rows", "columns")
    }
    calls = [call for call in calls if call not in cuts]
    assert {call.target.__name__.partition(".")[0] for call in calls} == _OPERATORS[layout]
    # GPU delegates refuse transposes of more than four axes.
    assert max(call.meta["val"].ndim for call in calls) <= 4
    assert sum("transpose" in call.target.__name__ for call in calls) == 3 * (layout == "nhwc")


@pytest.mark.parametrize("name", MOBILE)
def test_phone_networks_have_no_normalisation_to_fold(name):
    kinds = {type(m) for m in create_defender(name).modules() if not list(m.children())}
    assert kinds <= {nn.Conv2d, nn.Identity, nn.Sequential}


def test_positions_are_sines_and_cosines_of_column_and_row():
    width, side = 16, 3
    positions = sincos_positions(width, side).double()
    for token in range(side**2):
        row, column = divmod(token, side)
        frequencies = [10000 ** (-i / 4) for i in range(4)]
        expected = torch.tensor(
            [f for at in (column, row) for f in (*(at * w for w in frequencies),) * 2],
            dtype=torch.float64,
        )
        is_sine = torch.tensor([True] * 4 + [False] * 4).repeat(2)
        expected = torch.where(is_sine, expected.sin(), expected.cos())
        torch.testing.assert_close(positions[token], expected, atol=1e-6, rtol=0)


def test_folding_changes_no_value_and_leaves_no_operation_on_constants() -> None:
    defender = shake(create_defender("rid-n")).eval()
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        reference = defender(image)
        convolutions = sum(isinstance(m, nn.Conv2d) for m in defender.modules())
        defender.fold()
        torch.testing.assert_close(defender(image), reference, atol=1e-5, rtol=0)
    assert sum(isinstance(m, nn.Conv2d) for m in defender.modules()) == convolutions - 4


@pytest.mark.parametrize("name", MOBILE)
def test_on_a_flat_wall_no_two_cells_need_be_alike(name: str) -> None:
    defender = shake(create_defender(name))
    wall = torch.full((1, 3, 512, 512), 0.8)

    def spread() -> float:
        inner = defender(wall)[:, :, 192:320, 192:320]  # borders differ from each other anyway
        cells = inner.reshape(3, 8, 16, 8, 16).permute(1, 3, 0, 2, 4).flatten(0, 1)
        return (cells.std(dim=0).max() / cells.abs().max()).item()

    with torch.no_grad():
        assert spread() > 1e-2
        for places in (defender.places, defender.fine_places):
            nn.init.zeros_(places.of_row.weight)
            nn.init.zeros_(places.of_column.weight)
        assert spread() < 1e-5


def test_places_are_fixed_in_use_and_drawn_anew_in_training() -> None:
    defender = shake(create_defender("rid-n")).eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(defender(image), defender(image))
        defender.train()
        assert not torch.equal(defender(image), defender(image))
        torch.manual_seed(1)
        first = defender(image)
        torch.manual_seed(1)
        assert torch.equal(defender(image), first)


@pytest.mark.parametrize("side", [256, 512, 640])
def test_codes_are_cut_only_where_there_are_more_than_cells(side: int) -> None:
    """Half of the codes at 1/4, all of them, and more: converters fail on a slice of everything."""
    defender = create_defender("rid-n", width=8, detail_width=4).eval()
    program = torch.export.export(defender, (torch.rand(1, 3, side, side),))
    program = program.run_decompositions()
    names = [str(node.target) for node in program.graph.nodes]
    assert not any("alias" in name for name in names)
    slices = [n for n in program.graph.nodes if "slice" in str(n.target)]
    assert all(n.meta["val"].shape != n.args[0].meta["val"].shape for n in slices)


def test_an_image_with_more_cells_than_codes_works() -> None:
    defender = create_defender("rid-n", width=8, detail_width=4).eval()
    with torch.no_grad():
        assert defender(torch.rand(1, 3, 16, 130 * 16)).shape == (1, 3, 16, 130 * 16)
