"""Import of the RID authors' checkpoints, ``ASDS-eps-{6,8,12}_255.bin``, without running them.

They are state dicts of a class-conditional DiT (Peebles and Xie, arXiv 2212.09748) trained with a
condition of zero (arXiv 2412.09844). A modulation layer is SiLU, then linear: of zero, its bias.
So a block computes, with six constants of its own,

    x = x + gate_a * attention(norm(x) * (1 + scale_a) + shift_a)
    x = x + gate_m * mlp(norm(x) * (1 + scale_m) + shift_m)

and the final layer ``linear(norm(x) * (1 + scale) + shift)``. All of it folds into the linear
layers around (see :mod:`rid_core.defenders.dit`), in float64 here, and a third of the file is
dropped: the embeddings of time and class, and the weights of the modulation layers.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import math
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rid_core.budget import Budget
from rid_core.checkpoint import ModelCard
from rid_core.defenders import get_preset
from rid_core.defenders.dit import DiTConfig, DiTDefender, sincos_positions
from rid_core.errors import RidError

PRESET = "rid-dit"
SURROGATES = (
    "stabilityai/stable-diffusion-2-1-base",
    "runwayml/stable-diffusion-v1-5",
    "CompVis/stable-diffusion-v1-4",
)
_FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
_DEAD = re.compile(r"t_embedder\.mlp\.[02]\.(weight|bias)|y_embedder\.embedding_table\.weight")
"""Parameters that a condition of zero never reaches."""

_POSITION_TOLERANCE = 1e-5


def import_official(
    path: str | Path, signed_eps: float | None = None, heads: int = 8
) -> tuple[DiTDefender, ModelCard]:
    """Read one of the authors' checkpoints as a folded defender.

    Args:
        path: the ``.bin`` file. Only tensors are read; a pickle that asks for anything else is
            refused and nothing in it runs.
        signed_eps: bound on an image in [-1, 1], as the paper writes it; None takes it from the
            file's name (``ASDS-eps-12_255.bin``: 12/255, which is 6 levels).
        heads: attention heads, the one size that the weights do not show; the paper's are 8.

    Returns:
        The defender (evaluation mode, float32, CPU) and its model card.

    Raises:
        RidError: anything but such a checkpoint, or an eps that is unknown or no whole number of
            8-bit levels.
    """
    path = Path(path)
    state = _strip_prefix(_read_state(path), path)
    budget = Budget.from_signed_eps(_eps_of(path) if signed_eps is None else signed_eps)
    try:
        config = _infer_config(state, heads)
        _check_names_and_shapes(state, config)
        _check_positions(state, config)
        with torch.device("meta"):
            defender = config.build()
        defender.load_state_dict(_fold(state, config), assign=True)
    except RidError as error:
        raise RidError(f"{path}: {error}") from None
    side = config.image_size // config.patch
    defender.positions = sincos_positions(config.width, side)[None]
    return defender.eval().requires_grad_(False), _describe(path, config, budget)


def _eps_of(path: Path) -> float:
    """The eps on [-1, 1] that a checkpoint's name states."""
    match = re.search(r"ASDS-eps-(\d{1,3})_255", path.name)
    if match is None:
        raise RidError(
            f"{path}: its bound is not in its name (ASDS-eps-12_255.bin says 12/255); state it as "
            "--signed-eps 12/255, on an image in [-1, 1]"
        )
    return int(match[1]) / 255


