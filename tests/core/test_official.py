"""Import of the authors' checkpoints, held against the paper's network written out unfolded."""

from __future__ import annotations

import io
import math
import pickle
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from torch import Tensor, nn

from rid_core.checkpoint import load_checkpoint, read_card, weights_digest
from rid_core.cli.common import run
from rid_core.cli.import_official import import_official as command
from rid_core.defenders import get_preset
from rid_core.errors import RidError
from rid_core.official import _check_names_and_shapes, _infer_config, import_official

NAME = "ASDS-eps-12_255.bin"
State = dict[str, Any]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small only wait for each other on more threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class PaperBlock(nn.Module):
    """A DiT block with adaLN-Zero, nothing folded: the condition goes through its layer."""

    def __init__(self, width: int, heads: int, ratio: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.attn = nn.ModuleDict(
            {"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)}
        )
        self.mlp = nn.ModuleDict(
            {"fc1": nn.Linear(width, ratio * width), "fc2": nn.Linear(ratio * width, width)}
        )
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def attention(self, x: Tensor) -> Tensor:
        head = x.shape[-1] // self.heads
        q, k, v = self.attn["qkv"](x).split(x.shape[-1], dim=-1)
        mixed = []
        for start in range(0, x.shape[-1], head):
            part = slice(start, start + head)
            scores = q[..., part] @ k[..., part].mT / math.sqrt(head)
            mixed.append(scores.softmax(dim=-1) @ v[..., part])
        return self.attn["proj"](torch.cat(mixed, dim=-1))

    def perceptron(self, x: Tensor) -> Tensor:
        x = self.mlp["fc1"](x)
        x = 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        return self.mlp["fc2"](x)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        modulation = self.adaLN_modulation(condition)[:, None]
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = modulation.chunk(6, dim=-1)
        x = x + gate_a * self.attention(self.norm(x) * (1 + scale_a) + shift_a)
        return x + gate_m * self.perceptron(self.norm(x) * (1 + scale_m) + shift_m)


class PaperNet(nn.Module):
    """The published network, with the parameter names of the published files."""

    def __init__(
        self, size: int = 32, patch: int = 8, width: int = 32, depth: int = 3, heads: int = 8
    ) -> None:
        super().__init__()
        self.size, self.patch, self.width = size, patch, width
        self.x_embedder = nn.ModuleDict({"proj": nn.Conv2d(3, width, patch, stride=patch)})
        self.t_embedder = nn.ModuleDict(
            {"mlp": nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))}
        )
        self.y_embedder = nn.ModuleDict({"embedding_table": nn.Embedding(11, width)})
        self.pos_embed = nn.Parameter(self.positions(), requires_grad=False)
        self.blocks = nn.ModuleList(PaperBlock(width, heads, 4) for _ in range(depth))
        self.final_layer = nn.ModuleDict(
            {
                "linear": nn.Linear(width, 3 * patch**2),
                "adaLN_modulation": nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width)),
            }
        )
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)

    def positions(self) -> Tensor:
        side, quarter = self.size // self.patch, self.width // 4
        values = torch.zeros(1, side * side, self.width, dtype=torch.float64)
        for row in range(side):
            for column in range(side):
                for half, at in enumerate((column, row)):
                    for i in range(quarter):
                        angle = at / 10000 ** (i / quarter)
                        start = half * 2 * quarter + i
                        values[0, row * side + column, start] = math.sin(angle)
                        values[0, row * side + column, start + quarter] = math.cos(angle)
        return values.float()

    @torch.no_grad()
    def randomise(self, seed: int = 0) -> PaperNet:
        """Weights that keep the scale, and modulations that matter."""
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if name == "pos_embed":
                continue
            spread = 0.3 if parameter.ndim == 1 else 1 / math.sqrt(parameter[0].numel())
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)
        return self.eval()

    def forward(self, image: Tensor) -> Tensor:
        """[B, 3, S, S] in [0, 1] -> unit perturbation."""
        side = self.size // self.patch
        x = self.x_embedder["proj"]((image - 0.5) / 0.5)
        x = torch.stack([x[:, :, i, j] for i in range(side) for j in range(side)], dim=1)
        x = x + self.pos_embed
        condition = torch.zeros(image.shape[0], self.width, dtype=image.dtype)
        for block in self.blocks:
            x = block(x, condition)
        modulation = self.final_layer["adaLN_modulation"](condition)[:, None]
        shift, scale = modulation.chunk(2, dim=-1)
        x = self.final_layer["linear"](self.norm(x) * (1 + scale) + shift)
        x = x.view(-1, side, side, self.patch, self.patch, 3)
        x = torch.einsum("nhwpqc->nchpwq", x).reshape(image.shape)
        return torch.tanh(x)


