"""Sessions that only the workstation has: torch, Core ML, TensorFlow, and what is compared with."""

from __future__ import annotations

from typing import Any

import numpy as np

from rid_bench.portable import sessions as portable
from rid_bench.portable.runtimes import MATMUL_SIDE


class TorchSession(portable.Session):
    """A checkpoint in torch on the CPU, channels last in memory."""

    package = "torch"

    def __init__(self, path: str, about: dict[str, Any], threads: int, kernels: str) -> None:
        import torch

        torch.set_num_threads(threads)
        self._torch = torch
        self._network = self._load(path, about).to(memory_format=torch.channels_last)
        self._unit: Any = None
        size = int(about["resolution"])
        self.shape = (size, size)
        self._value = np.empty((size, size, 3), np.float32)
        self.name = f"torch {torch.__version__}"

    def _load(self, path: str, about: dict[str, Any]) -> Any:
        from rid_core.checkpoint import load_checkpoint

        return load_checkpoint(path)[0]

    def encode(self, photo: np.ndarray) -> None:
        """[H, W, 3] in memory, seen as [1, 3, H, W], is channels last already."""
        np.divide(photo, np.float32(255), out=self._value, dtype=np.float32)
        self._batch = self._torch.from_numpy(self._value).permute(2, 0, 1)[None]

    def infer(self) -> None:
        """The forward pass."""
        with self._torch.inference_mode():
            self._unit = self._network(self._batch)

    def decode(self) -> np.ndarray:
        """The unit perturbation."""
        unit: np.ndarray = self._unit[0].permute(1, 2, 0).contiguous().numpy()
        return np.clip(unit, -1, 1, out=unit)


class RandomSession(TorchSession):
    """A preset with random weights: time does not depend on what a network has learned."""

    def _load(self, path: str, about: dict[str, Any]) -> Any:
        return random_defender(path, about.get("config") or {})


class RandomOnnxSession(portable.OnnxSession):
    """The same in ONNX Runtime, exported while it is opened: minutes, gigabytes at full size."""

    package = "onnxruntime"

    def __init__(self, path: str, about: dict[str, Any], threads: int, kernels: str) -> None:
        import tempfile
        from pathlib import Path

        import torch

        from rid_export.graph import ExportGraph

        defender = random_defender(path, about.get("config") or {})
        graph = ExportGraph(defender, 8, "nchw", outputs=("delta",))
        size = int(about["resolution"])
        shape = [1, 3, size, size]
        tensor = {"dtype": "float32", "scale": None, "shape": shape}
        signature = {
            "layout": "nchw",
            "resolution": size,
            "inputs": [tensor | {"name": "image"}],
            "outputs": [tensor | {"name": "delta"}],
        }
        with tempfile.TemporaryDirectory() as folder, portable.quiet():
            file = Path(folder) / "model.onnx"
            program = torch.onnx.export(
                graph,
                (graph.example(size),),
                dynamo=True,
                input_names=["image"],
                output_names=["delta"],
                verbose=False,
            )
            assert program is not None
            program.save(str(file), external_data=True)
            del program, graph, defender
            super().__init__(str(file), signature, threads, kernels)


def random_defender(preset: str, config: dict[str, Any]) -> Any:
    """A preset whose zero layers are random as well, in evaluation mode."""
    import torch

    from rid_core.defenders import create_defender

    torch.manual_seed(0)
    defender = create_defender(preset, **config)
    with torch.no_grad():
        for parameter in defender.parameters():
            if not bool(parameter.any()):
                parameter.normal_(std=0.02)
    return defender.eval().requires_grad_(False)


