"""Run a package with the interpreter of ML programs, and look inside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rid_export.backends.coreml.activations import block_of, layers, name_of
from rid_export.layers import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from torch import Tensor

    from rid_export.mil import MilProgram

_MOVES = frozenset(("cast", "pixel_shuffle", "reshape", "squeeze", "transpose"))
"""Operations that only move values, or change their type."""
_NAMES = "layers.json"
_PAIR = frozenset(("quantize", "dequantize"))


class MilRunner:
    """The interpreter of ML programs; see :class:`rid_core.runtimes.base.Session`."""

    def __init__(self, program: MilProgram) -> None:
        self.name = "rid_export.mil, a reference interpreter (not Core ML)"
        self._program = program
        self._stored = np.empty(0)
        self._values: dict[str, np.ndarray] = {}

    @classmethod
    def load(cls, path: Path) -> MilRunner:
        """Read the package at ``path``; MilError if it is damaged."""
        from rid_export.mil import MilProgram

        return cls(MilProgram.load(path))

    def feed(self, stored: np.ndarray) -> None:
        """Set the picture, uint8 [H, W, 3]."""
        self._stored = stored

    def infer(self) -> None:
        """Run the program."""
        self._values = self._program.predict({"image": self._stored})

    def fetch(self, name: str) -> np.ndarray:
        """A picture as uint8 [H, W, 3], or a multi-array [1, 3, H, W]."""
        return self._values[name]

    def delta(self, image: np.ndarray) -> np.ndarray:
        """The unit perturbation, [H, W, 3], for a float32 image [H, W, 3] in [0, 1]."""
        self.feed(_pixels(image))
        self.infer()
        return self.fetch("delta")[0].astype(np.float32).transpose(1, 2, 0)

    def activations(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Every float result of the program, by the name of its variable."""
        found: dict[str, np.ndarray] = {}

        def observe(name: str, _: str, tensor: Tensor) -> None:
            if tensor.is_floating_point():
                found[name] = tensor.numpy()

        self._program.run({"image": _pixels(image)}, observe=observe)
        return found

    def watch(
        self,
        images: Iterable[np.ndarray],
        wanted: Container[str],
        see: Callable[[str, np.ndarray], None],
    ) -> None:
        """Show results of the program for uint8 images [H, W, 3], without keeping any.

        Args:
            images: one after the other.
            wanted: names of the variables to show.
            see: called with name and float32 values.
        """

        def observe(name: str, _: str, tensor: Tensor) -> None:
            if name in wanted:
                see(name, tensor.float().numpy())

        for image in images:
            self._program.run({"image": image}, observe=observe)


def _pixels(image: np.ndarray) -> np.ndarray:
    pixels: np.ndarray = np.rint(image * 255).clip(0, 255).astype(np.uint8)
    return pixels


def layer_names(spec: Any, modules: Iterable[str]) -> dict[str, str]:
    """Names of layers by the names of their operations.

    The converter calls an operation ``conv2d_7_cast_fp16``, but its weights still carry the path of
    their module: ``p_contract_defender_up_conv_weight_to_fp16`` belongs to ``up.conv``. A
    layer whose weights do not keeps its operation's name.

    Args:
        spec: ``Model`` message.
        modules: paths of the defender's modules.
    """
    known = {f"p_contract_defender_{path.replace('.', '_')}_weight": path for path in modules}
    found = {}
    for layer in layers(spec):
        stem, mark, _ = layer.weight.partition("_weight")
        found[layer.name] = known.get(stem + mark, layer.name)
    return found


def write_names(package: Path, names: Mapping[str, str]) -> None:
    """Leave the names of layers in an unfinished package, for :func:`read_names`."""
    (package / _NAMES).write_text(json.dumps(dict(names)))


def read_names(package: Path) -> dict[str, str]:
    """Names of layers by the names of their operations."""
    names: dict[str, str] = json.loads((package / _NAMES).read_text())
    return names


def nodes(spec: Any, names: Mapping[str, str]) -> list[Node]:
    """The steps on the way to ``delta`` that compute something, with what they take.

    Args:
        spec: ``Model`` message of a program, quantized or not.
        names: of :func:`layer_names`.
    """
    source: dict[str, str] = {"image": "image"}
    title: dict[str, str] = {"image": "image"}
    found = []
    needed = _needed(spec, "delta")
    for operation in block_of(spec).operations:
        output = str(operation.outputs[0].name)
        bound = [str(a.name) for p in operation.inputs.values() for a in p.arguments]
        inputs = [name for name in bound if name in source]
        if not inputs or output not in needed:
            continue
        layer = names.get(name_of(operation))
        title[output] = layer or title[inputs[0]]
        if operation.type in _MOVES | _PAIR:
            source[output] = source[inputs[0]]
            continue
        source[output] = output
        name = layer or f"{title[output]}/{operation.type}"
        found.append(Node(name, operation.type, output, tuple(source[x] for x in inputs)))
    return found


def _needed(spec: Any, output: str) -> set[str]:
    """Variables that ``output`` depends on, itself among them."""
    wanted = {output}
    for operation in reversed(block_of(spec).operations):
        if any(result.name in wanted for result in operation.outputs):
            for parameter in operation.inputs.values():
                wanted.update(str(argument.name) for argument in parameter.arguments)
    return wanted