def _read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict; tensors of a zip file stay on disk until they are touched."""
    try:
        stored = _sniff(path)
        size = path.stat().st_size
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a damaged file one line is said, below
            state: object = torch.load(
                path, map_location="cpu", weights_only=True, mmap=stored is not None
            )
    except OSError as error:
        raise RidError(f"{path}: cannot be read ({error.strerror or error})") from None
    except RidError:
        raise
    except Exception as error:  # noqa: BLE001 - a hostile or damaged pickle can fail in any way
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        if asked:
            raise RidError(
                f"{path}: refused, it asks for {asked[1]}, which is code and no weight; nothing in "
                "it was run"
            ) from None
        raise RidError(
            f"{path}: a damaged checkpoint, or none of PyTorch; fetch it again"
        ) from None
    if not isinstance(state, dict):
        raise RidError(f"{path}: holds a {type(state).__name__}, not a state dict")
    total = 0
    storages: dict[int, int] = {}
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise RidError(
                f"{path}: {name!r:.40} holds a {type(value).__name__}; a plain state dict holds "
                "tensors only"
            )
        if value.layout != torch.strided or value.dtype not in _FLOATS or value.is_meta:
            raise RidError(f"{path}: {name} is no dense tensor of floats but {value.dtype}")
        total += value.numel() * value.element_size()
        storage = value.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
    if total > size:
        # A tensor with strides of zero describes as much as it likes in a few bytes.
        raise RidError(f"{path}: describes {total} bytes of weights in a file of {size}")
    if stored is not None and sum(storages.values()) != stored:
        # Mapped into memory, a record that is too short continues in the next one.
        raise RidError(f"{path}: a damaged checkpoint; fetch it again")
    return state


def _sniff(path: Path) -> int | None:
    """Bytes of weights in a zip file, None for a bare pickle; everything else is refused."""
    with path.open("rb") as handle:
        head = handle.read(16)
    if not head:
        raise RidError(f"{path}: is empty; fetch it again")
    if head.lstrip().startswith(b"<"):
        raise RidError(f"{path}: is a web page, not the file behind it; download it in a browser")
    if head[8:9] == b"{":
        raise RidError(f"{path}: is a safetensors file; the authors' checkpoints are torch files")
    if head.startswith(b"PK"):
        if not zipfile.is_zipfile(path):
            raise RidError(f"{path}: is truncated; fetch it again")
        try:
            with zipfile.ZipFile(path) as archive:
                entries = archive.infolist()
        except zipfile.BadZipFile:
            raise RidError(f"{path}: is a damaged zip file; fetch it again") from None
        names = [entry.filename for entry in entries]
        if any("/code/" in name or name.endswith("/constants.pkl") for name in names):
            raise RidError(f"{path}: refused, it is a TorchScript program and not weights alone")
        if not any(name.endswith("/data.pkl") for name in names):
            raise RidError(f"{path}: is a zip file, but no PyTorch checkpoint")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise RidError(f"{path}: is a compressed zip file, which PyTorch never writes")
        return sum(e.file_size for e in entries if re.search(r"/data/\d+$", e.filename))
    if not head.startswith(b"\x80"):
        raise RidError(f"{path}: is no PyTorch checkpoint")
    return None


def _strip_prefix(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Drop what a wrapper put before every name (``module.``); the positions show what."""
    found = [name for name in state if name.endswith("pos_embed")]
    if len(found) != 1:
        raise RidError(f"{path}: no checkpoint of the RID paper: pos_embed is missing")
    prefix = found[0].removesuffix("pos_embed")
    for name in state:
        if not name.startswith(prefix):
            raise RidError(f"{path}: no checkpoint of the RID paper: {name:.60} is unknown")
    return {name.removeprefix(prefix): tensor for name, tensor in state.items()}


def _infer_config(state: dict[str, Tensor], heads: int) -> DiTConfig:
    """Read every size but the number of heads off the shapes."""

    def shape(name: str, rank: int) -> list[int]:
        if name not in state:
            raise RidError(f"no checkpoint of the RID paper: {name} is missing")
        if state[name].ndim != rank:
            raise RidError(f"{name} has shape {list(state[name].shape)}, not {rank} dimensions")
        return list(state[name].shape)

    width, channels, patch, _ = shape("x_embedder.proj.weight", 4)
    if channels != 3:
        raise RidError(
            f"takes {channels} channels, not RGB: a DiT for latents, no checkpoint of the RID paper"
        )
    _, tokens, _ = shape("pos_embed", 3)
    hidden, _ = shape("blocks.0.mlp.fc1.weight", 2)
    side = math.isqrt(tokens)
    if side**2 != tokens or width < 1 or hidden % width:
        raise RidError(f"{tokens} tokens of width {width} and {hidden} hidden values do not fit")
    blocks = {match[1] for name in state if (match := re.match(r"blocks\.(\d+)\.", name))}
    return DiTConfig(
        image_size=side * patch,
        patch=patch,
        width=width,
        depth=len(blocks),
        heads=heads,
        mlp_ratio=hidden // width,
    )


