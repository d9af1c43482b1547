"""Put an existing file through the gate once more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rid_core.artifact import FORMATS, ArtifactMetadata, Parity, check_digest, read_metadata
from rid_core.errors import RidError
from rid_export import parity
from rid_export.loading import load_runners, needs_extra, target_of

if TYPE_CHECKING:
    from rid_core.runtimes.torch import TorchRuntime


@dataclass(frozen=True)
class Verification:
    """What was found of a file that passed.

    Attributes:
        path: the file.
        checkpoint: what it was held against.
        metadata: what the file says of itself.
        parity: one entry per runtime.
        sizes: height and width at which it was run.
    """

    path: Path
    checkpoint: Path
    metadata: ArtifactMetadata
    parity: tuple[Parity, ...]
    sizes: tuple[tuple[int, int], ...]


def verify(
    path: Path, against: str | Path | None = None, *, notify: Callable[[str], None] = lambda _: None
) -> Verification:
    """Hold an exported file against the network it claims to be made from.

    The digest comes first, then what the metadata claims, then the figures that only running it
    can give: the same bounds as at export, in every runtime that this machine has.

    Args:
        path: the file.
        against: a checkpoint or a bundled preset; the bundled preset of the file's name if None.
        notify: called with one line per step.

    Raises:
        RidError: it fails; the text says where and the likely cause.
        MissingExtraError: what reads or runs it is not installed.
    """
    from rid_core.checkpoint import find_checkpoint
    from rid_core.runtimes.torch import TorchRuntime

    metadata = read_metadata(path)
    check_digest(path, metadata)
    checkpoint = find_checkpoint(against or metadata.preset)
    torch_runtime = TorchRuntime(checkpoint)
    check_claims(path, metadata, torch_runtime, checkpoint)
    target = target_of(metadata, path)
    if path.suffix != target.suffix:
        raise RidError(
            f"{path}: {FORMATS[metadata.format]} by its content, so no app can open it by this "
            f"name; call it {path.stem}{target.suffix}"
        )
    with needs_extra():
        target.inspect(path, metadata)
    runners = load_runners(target, path)
    reference = reference_of(torch_runtime, metadata, notify)
    outputs = tuple(info.name for info in metadata.outputs)
    rounded = target.rounded or "uint8" in {info.dtype for info in metadata.outputs}
    bounds = parity.thresholds(metadata.precision, metadata.levels, rounded=rounded)
    entries = []
    for runner in runners:
        notify(f"running it in {runner.name}")
        entries.append(parity.gate(runner, reference, bounds, outputs))
    return Verification(path, checkpoint, metadata, tuple(entries), reference.sizes)


def reference_of(
    torch_runtime: TorchRuntime, metadata: ArtifactMetadata, notify: Callable[[str], None]
) -> parity.Reference:
    """The float32 network's answers on the gate's portraits, of many sizes if the file takes any.

    Raises:
        RidError: the network does not work at that resolution, or is untrained.
    """
    from rid_export.portraits import bundled_portraits, of_many_sizes

    notify(f"running {torch_runtime.preset} in torch on the portraits")
    images = bundled_portraits(metadata.resolution)
    if metadata.dynamic:
        images += of_many_sizes(images, metadata.stride)
    return parity.make_reference(
        lambda image: torch_runtime.run(image)["delta"], images, torch_runtime.levels
    )


def check_claims(
    path: Path, metadata: ArtifactMetadata, torch_runtime: TorchRuntime, checkpoint: Path
) -> None:
    """Refuse metadata that cannot be about this checkpoint, or that breaks the contract.

    Raises:
        RidError: names what contradicts what.
    """
    from rid_core.checkpoint import weights_digest

    for name, wanted in (
        ("preset", torch_runtime.preset),
        ("levels", torch_runtime.levels),
        ("stride", torch_runtime.stride),
        ("weights", weights_digest(torch_runtime.defender)),
    ):
        found = getattr(metadata, name)
        if found != wanted:
            raise RidError(
                f"{path}: not made from {checkpoint}: its metadata says {name} {found}, the "
                f"checkpoint has {wanted}; name the right one with --against, or export it again"
            )
    names = [info.name for info in metadata.outputs]
    if [info.name for info in metadata.inputs] != ["image"] or "delta" not in names:
        raise RidError(
            f"{path}: its metadata breaks the contract: an input image and an output delta are "
            "needed; export it again"
        )
    size = metadata.resolution
    square = (1, size, size, 3) if metadata.layout == "nhwc" else (1, 3, size, size)
    for info in (*metadata.inputs, *metadata.outputs):
        if info.shape != square:
            raise RidError(
                f"{path}: its metadata contradicts itself: {info.name} is {list(info.shape)}, but "
                f"{size} pixels in {metadata.layout} are {list(square)}; export it again"
            )
    for height, width in metadata.sizes:
        if (height, width) != (size, size) and not metadata.dynamic:
            raise RidError(
                f"{path}: its metadata contradicts itself: it takes {size} x {size} pixels only, "
                f"and says that it was proved at {height} x {width}; export it again"
            )
