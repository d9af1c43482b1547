"""Targets by name. A new one is a module in ``targets/`` and a test file; nothing else changes."""

from __future__ import annotations

import abc
import importlib
import importlib.util
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from rid_core.errors import MissingExtraError, RidError
from rid_export.spec import ExportSpec, choose

if TYPE_CHECKING:
    import numpy as np

    from rid_core.artifact import ArtifactMetadata, TensorInfo
    from rid_export.graph import ExportGraph


class Runner(Protocol):
    """Something that runs an exported file for the gate."""

    @property
    def name(self) -> str:
        """Runtime and version, for the report."""

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs by name for a float32 image [H, W, 3] in [0, 1], each float32 [H, W, 3]."""


class Target(abc.ABC):
    """A file format to export to.

    Importing a target's module must be cheap: converters are imported inside its methods. All of
    its methods but :meth:`runners` are called in a process of their own.

    Attributes:
        name: what ``--target`` takes.
        suffix: of its files.
        layout: order of axes its runtimes like best, ``nhwc`` or ``nchw``.
        precisions: those it can write.
        packages: modules it needs, all of the ``[export]`` extra.
        tools: distributions whose versions are written into the metadata.
        format: key of :data:`rid_core.artifact.FORMATS`.
        protected_scale: what ``protected`` is multiplied by in the graph: 255 for image types.
        rounded: whether ``protected`` comes back as an 8-bit image.
    """

    name: ClassVar[str]
    suffix: ClassVar[str]
    format: ClassVar[str]
    layout: ClassVar[str]
    precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    packages: ClassVar[tuple[str, ...]]
    tools: ClassVar[tuple[str, ...]]
    protected_scale: ClassVar[float] = 1.0
    rounded: ClassVar[bool] = False

    def check(self, spec: ExportSpec) -> None:
        """Refuse what this target cannot write, before anything slow happens.

        Raises:
            RidError: the precision is not among :attr:`precisions`.
            MissingExtraError: a package is missing.
        """
        if spec.precision not in self.precisions:
            raise RidError(
                f"{self.name} cannot be written in {spec.precision}; "
                f"it can in {', '.join(self.precisions)}"
            )
        for package in self.packages:
            if importlib.util.find_spec(package) is None:
                raise MissingExtraError(package, "export")

    @abc.abstractmethod
    def signature(self, spec: ExportSpec) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
        """Inputs and outputs as the metadata states them."""

    @abc.abstractmethod
    def convert(self, graph: ExportGraph, spec: ExportSpec, path: Path) -> None:
        """Write the file."""

    @abc.abstractmethod
    def embed(self, path: Path, text: str) -> None:
        """Put the metadata block into the file; ``text`` is ASCII."""

    @abc.abstractmethod
    def runners(self, path: Path) -> list[Runner]:
        """Runtimes of this machine that can run the file; the first is the one apps use."""

    def inspect(self, path: Path, metadata: ArtifactMetadata) -> None:  # noqa: B027 - optional
        """Check by reading what cannot be checked by running; nothing by default.

        Raises:
            RidError: the file breaks the contract.
        """


_TARGETS: dict[str, Target] = {}


def register_target(target: type[Target]) -> type[Target]:
    """Class decorator: make a target known by its name.

    Raises:
        ValueError: another class has the name already.
    """
    held = _TARGETS.get(target.name)
    if held is not None and type(held) is not target:
        raise ValueError(f"two targets are called {target.name!r}")
    _TARGETS[target.name] = target()
    return target


def _discover() -> None:
    from rid_export import targets

    for module in pkgutil.iter_modules(targets.__path__):
        importlib.import_module(f"{targets.__name__}.{module.name}")


def list_targets() -> list[str]:
    """Names that ``--target`` takes, sorted."""
    _discover()
    return sorted(_TARGETS)


def get_target(name: str) -> Target:
    """Look a target up.

    Raises:
        RidError: unknown; the nearest is named.
    """
    return _TARGETS[choose("target", name, list_targets())]
