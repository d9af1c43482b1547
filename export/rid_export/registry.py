"""Targets by name. A new one is a folder in ``backends/`` and a test file; nothing else changes."""

from __future__ import annotations

import abc
import importlib
import importlib.util
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rid_core.errors import MissingExtraError, RidError
from rid_export.spec import ExportSpec, choose

if TYPE_CHECKING:
    from rid_core.artifact import ArtifactMetadata, TensorInfo
    from rid_core.runtimes import ModelRuntime
    from rid_export.graph import ExportGraph
    from rid_export.layers import QuantizationReport


class Target(abc.ABC):
    """A file format to export to.

    Importing a target's module must be cheap: converters are imported inside its methods. All of
    its methods but :meth:`runners` are called in a process of their own.

    Attributes:
        name: what ``--target`` takes.
        suffix: of its files.
        layout: order of axes its runtimes like best, ``nhwc`` or ``nchw``.
        precisions: those it can write.
        layouts: orders of axes that its inputs and outputs can have.
        io: types that ``image`` and ``protected`` can have.
        dynamic: whether a file can take several sizes.
        reasons: why it cannot do something, and what it can instead: by a precision's, layout's or
            type's name, or ``dynamic``.
        extra: that brings what it needs; ``all`` leaves a target of another extra than ``export``
            out where that is not installed.
        packages: modules it needs.
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
    layouts: ClassVar[tuple[str, ...]] = ()
    io: ClassVar[tuple[str, ...]] = ("float32",)
    dynamic: ClassVar[bool] = False
    reasons: ClassVar[Mapping[str, str]] = {}
    extra: ClassVar[str] = "export"
    packages: ClassVar[tuple[str, ...]]
    tools: ClassVar[tuple[str, ...]]
    protected_scale: ClassVar[float] = 1.0
    rounded: ClassVar[bool] = False

    def check(self, spec: ExportSpec) -> None:
        """Refuse what this target cannot write, before anything slow happens.

        Raises:
            RidError: it cannot be this precision, layout or type; the text says why, and the
                nearest that can.
            MissingExtraError: a package is missing.
        """
        if spec.precision not in self.precisions:
            reason = self.reasons.get(spec.precision)
            because = f": {reason}" if reason else ""
            raise RidError(
                f"{self.name} cannot be written in {spec.precision}{because}; "
                f"it can in {', '.join(self.precisions)}"
            )
        for what, value, known in (
            ("layout", spec.layout or self.layout, self.layouts or (self.layout,)),
            ("io", spec.io, self.io),
        ):
            if value not in known:
                reason = self.reasons.get(value, f"it can be {' or '.join(known)}")
                raise RidError(f"{self.name} cannot be written with --{what} {value}: {reason}")
        if spec.dynamic and not self.dynamic:
            reason = self.reasons.get("dynamic", "make one file per --resolution")
            raise RidError(f"{self.name} cannot be written with --dynamic: {reason}")
        for package in self.packages:
            if importlib.util.find_spec(package) is None:
                raise MissingExtraError(package, self.extra)

    @abc.abstractmethod
    def signature(self, spec: ExportSpec) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
        """Inputs and outputs as the metadata states them."""

    @abc.abstractmethod
    def convert(
        self, graph: ExportGraph, spec: ExportSpec, path: Path
    ) -> QuantizationReport | None:
        """Write the file; return what there is to tell of a quantization."""

    @abc.abstractmethod
    def embed(self, path: Path, text: str) -> None:
        """Put the metadata block into the file; ``text`` is ASCII."""

    @abc.abstractmethod
    def runners(self, path: Path) -> list[ModelRuntime]:
        """Runtimes of this machine that can run the file; the first is the one apps use."""

    def inspect(self, path: Path, metadata: ArtifactMetadata) -> None:  # noqa: B027 - optional
        """Check by reading what cannot be checked by running; nothing by default.

        Raises:
            RidError: the file breaks the contract.
        """

    def remarks(self, path: Path) -> tuple[str, ...]:
        """What people should know of a file that passed, one line each; nothing by default."""
        return ()


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


def unregister_target(name: str) -> None:
    """Forget a target that was registered for a while."""
    del _TARGETS[name]


def _discover() -> None:
    from rid_export import backends

    for package in pkgutil.iter_modules(backends.__path__):
        importlib.import_module(f"{backends.__name__}.{package.name}.convert")


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
