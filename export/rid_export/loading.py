"""Load anything that can be run, an exported file, a checkpoint or a preset, and compare two."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rid_core.artifact import (
    FORMATS,
    ArtifactMetadata,
    artifact_format,
    check_digest,
    payload_size,
    read_metadata,
)
from rid_core.errors import MissingExtraError, RidError
from rid_core.fidelity import ErrorStatistics
from rid_core.operators import operator_counts
from rid_core.runtimes import ModelRuntime
from rid_export.parity import compare_worst
from rid_export.registry import Target, get_target, list_targets

DEFAULT_RESOLUTION = 512


@dataclass(frozen=True)
class OpenedArtefact:
    """A defender that is ready to run.

    Attributes:
        path: of the file.
        kind: ``checkpoint``, or the format and the precision, such as ``TFLite int8``.
        runner: what runs it; the runtime that apps use, where this machine has it.
        preset: name of the defender.
        levels: bound in 8-bit levels.
        stride: multiple of pixels that it works in.
        fixed_size: the only height and width accepted, or None.
        weights: SHA-256 of the checkpoint's weights.
        size: bytes.
        operators: how often each occurs; none for a checkpoint.
    """

    path: Path
    kind: str
    runner: ModelRuntime
    preset: str
    levels: int
    stride: int
    fixed_size: int | None
    weights: str
    size: int
    operators: dict[str, int]


def target_of(metadata: ArtifactMetadata, path: Path) -> Target:
    """The target that wrote a file.

    Raises:
        RidError: none of this version's targets writes that format.
        MissingExtraError: what runs it is not installed.
    """
    for name in list_targets():
        target = get_target(name)
        if target.format == metadata.format:
            return target
    raise RidError(f"{path}: no target of this version writes {FORMATS[metadata.format]} files")


@contextlib.contextmanager
def needs_extra() -> Iterator[None]:
    """Say of a package that is not installed which extra brings it.

    Raises:
        MissingExtraError: instead of ``ImportError``.
    """
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(str(error.name or error), "export") from None


def load_runners(target: Target, path: Path) -> list[ModelRuntime]:
    """All runtimes of this machine that can run the file, the one that apps use first.

    Raises:
        RidError: a runtime refuses the file.
        MissingExtraError: a package is missing.
    """
    with needs_extra():
        return target.runners(path)


def load_any(path_or_preset: str | Path) -> OpenedArtefact:
    """Load a checkpoint, an exported file or a bundled preset; what it is, its content tells.

    Raises:
        RidError: missing, damaged, foreign or altered file.
        MissingExtraError: what runs it is not installed.
    """
    from rid_core.checkpoint import find_checkpoint

    path = Path(path_or_preset)
    if not path.exists():
        path = find_checkpoint(path_or_preset)
    if artifact_format(path) == "torch":
        return _load_checkpoint(path)
    metadata = read_metadata(path)
    check_digest(path, metadata)
    return OpenedArtefact(
        path=path,
        kind=f"{FORMATS[metadata.format]} {metadata.precision}",
        runner=load_runners(target_of(metadata, path), path)[0],
        preset=metadata.preset,
        levels=metadata.levels,
        stride=metadata.stride,
        fixed_size=metadata.fixed_size,
        weights=metadata.weights,
        size=payload_size(path),
        operators=operator_counts(path),
    )


def _load_checkpoint(path: Path) -> OpenedArtefact:
    from rid_core.checkpoint import weights_digest
    from rid_core.runtimes.torch import TorchRuntime

    runtime = TorchRuntime(path)
    return OpenedArtefact(
        path=path,
        kind="checkpoint",
        runner=runtime,
        preset=runtime.preset,
        levels=runtime.levels,
        stride=runtime.stride,
        fixed_size=runtime.fixed_size,
        weights=weights_digest(runtime.defender),
        size=payload_size(path),
        operators={},
    )


@dataclass(frozen=True)
class DefenderComparison:
    """Two defenders and how far their perturbations are apart.

    Attributes:
        first: the reference.
        second: what is measured.
        resolution: at which both ran, in pixels.
        portraits: number of portraits; every figure is the worst over them.
        delta: statistics of the second's unit perturbation against the first's.
    """

    first: OpenedArtefact
    second: OpenedArtefact
    resolution: int
    portraits: int
    delta: ErrorStatistics

    @property
    def max_error_levels(self) -> float:
        """Largest error of the perturbation in 8-bit levels, at the first's bound."""
        return self.delta.max_error * self.first.levels


def compare_files(first: str | Path, second: str | Path) -> DefenderComparison:
    """Run both on the gate's portraits.

    Args:
        first: a checkpoint, an exported file or a bundled preset.
        second: another.

    Raises:
        RidError: one of them cannot be loaded, or no size suits both.
    """
    from rid_export.portraits import bundled_portraits

    one, other = load_any(first), load_any(second)
    resolution = _common_size(one, other)
    portraits = bundled_portraits(resolution)
    truth, measured = (
        [loaded.runner.run(image)["delta"] for image in portraits] for loaded in (one, other)
    )
    worst = compare_worst(truth, measured, 1 / one.levels)
    return DefenderComparison(one, other, resolution, len(portraits), worst)


def _common_size(one: OpenedArtefact, other: OpenedArtefact) -> int:
    sizes = {loaded.fixed_size for loaded in (one, other) if loaded.fixed_size is not None}
    if len(sizes) > 1:
        raise RidError(
            f"{one.path} works at {one.fixed_size} pixels, {other.path} at {other.fixed_size}: "
            "export both at the same --resolution"
        )
    size = sizes.pop() if sizes else DEFAULT_RESOLUTION
    for loaded in (one, other):
        if size % loaded.stride:
            raise RidError(f"{loaded.path} needs a multiple of {loaded.stride} pixels, not {size}")
    return size
