"""Quantize an ML program.

- ``w8``: 8-bit linear weights, one scale per output channel; ``pal8``: weights as indices into 256
  values per layer. Both are computed in fp16.
- ``int8``: 8-bit weights, and 8 bits for what every layer reads. Sums, tanh and the head stay in
  half precision. A layer that is kept in float keeps its 8-bit weights.

Programs are run by our interpreter, so no Mac is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rid_core.quantization.grids import Grids
from rid_export.backends.coreml import edits
from rid_export.backends.coreml.graph import quiet, steps
from rid_export.backends.coreml.runner import MilRunner
from rid_export.layers import Activations
from rid_export.quantization import Predict, Quantizer
from rid_export.spec import ROUNDS_ACTIVATIONS

Program = tuple[Any, MilRunner]
"""An ``MLModel``, and the interpreter of its program."""


class CoreMLQuantizer(Quantizer[Program]):
    """See :class:`rid_export.quantization.Quantizer`."""

    def __init__(
        self,
        model: Any,
        precision: str,
        grids: Grids | None,
        weights: Mapping[str, np.ndarray],
        *,
        names: Mapping[str, str],
        scratch: Path,
    ) -> None:
        """Look at an ``MLModel`` of an fp16 program.

        Args:
            model: the program.
            precision: see the module.
            grids: of the activations; None if they stay float.
            weights: the network's tensors by name.
            names: of layers, by the names of their operations.
            scratch: folder for packages that are tried.
        """
        self._scratch = scratch
        self._names = names
        self._spec = model.get_spec()
        exact = (model, self._load(model, "exact"))
        super().__init__(exact, precision, steps(self._spec, names), grids, weights)

    def _load(self, model: Any, name: str) -> MilRunner:
        path = self._scratch / f"{name}.mlpackage"
        with quiet():
            model.save(str(path))
        return MilRunner.load(path)

    def _operations(self, layers: set[str] | frozenset[str]) -> frozenset[str]:
        """Names of their operations."""
        return frozenset(op for op, name in self._names.items() if name in layers)

    def build(self, float_layers: frozenset[str] = frozenset()) -> Program:
        """The quantized program, with some layers left in float."""
        import coremltools as ct

        model = self.exact[0]
        spared = self._operations(float_layers)
        if self.grids is not None:
            spec = type(self._spec)()
            spec.CopyFrom(self._spec)
            edits.set_biases(spec, self._names, self.biases(float_layers))
            in_float = self._operations(self.in_float(float_layers))
            edits.quantize_inputs(spec, self.ranges, in_float)
            with quiet():
                model = ct.models.MLModel(spec, weights_dir=model.weights_dir, skip_model_load=True)
        if self.precision in ROUNDS_ACTIVATIONS:
            spared = frozenset()
        compress = edits.palettized_weights if self.precision == "pal8" else edits.linear_weights
        made = compress(model, sorted(spared))
        return made, self._load(made, "trial")

    def predictor(self, model: Program) -> Predict:
        """What gives a program's ``delta``."""
        return model[1].delta

    def activations(self, model: Program) -> Activations:
        """What gives a program's float tensors by name."""
        return model[1].activations
