"""The float32 reference: what the network itself says, made once where the GPU is."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rid_bench.artefacts import Artefact
from rid_bench.photos import digest
from rid_core.errors import RidError
from rid_core.fidelity import ErrorStatistics
from rid_core.files import replacing
from rid_export.parity import compare_worst

if TYPE_CHECKING:
    import torch

    from rid_core.defenders import Defender

SCHEMA = 1
_KEY = "rid-bench"


@dataclass(frozen=True, eq=False)
class Reference:
    """Photos and their unit perturbations.

    Attributes:
        preset: name of the defender.
        levels: its bound in 8-bit levels.
        weights: SHA-256 of its weights, as artefacts state it.
        inputs: SHA-256 of the photos.
        device: what computed it, with versions.
        resolution: height and width in pixels.
        names: of the photos.
        images: uint8 RGB [H, W, 3].
        deltas: float32 [H, W, 3] in [-1, 1].
        floor: how far apart two honest computations of the same network are: statistics by name
            (``float64``, and ``cpu`` where another device made the reference), each the worst over
            the photos. An artefact cannot be told to be closer than that.
    """

    preset: str
    levels: int
    weights: str
    inputs: str
    device: str
    resolution: int
    names: tuple[str, ...]
    images: tuple[np.ndarray, ...]
    deltas: tuple[np.ndarray, ...]
    floor: dict[str, ErrorStatistics] = field(default_factory=dict)


def make(
    checkpoint: str | Path,
    names: Sequence[str],
    images: Sequence[np.ndarray],
    *,
    device: str = "cpu",
    floor: bool = True,
) -> Reference:
    """Run the network in float32 on ``device``, and measure the noise floor.

    Args:
        checkpoint: a file or a bundled preset.
        names: of the photos.
        images: uint8 RGB [S, S, 3], all of one size.
        device: ``cpu`` or ``cuda``.
        floor: whether to compare with float64, and with the CPU where ``device`` is another.

    Raises:
        RidError: no such device or checkpoint, an untrained network, or unfit photos.
    """
    import torch

    from rid_core.checkpoint import find_checkpoint, load_checkpoint, weights_digest

    if device.split(":")[0] not in ("cpu", "cuda"):
        raise RidError(f"--device is cpu or cuda, not {device!r}")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise RidError("no CUDA device here; use --device cpu, or run this where the GPU is")
    defender, card = load_checkpoint(find_checkpoint(checkpoint))
    weights = weights_digest(defender)
    with exact_float32():
        deltas = run(defender, images, device, torch.float32)
        levels = float(np.abs(np.stack(deltas)).max()) * card.levels
        if not np.isfinite(levels) or levels < 0.5:
            raise RidError("the checkpoint is untrained: its perturbation changes no pixel")
        others: dict[str, list[np.ndarray]] = {}
        if floor:
            others["float64"] = run(defender, images, device, torch.float64)
            if not device.startswith("cpu"):
                others["cpu"] = run(defender, images, "cpu", torch.float32)
    return Reference(
        preset=card.preset,
        levels=card.levels,
        weights=weights,
        inputs=digest(images),
        device=_describe(device),
        resolution=images[0].shape[0],
        names=tuple(names),
        images=tuple(images),
        deltas=tuple(deltas),
        floor={
            name: compare_worst(deltas, other, 1 / card.levels) for name, other in others.items()
        },
    )


def run(
    defender: Defender, images: Sequence[np.ndarray], device: str, dtype: torch.dtype
) -> list[np.ndarray]:
    """Unit perturbations of ``images``, float32 [H, W, 3], computed in ``dtype`` on ``device``."""
    import copy

    import torch

    network = copy.deepcopy(defender).to(device=device, dtype=dtype).eval()
    deltas = []
    with torch.inference_mode():
        for image in images:
            batch = torch.from_numpy(image.astype(np.float32) / np.float32(255))
            batch = batch.to(device=device, dtype=dtype).permute(2, 0, 1)[None]
            network.check_input(batch)
            deltas.append(network(batch)[0].permute(1, 2, 0).float().cpu().contiguous().numpy())
    return deltas


@contextlib.contextmanager
def exact_float32() -> Iterator[None]:
    """No TF32: float32 on a GPU means float32."""
    import torch

    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    saved = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = False
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = saved


def _describe(device: str) -> str:
    import torch

    if device.startswith("cuda"):
        name = torch.cuda.get_device_name(device)
        return f"{name}, torch {torch.__version__}, float32, TF32 off"
    return f"CPU, torch {torch.__version__}, float32"


def find(artefact: Artefact, references: Sequence[Reference]) -> Reference:
    """The reference made from the weights that ``artefact`` was exported from.

    Raises:
        RidError: there is none, or it has another resolution.
    """
    for reference in references:
        if reference.weights == artefact.metadata.weights:
            fixed = artefact.metadata.fixed_size
            if fixed is not None and fixed != reference.resolution:
                raise RidError(
                    f"{artefact.path} works at {fixed} pixels, the reference is of "
                    f"{reference.resolution}: rid-bench reference --resolution {fixed}"
                )
            return reference
    known = ", ".join(f"{r.preset} {r.weights[:12]}" for r in references) or "none"
    raise RidError(
        f"{artefact.path} was exported from weights {artefact.metadata.weights[:12]}, and there is "
        f"no reference of those (given: {known}); make it with: rid-bench reference --checkpoint …"
    )


def save(reference: Reference, path: str | Path) -> None:
    """Write a reference as safetensors, as a whole or not at all."""
    from safetensors.numpy import save_file

    tensors: dict[str, np.ndarray] = {}
    for number, (image, delta) in enumerate(zip(reference.images, reference.deltas, strict=True)):
        tensors[f"image.{number:03d}"] = np.ascontiguousarray(image)
        tensors[f"delta.{number:03d}"] = np.ascontiguousarray(delta)
    about = {
        name: getattr(reference, name)
        for name in Reference.__dataclass_fields__
        if name not in ("images", "deltas")
    }
    about["floor"] = {name: vars(found) for name, found in reference.floor.items()}
    text = json.dumps({"schema": SCHEMA} | about, sort_keys=True)
    with replacing(path) as fresh:
        save_file(tensors, fresh, metadata={_KEY: text})


def load(path: str | Path) -> Reference:
    """Read a reference; its photos must have the digest it states.

    Raises:
        RidError: missing, damaged or foreign file, or another schema.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise RidError(f"{path}: no such file; make one with: rid-bench reference -o {path}")
    try:
        with safe_open(path, framework="numpy") as opened:
            about = json.loads((opened.metadata() or {})[_KEY])
            if about.pop("schema") != SCHEMA:
                raise RidError(f"{path}: a reference of another version; make it again")
            count = len(about["names"])
            images = tuple(opened.get_tensor(f"image.{n:03d}") for n in range(count))
            deltas = tuple(opened.get_tensor(f"delta.{n:03d}") for n in range(count))
            about["names"] = tuple(about["names"])
            about["floor"] = {n: ErrorStatistics(**found) for n, found in about["floor"].items()}
            reference = Reference(**about, images=images, deltas=deltas)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError):
        raise RidError(f"{path}: no reference, or a damaged one; make it again") from None
    if digest(images) != reference.inputs:
        raise RidError(f"{path}: its photos are not those of its digest; make it again")
    return reference
