"""What this machine has, what each target needs, and how to get what is missing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import subprocess
import sys
from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from rid_core._version import __version__
from rid_core.errors import pip_line
from rid_export.registry import Target, get_target, list_targets

DISTRIBUTION = "rid-defender"
EXTRA = "export"
_TIMEOUT = 300
_CORE = ("torch", "numpy", "safetensors", "Pillow", "click")


@dataclass(frozen=True)
class Package:
    """A distribution that a target needs.

    Attributes:
        name: of the distribution.
        version: installed, or None.
        needed: what is asked for, such as ``>=0.10``; empty for any version.
    """

    name: str
    version: str | None
    needed: str

    @property
    def good(self) -> bool:
        """Whether it is there and new enough."""
        return self.version is not None and SpecifierSet(self.needed).contains(
            self.version, prereleases=True
        )

    @property
    def requirement(self) -> str:
        """As pip takes it."""
        return f"{self.name}{self.needed}"


@dataclass(frozen=True)
class Diagnosis:
    """Whether a target can be written here.

    Attributes:
        target: its name.
        packages: what it needs.
        problem: what is wrong, in one line; None if nothing is.
        remedy: the command that mends it; None if nothing has to be.
    """

    target: str
    packages: tuple[Package, ...]
    problem: str | None = None
    remedy: str | None = None


@dataclass(frozen=True)
class Option:
    """A runtime that the gate uses where it is, and does without where it is not.

    Attributes:
        name: of the runtime.
        missing: why this machine has not got it; None if it has.
        remedy: the command that brings it; None if none does, or it is there.
    """

    name: str
    missing: str | None = None
    remedy: str | None = None


def options() -> list[Option]:
    """Runtimes that files are proved in besides the ones that every target needs."""
    (package,) = _packages(("tensorflow",))
    tensorflow = Option("TensorFlow's own TFLite interpreter")
    if not package.good:
        has = "is not installed" if package.version is None else f"{package.version} is too old"
        remedy = pip_line("tensorflow")
        tensorflow = Option(tensorflow.name, f"tensorflow {has}", remedy)
    coreml = Option("Core ML itself")
    if sys.platform != "darwin":
        coreml = Option(coreml.name, "only macOS has it; our interpreter runs the packages here")
    return [tensorflow, coreml]


def system() -> dict[str, str]:
    """Versions of what every command needs."""
    versions = {package.name: package.version or "missing" for package in _packages(_CORE)}
    return {
        DISTRIBUTION: __version__,
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
        "machine": platform.machine(),
        **versions,
    }


def examine(target: Target) -> Diagnosis:
    """Look at one target: are its packages there, new enough, and do they import?

    Importing happens in a child: a package that crashes then costs one line.
    """
    packages = _packages(target.tools)
    lacking = [package for package in packages if not package.good]
    if lacking:
        words = (
            f"{p.name} {p.version} is too old" if p.version else f"{p.name} is not installed"
            for p in lacking
        )
        wanted = " ".join(f"'{package.requirement}'" for package in lacking)
        return Diagnosis(target.name, packages, "; ".join(words), f"pip install {wanted}")
    problem = _import_problem(target.packages)
    if problem is not None:
        names = " ".join(package.name for package in packages)
        remedy = f"pip install --force-reinstall {names}"
        return Diagnosis(target.name, packages, problem, remedy)
    return Diagnosis(target.name, packages)


def examine_all() -> list[Diagnosis]:
    """All targets, by name."""
    return [examine(get_target(name)) for name in list_targets()]


def _import_problem(modules: tuple[str, ...]) -> str | None:
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, *modules],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"importing {', '.join(modules)} takes more than {_TIMEOUT} s"
    if done.returncode == 0:
        return None
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    reason = lines[-1].strip()[:300] if lines else f"exit code {done.returncode}"
    return f"installed, but importing it fails: {reason}"


def _packages(names: tuple[str, ...]) -> tuple[Package, ...]:
    needed = _requirements()
    return tuple(
        Package(name, _version(name), needed.get(canonicalize_name(name), "")) for name in names
    )


def _requirements() -> dict[str, str]:
    """Versions that our own distribution asks for, by normalized name."""
    try:
        lines = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    found: dict[str, str] = {}
    for requirement in map(Requirement, lines):
        if requirement.specifier:
            found.setdefault(canonicalize_name(requirement.name), str(requirement.specifier))
    return found


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
