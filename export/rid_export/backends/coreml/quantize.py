"""8 bits for Core ML, with layers kept in float as far as the gate needs it.

Ranges come from our interpreter of ML programs, so no Mac is needed. A range is first chosen for
the least error of the tensor, then narrowed where that makes *delta* better: behind the last layers
stands a tanh, which hides what is cut off from large values, and shows every step of small ones.

Measured on two states of rid-s in training, before ranges were narrowed: 28.9 and 27.1 dB with no
layer in float. coremltools' quantizer for torch gave 23.5 and 24.5 at best; its quantizer of
packages, fed with ranges by replacing a private function, 27.5 and 24.0. Both take whole ranges,
and round the sums of residual blocks as well.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rid_core.quantization.ranges import RangeCollector
from rid_export.backends.coreml.activations import Scale, layers, quantize_inputs
from rid_export.backends.coreml.graph import quiet
from rid_export.backends.coreml.runner import MilRunner, nodes, read_names
from rid_export.backends.coreml.weights import linear_weights, palettized_weights
from rid_export.layers import LayerError, Notes, layer_errors, ranked
from rid_export.quantization import Yardstick, images_of, quantize

if TYPE_CHECKING:
    from rid_export.calibration import Material

_PROBES = 3
"""Calibration images that a layer's own effect on delta is measured on."""
_TUNED = 8
"""Layers, the noisiest, whose ranges are tuned."""
_NARROWER = (0.85, 0.72, 0.61, 0.52)


Trial = tuple[Any, MilRunner]
"""An ``MLModel``, and the interpreter of its program."""


class WeightQuantizer:
    """``w8`` and ``pal8``, see :class:`rid_export.quantization.Quantizer`.

    Attributes:
        precision: ``w8`` or ``pal8``.
        names: of layers, by the names of their operations.
        exact: the fp16 program.
    """

    def __init__(
        self, model: Any, names: Mapping[str, str], scratch: Path, precision: str = "w8"
    ) -> None:
        """Load the program.

        Args:
            model: ``MLModel`` of an fp16 program.
            names: of layers, by the names of their operations.
            scratch: folder for packages that are tried.
            precision: of the weights.
        """
        self.precision = precision
        self.idle: frozenset[str] = frozenset()
        self.names = names
        self._spec = model.get_spec()
        self._scratch = scratch
        self.exact: Trial = (model, self._run(model, "exact"))

    def _run(self, model: Any, name: str) -> MilRunner:
        path = self._scratch / f"{name}.mlpackage"
        with quiet():
            model.save(str(path))
        return MilRunner.load(path)

    def _spared(self, float_layers: frozenset[str]) -> list[str]:
        """Their operations."""
        return sorted(op for op, name in self.names.items() if name in float_layers)

    def build(self, float_layers: frozenset[str] = frozenset()) -> Trial:
        """The quantized program, with some layers left in float."""
        spared = self._spared(float_layers)
        model, _ = self.exact
        compress = linear_weights if self.precision == "w8" else palettized_weights
        made = compress(model, spared)
        return made, self._run(made, "trial")

    def predictor(self, model: Trial) -> Callable[[np.ndarray], np.ndarray]:
        """What gives a program's ``delta``."""
        return model[1].delta

    def errors(self, model: Trial, images: Sequence[np.ndarray]) -> list[LayerError]:
        """Signal-to-noise ratios layer by layer, for float32 images [H, W, 3] in [0, 1]."""
        steps = nodes(self._spec, self.names)
        return layer_errors(steps, self.exact[1].activations, model[1].activations, images)

    def ranked(self, rows: Iterable[LayerError]) -> list[LayerError]:
        """Layers that may be kept in float, the worst first."""
        layers_only = set(self.names.values())
        return ranked(row for row in rows if row.name in layers_only)