def save(state: State, path: Path, **options: Any) -> Path:
    torch.save(state, path, **options)
    return path


@pytest.fixture(scope="module")
def net() -> PaperNet:
    return PaperNet().randomise()


@pytest.fixture
def state(net: PaperNet) -> State:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def refused(path: Path, **options: Any) -> str:
    """The one line that importing ``path`` is refused with."""
    with pytest.raises(RidError) as caught:
        import_official(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    return message


# The folded network computes what the paper's does.


def worst(net: PaperNet, path: Path, heads: int = 8) -> float:
    """Largest difference of the imported network, and proof that the comparison could fail."""
    defender, _ = import_official(save(net.state_dict(), path), heads=heads)
    image = torch.rand(2, 3, net.size, net.size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = net(image)
        found = defender(image)
    assert found.dtype == torch.float32
    assert expected.std() > 0.3
    assert (expected.abs() < 0.95).float().mean() > 0.5
    return (found - expected).abs().max().item()


def test_folded_equals_unfolded(net, tmp_path):
    assert worst(net, tmp_path / NAME) < 1e-5


@pytest.mark.parametrize(
    "sizes",
    [
        {"size": 64, "patch": 16, "width": 24, "depth": 1, "heads": 2},
        {"size": 48, "patch": 4, "width": 16, "depth": 11, "heads": 1},
    ],
    ids=str,
)
def test_folded_equals_unfolded_at_other_sizes(sizes, tmp_path):
    assert worst(PaperNet(**sizes).randomise(2), tmp_path / NAME, sizes["heads"]) < 1e-5


def test_folded_equals_unfolded_at_the_papers_width(tmp_path):
    net = PaperNet(size=64, patch=16, width=1152, depth=1, heads=8).randomise(3)
    assert worst(net, tmp_path / NAME) < 1e-5


@pytest.mark.parametrize("chunk", range(6))
def test_every_modulation_of_a_block_is_folded(chunk, net, state, tmp_path):
    """Any one of the six, changed, changes both networks alike."""
    changed = PaperNet().eval()
    bias = state["blocks.1.adaLN_modulation.1.bias"].view(6, -1)
    bias[chunk] += 0.5
    changed.load_state_dict(state)
    image = torch.rand(1, 3, 32, 32)
    defender, _ = import_official(save(state, tmp_path / NAME))
    with torch.no_grad():
        assert (changed(image) - net(image)).abs().max() > 1e-3
        torch.testing.assert_close(defender(image), changed(image), atol=1e-5, rtol=0)


def test_the_condition_never_matters(net, state, tmp_path):
    """What is dropped: embeddings of time and class, and the weights of modulation layers."""
    before, _ = import_official(save(state, tmp_path / NAME))
    dead = [
        n for n in state if n.startswith(("t_", "y_")) or n.endswith("adaLN_modulation.1.weight")
    ]
    assert len(dead) == 5 + 3 + 1
    for name in dead:
        state[name] = torch.full_like(state[name], 7)
    after, _ = import_official(save(state, tmp_path / NAME))
    assert weights_digest(before) == weights_digest(after)
    del state["t_embedder.mlp.2.bias"], state["y_embedder.embedding_table.weight"]
    pruned, _ = import_official(save(state, tmp_path / NAME))
    assert weights_digest(before) == weights_digest(pruned)


# What comes out.


def test_card_and_config(state, tmp_path):
    path = save(state, tmp_path / NAME)
    defender, card = import_official(path)
    assert not defender.training
    assert not any(p.requires_grad for p in defender.parameters())
    assert all(t.device.type == "cpu" for t in (*defender.parameters(), defender.positions))
    assert (card.preset, card.levels) == ("rid-dit", 6)
    assert card.config == {"image_size": 32, "patch": 8, "width": 32, "depth": 3}
    assert len(card.surrogates) == 3
    assert "VGGFace2" in card.data
    assert card.licence == "LicenseRef-unknown"
    assert NAME in card.notes
    assert card.command == f"rid-train import-official {NAME}"
    path.unlink()  # nothing of the result is still on disk
    assert defender(torch.rand(1, 3, 32, 32)).isfinite().all()


def test_the_papers_size_is_the_preset():
    class Shapes(PaperNet):
        def positions(self) -> Tensor:
            return torch.empty(1, 1024, 1152)

    with torch.device("meta"):
        shapes = Shapes(size=512, patch=16, width=1152, depth=14).state_dict()
    config = _infer_config(shapes, heads=8)
    assert config == get_preset("rid-dit").config
    _check_names_and_shapes(shapes, config)
    total = sum(tensor.numel() for tensor in shapes.values())
    assert total == pytest.approx(343e6, rel=0.01)
    assert total - config.parameters() == pytest.approx(117e6, rel=0.02)


@pytest.mark.parametrize(("written", "levels"), [(6, 3), (8, 4), (12, 6)])
def test_bound_from_the_name(state, tmp_path, written, levels):
    path = save(state, tmp_path / f"ASDS-eps-{written}_255.bin")
    assert import_official(path)[1].levels == levels
    copy = save(state, tmp_path / f"ASDS-eps-{written}_255 (1).bin")
    assert import_official(copy)[1].levels == levels


def test_bound_by_hand(state, tmp_path):
    path = save(state, tmp_path / "pytorch_model.bin")
    assert "--signed-eps 12/255" in refused(path)
    assert import_official(path, signed_eps=16 / 255)[1].levels == 8
    assert import_official(save(state, tmp_path / NAME), signed_eps=8 / 255)[1].levels == 4
    assert "5.5 levels" in refused(path, signed_eps=11 / 255)
    assert "levels" in refused(save(state, tmp_path / "ASDS-eps-7_255.bin"))
    assert "levels" in refused(save(state, tmp_path / "ASDS-eps-0_255.bin"))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module.net."])
def test_prefix_of_a_wrapper(state, tmp_path, prefix):
    plain, _ = import_official(save(state, tmp_path / NAME))
    wrapped = {prefix + name: tensor for name, tensor in state.items()}
    defender, _ = import_official(save(wrapped, tmp_path / NAME))
    assert weights_digest(defender) == weights_digest(plain)
    del wrapped[f"{prefix}final_layer.linear.bias"]
    wrapped["final_layer.linear.bias"] = state["final_layer.linear.bias"]
    assert "final_layer.linear.bias is unknown" in refused(save(wrapped, tmp_path / NAME))


def test_old_file_format_and_parameters(state, tmp_path):
    plain, _ = import_official(save(state, tmp_path / NAME))
    path = save(state, tmp_path / NAME, _use_new_zipfile_serialization=False)
    assert not zipfile.is_zipfile(path)
    assert weights_digest(import_official(path)[0]) == weights_digest(plain)
    parameters = {name: nn.Parameter(tensor) for name, tensor in state.items()}
    assert weights_digest(import_official(save(parameters, path))[0]) == weights_digest(plain)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats(state, tmp_path, dtype):
    stored = {n: t if n == "pos_embed" else t.to(dtype) for n, t in state.items()}
    rounded = {n: t.float() for n, t in stored.items()}
    defender, _ = import_official(save(stored, tmp_path / NAME))
    reference, _ = import_official(save(rounded, tmp_path / NAME))
    assert {p.dtype for p in defender.parameters()} == {torch.float32}
    assert weights_digest(defender) == weights_digest(reference)


# Files that are something else.


class Bomb:
    """A pickle that makes a file as soon as it is read by a careless reader."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def through_torch(bomb: Bomb, path: Path) -> None:
    torch.save({"pos_embed": bomb}, path)


def through_old_torch(bomb: Bomb, path: Path) -> None:
    torch.save({"pos_embed": bomb}, path, _use_new_zipfile_serialization=False)


def through_pickle(bomb: Bomb, path: Path) -> None:
    path.write_bytes(pickle.dumps(bomb, protocol=2))


@pytest.mark.parametrize("write", [through_torch, through_old_torch, through_pickle])
def test_a_pickle_that_would_run_code_does_not_run(
    write: Callable[[Bomb, Path], None], state: State, tmp_path: Path
) -> None:
    planted, path = tmp_path / "planted", tmp_path / NAME
    write(Bomb(planted), path)
    message = refused(path)
    assert message.startswith(f"{path}: refused, it asks for ")
    assert message.endswith("nothing in it was run")
    assert not planted.exists()
    # It would have: what a careless reader does makes the file.
    if write is through_pickle:
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert planted.exists()


def test_a_whole_module_is_refused(net, tmp_path):
    torch.save(net, tmp_path / NAME)
    assert "refused, it asks for" in refused(tmp_path / NAME)


def test_torchscript_is_refused(tmp_path):
    torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(tmp_path / NAME)
    assert "TorchScript" in refused(tmp_path / NAME)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello there, no checkpoint at all", "is no PyTorch checkpoint"),
        (b"<!DOCTYPE html><html>Virus scan warning", "is a web page"),
        (b"\n <html>", "is a web page"),
        (b"PK\x03\x04", "is truncated"),
        (b"\x80", "a damaged checkpoint"),
        (b"\x80\x02", "a damaged checkpoint"),
        (b"\x80\x02}q\x00.", "a damaged checkpoint"),
        (b"\x80\x04" + b"(" * 1000, "a damaged checkpoint"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "is no PyTorch checkpoint"),
    ],
)
def test_files_of_other_kinds(content, message, tmp_path):
    path = tmp_path / NAME
    path.write_bytes(content)
    assert refused(path).startswith(f"{path}: {message}")


def test_missing_file_and_folder(tmp_path):
    assert "No such file" in refused(tmp_path / NAME)
    assert "directory" in refused(tmp_path)


def test_safetensors_under_their_name(state, tmp_path):
    save_file(state, tmp_path / NAME)
    assert "is a safetensors file" in refused(tmp_path / NAME)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.99, 0.9999])
def test_truncated_file(state, tmp_path, share, old):
    path = save(state, tmp_path / NAME, _use_new_zipfile_serialization=not old)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert "fetch it again" in refused(path)


def rezip(path: Path, change: Callable[[str, bytes], bytes | None], **options: Any) -> None:
    """Write a zip file anew with some of its entries changed or left out."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in entries.items():
            changed = change(name, content)
            if changed is not None:
                archive.writestr(name, changed)


def test_zip_files_of_other_kinds(state, tmp_path):
    path = save(state, tmp_path / NAME)
    rezip(path, lambda name, data: None if name.endswith("data.pkl") else data)
    assert "is a zip file, but no PyTorch checkpoint" in refused(path)
    rezip(save(state, path), lambda _, data: data, compression=zipfile.ZIP_DEFLATED)
    assert "is a compressed zip file" in refused(path)
    rezip(save(state, path), lambda name, data: None if name.endswith("data/3") else data)
    assert "fetch it again" in refused(path)
    rezip(save(state, path), lambda name, data: data[:-40] if name.endswith("data.pkl") else data)
    assert "fetch it again" in refused(path)
    rezip(save(state, path), lambda name, data: data[:-4] if name.endswith("data/3") else data)
    assert "fetch it again" in refused(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list, not a state dict"),
        (torch.zeros(3), "holds a Tensor, not a state dict"),
        ({"model": {"pos_embed": torch.zeros(3)}}, "'model' holds a dict; a plain state dict"),
        ({"pos_embed": torch.zeros(3), "epoch": 5}, "'epoch' holds a int"),
        ({5: torch.zeros(3)}, "5 holds a Tensor"),
        ({"pos_embed": torch.zeros(3, dtype=torch.int64)}, "no dense tensor of floats"),
        ({"pos_embed": torch.eye(3).to_sparse()}, "no dense tensor of floats"),
        ({"pos_embed": torch.zeros(3, device="meta")}, "no dense tensor of floats"),
        ({"pos_embed": torch.zeros(1).expand(10**6, 10**6)}, "describes 4000000000000 bytes"),
        ({}, "pos_embed is missing"),
        ({"weight": torch.zeros(3)}, "pos_embed is missing"),
        ({"pos_embed": torch.zeros(1, 4, 8)}, "x_embedder.proj.weight is missing"),
        ({"pos_embed": torch.zeros(3), "b.pos_embed": torch.zeros(3)}, "pos_embed is missing"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_checkpoints_of_other_kinds(content, message, tmp_path):
    torch.save(content, tmp_path / NAME)
    assert message in refused(tmp_path / NAME)


@pytest.mark.parametrize(
    "name",
    [
        "x_embedder.proj.bias",
        "blocks.0.mlp.fc1.weight",
        "blocks.1.attn.qkv.bias",
        "blocks.2.adaLN_modulation.1.bias",
        "final_layer.linear.weight",
        "final_layer.adaLN_modulation.1.bias",
    ],
)
def test_missing_and_misshapen_weights_are_named(state, tmp_path, name):
    tensor = state.pop(name)
    assert f"{name} is missing" in refused(save(state, tmp_path / NAME))
    state[name] = tensor[..., :-1]
    message = refused(save(state, tmp_path / NAME))
    assert name in message or "do not fit" in message
    state[name] = tensor.clone()
    state[name].view(-1)[3] = float("nan")
    assert f"{name.replace('adaLN_modulation.1.bias', '')}" in refused(save(state, tmp_path / NAME))


@pytest.mark.parametrize(
    "name",
    [
        "extra",
        "blocks.0.attn.q_norm.weight",
        "t_embedder.mlp.4.weight",
        "y_embedder.other",
        "x" * 999,
    ],
)
def test_unknown_weights_are_named(state, tmp_path, name):
    state[name] = torch.zeros(1)
    assert f"{name[:60]} is unknown" in refused(save(state, tmp_path / NAME))


def test_a_block_missing_in_the_middle(state, tmp_path):
    fewer = {name: tensor for name, tensor in state.items() if not name.startswith("blocks.1.")}
    assert "blocks.1.attn.qkv.weight is missing" in refused(save(fewer, tmp_path / NAME))


def test_a_dit_for_latents_is_refused(state, tmp_path):
    state["x_embedder.proj.weight"] = torch.zeros(32, 4, 2, 2)
    assert "takes 4 channels, not RGB" in refused(save(state, tmp_path / NAME))


def test_other_positions_are_refused(state, tmp_path):
    near = state | {"pos_embed": state["pos_embed"] + 5e-6}
    import_official(save(near, tmp_path / NAME))
    for change in (2e-5, float("nan")):
        other = state | {"pos_embed": state["pos_embed"].clone()}
        other["pos_embed"][0, 3, 7] += change
        assert "sine-cosine positions" in refused(save(other, tmp_path / NAME))
    side = 4
    turned = state["pos_embed"].view(side, side, -1).transpose(0, 1).reshape(1, side**2, -1)
    assert "sine-cosine" in refused(save(state | {"pos_embed": turned}, tmp_path / NAME))
    state["pos_embed"] = state["pos_embed"][:, :15]
    assert "15 tokens" in refused(save(state, tmp_path / NAME))


def test_weights_that_leave_the_range_of_float32(state, tmp_path):
    state["final_layer.linear.weight"] = state["final_layer.linear.weight"].double() * 1e300
    assert "final_layer.linear.weight holds NaN or infinity" in refused(
        save(state, tmp_path / NAME)
    )


def test_heads_that_do_not_fit(state, tmp_path):
    path = save(state, tmp_path / NAME)
    assert "heads 5" in refused(path, heads=5)
    assert "heads must be a whole number" in refused(path, heads=0)


# The command.


def test_command(state, tmp_path):
    path, output = save(state, tmp_path / NAME), tmp_path / "out" / "rid-dit.safetensors"
    result = CliRunner().invoke(command, [str(path), "-o", str(output)])
    assert result.exit_code == 0, result.output
    assert "6 levels" in result.output
    assert "licence of the weights unknown" in result.output
    loaded, card = load_checkpoint(output)
    imported, expected = import_official(path)
    assert card == expected
    assert weights_digest(loaded) == weights_digest(imported)


@pytest.mark.parametrize(
    ("text", "levels"), [("12/255", 6), ("16/255", 8), ("0.0313725490196", 4), ("2/255", 1)]
)
def test_command_takes_a_fraction(state, tmp_path, text, levels):
    path, output = save(state, tmp_path / "a.bin"), tmp_path / "b.safetensors"
    CliRunner().invoke(
        command, [str(path), "-o", str(output), "--signed-eps", text], catch_exceptions=False
    )
    assert read_card(output).levels == levels


@pytest.mark.parametrize("text", ["twelve", "1/0", "", "12/", "nan"])
def test_command_refuses_what_is_no_fraction(tmp_path, text):
    result = CliRunner().invoke(command, ["a.bin", "-o", "b", "--signed-eps", text])
    assert result.exit_code == 2
    assert "is no bound such as 12/255" in result.output


def test_command_that_fails_says_one_line_and_leaves_the_old_file(tmp_path, monkeypatch, capsys):
    (tmp_path / "b.safetensors").write_bytes(b"old")
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(1)}, buffer)
    (tmp_path / NAME).write_bytes(buffer.getvalue())
    monkeypatch.setattr(
        sys, "argv", ["x", str(tmp_path / NAME), "-o", str(tmp_path / "b.safetensors")]
    )
    with pytest.raises(SystemExit) as stop:
        run(command)
    assert stop.value.code == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert (tmp_path / "b.safetensors").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2