class PgdSession(TorchSession):
    """Some steps of projected gradient descent on an encoder: what a defender replaces.

    ``about`` says how many ``steps`` one repetition makes. ``path`` is the encoder of a tiny
    autoencoder, or empty for one of the public TAESD's shape with random weights.
    """

    def _load(self, path: str, about: dict[str, Any]) -> Any:
        from rid_core.surrogates.tiny_autoencoder import load_tiny_autoencoder

        self._steps = int(about["steps"])
        return load_tiny_autoencoder(path) if path else random_encoder()

    def infer(self) -> None:
        """The steps; the latent of the clean photo is known before."""
        from rid_core.attacks.pgd import pgd
        from rid_core.budget import Budget
        from rid_core.objectives import log_shift

        encode, reference = self._network.encode, self._latent
        self._unit = pgd(
            self._batch,
            lambda protected: log_shift(reference, encode(protected)),
            Budget(),
            steps=self._steps,
        )

    def encode(self, photo: np.ndarray) -> None:
        """Also encodes the clean photo, once for all steps."""
        super().encode(photo)
        with self._torch.no_grad():
            self._latent = self._network.encode(self._batch)


def random_encoder(width: int = 64, latent: int = 4) -> Any:
    """An encoder of the shape of TAESD's (width 64, latent of 4 channels), with random weights."""
    import torch

    from rid_core.surrogates.tiny_autoencoder import TinyAutoencoder, _build_encoder

    torch.manual_seed(0)
    # The builder reads the width, the latent's channels and the kinds of blocks off a state.
    state = {"0.weight": torch.zeros(width, 3, 3, 3)}
    last = 2 + 3 * 4
    state[f"{last}.weight"] = torch.zeros(latent, width, 3, 3)
    return TinyAutoencoder("random encoder of TAESD's shape", _build_encoder(state))


class TorchMatmulSession(portable.Session):
    """The float32 matrix product of torch: often faster than numpy's, so the better limit."""

    package = "torch"

    def __init__(self, path: str, about: dict[str, Any], threads: int, kernels: str) -> None:
        import torch

        torch.set_num_threads(threads)
        self._torch = torch
        side = MATMUL_SIDE
        self._left, self._right = torch.randn(side, side), torch.randn(side, side)
        self._product = torch.empty(side, side)
        self.name = f"torch {torch.__version__}, float32 product of side {side}"

    def encode(self, photo: np.ndarray) -> None:
        """Nothing to prepare."""

    def infer(self) -> None:
        """One product."""
        self._torch.mm(self._left, self._right, out=self._product)

    def decode(self) -> np.ndarray:
        """The product, which nobody looks at."""
        product: np.ndarray = self._product.numpy()
        return product


class TensorFlowSession(portable.TFLiteSession):
    """A ``.tflite`` in the interpreter that TensorFlow brings."""

    package = "tensorflow"

    def _library(self) -> tuple[Any, str]:
        try:
            import tensorflow as tf

            from tensorflow.lite.python import interpreter  # isort: skip
        except ImportError as error:
            raise portable.UnavailableError(
                f"TensorFlow with its TFLite interpreter is not installed ({error}): "
                "pip install tensorflow"
            ) from None
        return interpreter, f"TensorFlow {tf.__version__}"


class CoreMLSession(portable.Session):
    """A ``.mlpackage`` in Core ML: macOS only, whichever units Core ML chooses."""

    package = "coremltools"
    on_cpu = False

    def __init__(self, path: str, about: dict[str, Any], threads: int, kernels: str) -> None:
        import sys

        import coremltools as ct

        if sys.platform != "darwin":
            raise portable.UnavailableError("Core ML runs on macOS only")
        units = getattr(ct.ComputeUnit, kernels) if kernels != "xnnpack" else ct.ComputeUnit.ALL
        self._model: Any = ct.models.MLModel(path, compute_units=units)
        self._image: str = about["inputs"][0]["name"]
        self._picture: Any = None
        self._answer: dict[str, Any] = {}
        size = int(about["resolution"])
        self.shape = (size, size)
        self.name = f"Core ML, coremltools {ct.__version__}, {units.name}"

    def encode(self, photo: np.ndarray) -> None:
        """A PIL image, as the image type takes it."""
        from PIL import Image

        self._picture = Image.fromarray(photo)

    def infer(self) -> None:
        """The prediction, with the copies that coremltools makes."""
        self._answer = self._model.predict({self._image: self._picture})

    def decode(self) -> np.ndarray:
        """The unit perturbation."""
        planes: np.ndarray = np.asarray(self._answer["delta"], dtype=np.float32)[0]
        return planes.transpose(1, 2, 0).clip(-1, 1)
