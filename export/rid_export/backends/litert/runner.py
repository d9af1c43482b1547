"""Run the bytes of a TFLite model and look inside; for the converter, not for apps."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

SIGNATURE = "serving_default"


class TFLiteRunner:
    """A model with all of its intermediate tensors kept."""

    def __init__(self, data: bytes, *, keep: bool) -> None:
        """Load the model.

        Args:
            data: bytes of a .tflite file.
            keep: whether :meth:`activations` will be asked for; costs memory.
        """
        from ai_edge_litert.interpreter import Interpreter

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "for debugging purposes": this is
            self._interpreter: Any = Interpreter(
                model_content=data, num_threads=1, experimental_preserve_all_tensors=keep
            )
        self._interpreter.allocate_tensors()
        self._run = self._interpreter.get_signature_runner(SIGNATURE)
        self._input = self._run.get_input_details()["image"]

    def outputs(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs as stored, for a float32 image [H, W, 3] in [0, 1]."""
        batch = image[None]
        if self._input["dtype"] == np.uint8:
            batch = np.rint(batch * 255).clip(0, 255).astype(np.uint8)
        outputs: dict[str, np.ndarray] = self._run(image=np.ascontiguousarray(batch))
        return outputs

    def delta(self, image: np.ndarray) -> np.ndarray:
        """The unit perturbation, [H, W, 3]."""
        delta: np.ndarray = self.outputs(image)["delta"][0]
        return delta

    def activations(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Every tensor that was computed, dequantized, by name."""
        self.outputs(image)
        found = {}
        for detail in self._interpreter.get_tensor_details():
            if not detail["name"] or detail["dtype"] not in (np.float32, np.int8, np.int16):
                continue
            try:
                value = self._interpreter.get_tensor(detail["index"])
            except ValueError:  # never computed: a delegate fused it away
                continue
            if value.dtype != np.float32:
                scale, zero = detail["quantization"]
                value = (value.astype(np.float32) - zero) * np.float32(scale)
            found[detail["name"]] = value
        return found