def _check_names_and_shapes(state: dict[str, Tensor], config: DiTConfig) -> None:
    """Hold every name and shape against the authors' network."""
    width, hidden = config.width, config.mlp_ratio * config.width
    expected: dict[str, tuple[int, ...]] = {"pos_embed": (1, config.tokens, width)}

    def layer(name: str, outputs: int, *inputs: int) -> None:
        expected[f"{name}.weight"] = (outputs, *inputs)
        expected[f"{name}.bias"] = (outputs,)

    layer("x_embedder.proj", width, 3, config.patch, config.patch)
    for index in range(config.depth):
        block = f"blocks.{index}"
        layer(f"{block}.attn.qkv", 3 * width, width)
        layer(f"{block}.attn.proj", width, width)
        layer(f"{block}.mlp.fc1", hidden, width)
        layer(f"{block}.mlp.fc2", width, hidden)
        layer(f"{block}.adaLN_modulation.1", 6 * width, width)
    layer("final_layer.linear", config.patch_values, width)
    layer("final_layer.adaLN_modulation.1", 2 * width, width)

    for name, shape in expected.items():
        if name not in state:
            raise RidError(f"no checkpoint of the RID paper: {name} is missing")
        if state[name].shape != shape:
            raise RidError(f"{name} has shape {list(state[name].shape)} instead of {list(shape)}")
    for name in state:
        if name not in expected and not _DEAD.fullmatch(name):
            raise RidError(f"no checkpoint of the RID paper: {name:.60} is unknown")


def _check_positions(state: dict[str, Tensor], config: DiTConfig) -> None:
    """Hold the positions of a file against those that our network has built in."""
    positions = sincos_positions(config.width, config.image_size // config.patch)
    distance = (state["pos_embed"][0].double() - positions).abs().max()
    if not distance <= _POSITION_TOLERANCE:  # NaN is refused as well
        raise RidError(
            f"its pos_embed differs by {distance:.2g} from the paper's sine-cosine positions, "
            "which this network has built in"
        )


def _fold(state: dict[str, Tensor], config: DiTConfig) -> dict[str, Tensor]:
    """Fold modulations and gates into the linear layers: names and float32 values of ours."""
    folded: dict[str, Tensor] = {}

    def modulation(name: str, chunks: int) -> tuple[Tensor, ...]:
        return state[f"{name}.adaLN_modulation.1.bias"].double().chunk(chunks)

    def put(
        target: str,
        source: str,
        shift: Tensor | None = None,
        scale: Tensor | None = None,
        gate: Tensor | None = None,
    ) -> None:
        weight, bias = state[f"{source}.weight"].double(), state[f"{source}.bias"].double()
        if shift is not None:
            bias = bias + weight @ shift
        if scale is not None:
            weight = weight * (1 + scale)
        if gate is not None:
            weight, bias = gate[:, None] * weight, gate * bias
        for kind, value in (("weight", weight), ("bias", bias)):
            single = value.float()
            if not bool(single.isfinite().all()):
                raise RidError(f"{source}.{kind} holds NaN or infinity")
            folded[f"{target}.{kind}"] = single

    put("embed", "x_embedder.proj")
    for index in range(config.depth):
        block = f"blocks.{index}"
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = modulation(block, 6)
        put(f"{block}.qkv", f"{block}.attn.qkv", shift=shift_a, scale=scale_a)
        put(f"{block}.proj", f"{block}.attn.proj", gate=gate_a)
        put(f"{block}.fc1", f"{block}.mlp.fc1", shift=shift_m, scale=scale_m)
        put(f"{block}.fc2", f"{block}.mlp.fc2", gate=gate_m)
    shift, scale = modulation("final_layer", 2)
    put("head", "final_layer.linear", shift=shift, scale=scale)
    return folded


def _describe(path: Path, config: DiTConfig, budget: Budget) -> ModelCard:
    """The model card of an imported checkpoint."""
    preset: Any = get_preset(PRESET).config
    sizes = dataclasses.asdict(config)
    with path.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return ModelCard(
        preset=PRESET,
        levels=budget.levels,
        config={k: v for k, v in sizes.items() if v != getattr(preset, k)},
        surrogates=list(SURROGATES),
        data="VGGFace2, by the authors of arXiv 2412.09844",
        command=f"rid-train import-official {path.name}",
        licence="LicenseRef-unknown",
        notes=(
            f"Weights of the RID authors, imported from {path.name} (sha256 {digest}) with their "
            "constant modulation folded in. The licence of those weights is not known: ask the "
            "authors before you distribute them."
        ),
        created=datetime.datetime.now(datetime.UTC).date().isoformat(),
    )