class ActivationQuantizer(WeightQuantizer):
    """``int8``: activations as well.

    Attributes:
        noise: of each layer by name: the noise-to-signal ratio (power) of delta if nothing but what
            the layer takes is quantized; the worst of some calibration images.
    """

    def __init__(
        self, model: Any, names: Mapping[str, str], scratch: Path, calibration: np.ndarray
    ) -> None:
        """Calibrate on images, uint8 [N, H, W, 3]; the rest as for weights alone."""
        super().__init__(model, names, scratch, "int8")
        self._tensors = {names[layer.name]: layer.tensor for layer in layers(self._spec)}
        collector = RangeCollector()
        exact = self.exact[1]
        exact.watch(calibration, set(self._tensors.values()), collector.add)
        self._scales = {
            name: Scale.of(low, high) for name, (low, high) in collector.ranges(8).items()
        }
        probes = calibration[:: max(len(calibration) // _PROBES, 1)][:_PROBES]
        self._probes = [(image, exact.delta(image)) for image in images_of(probes)]
        self.noise = {name: self._noise(name, self._scales) for name in self._tensors}
        self._tune()

    def _noise(self, layer: str, scales: Mapping[str, Scale]) -> float:
        """See :attr:`noise`."""
        probe = self._scratch / "probe.mlpackage"
        if not probe.exists():
            shutil.copytree(self._scratch / "exact.mlpackage", probe)
        spec = self._quantized(scales, frozenset(self._tensors) - {layer})
        (model_file,) = probe.rglob("*.mlmodel")
        model_file.write_bytes(spec.SerializeToString())
        runner = MilRunner.load(probe)
        worst = 0.0
        for image, truth in self._probes:
            error = np.square(runner.delta(image) - truth, dtype=np.float64).sum()
            worst = max(worst, float(error / np.square(truth, dtype=np.float64).sum()))
        return worst

    def _tune(self) -> None:
        """Narrow the ranges of the noisiest layers as long as delta gets better."""
        for name in sorted(self.noise, key=lambda name: -self.noise[name])[:_TUNED]:
            tensor = self._tensors[name]
            whole = self._scales[tensor]
            for factor in _NARROWER:
                trial = self._scales | {tensor: whole.narrowed(factor)}
                noise = self._noise(name, trial)
                if noise >= self.noise[name]:
                    break
                self._scales, self.noise[name] = trial, noise

    def _quantized(self, scales: Mapping[str, Scale], float_layers: frozenset[str]) -> Any:
        spec = type(self._spec)()
        spec.CopyFrom(self._spec)
        quantize_inputs(spec, scales, frozenset(self._spared(float_layers)))
        return spec

    def build(self, float_layers: frozenset[str] = frozenset()) -> Trial:
        """The quantized program, with some layers left in float."""
        import coremltools as ct

        spec = self._quantized(self._scales, float_layers)
        with quiet():
            model = ct.models.MLModel(
                spec, weights_dir=self.exact[0].weights_dir, skip_model_load=True
            )
        made = linear_weights(model, self._spared(float_layers))
        return made, self._run(made, "trial")

    def ranked(self, rows: Iterable[LayerError]) -> list[LayerError]:
        """Layers that may be kept in float, the one that costs delta most first."""
        layers_only = (row for row in rows if row.name in self.noise)
        return sorted(layers_only, key=lambda row: -self.noise[row.name])


def package_layer_errors(
    exact: Path, compressed: Path, images: Sequence[np.ndarray]
) -> list[LayerError]:
    """Compare a compressed package layer by layer with the fp16 one that it was made from.

    Args:
        exact: the fp16 package, see :func:`rid_export.layers.float_copy`.
        compressed: the other.
        images: float32 [H, W, 3] in [0, 1].
    """
    from rid_export.mil.package import open_package

    steps = nodes(open_package(exact).spec, read_names(exact))
    first, second = MilRunner.load(exact), MilRunner.load(compressed)
    return layer_errors(steps, first.activations, second.activations, images)


def quantize_coreml(
    model: Any,
    precision: str,
    names: Mapping[str, str],
    material: Material,
    levels: int,
) -> tuple[Any, Notes]:
    """Quantize, and keep layers in float as far as the gate needs it.

    Args:
        model: ``MLModel`` of an fp16 program.
        precision: ``w8``, ``pal8`` or ``int8``.
        names: of layers, by the names of their operations.
        material: portraits that the gate will look at; for ``int8`` images to calibrate on.
        levels: the bound in 8-bit levels.

    Returns:
        The quantized ``MLModel``, and what there is to tell of it.
    """
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if precision == "int8":
            assert material.calibration is not None, "activations are calibrated on images"
            quantizer: WeightQuantizer = ActivationQuantizer(
                model, names, scratch, material.calibration
            )
        else:
            quantizer = WeightQuantizer(model, names, scratch, precision)
        (quantized, _), notes = quantize(quantizer, Yardstick(material.portraits, levels))
    return quantized, notes
