"""What is timed beside the defenders: slow peers, and the limits that only torch reaches.

Each is opened by a worker as ``module:class``; see :class:`rid_bench.portable.worker.Steps`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rid_bench.portable.limits import MATMUL_SIDE
from rid_core.runtimes.onnxruntime import OnnxSession
from rid_core.runtimes.torch import TorchSession, torch_threads

if TYPE_CHECKING:
    from rid_core.defenders import Defender
    from rid_core.surrogates.tiny_autoencoder import TinyAutoencoder


class RandomNetwork:
    """A preset with random weights in torch: time does not depend on what it has learned."""

    package = "torch"
    on_cpu = True

    def __init__(self, path: str, threads: int, side: int, config: dict[str, Any]) -> None:
        """Make the preset ``path``, with the fields of ``config`` that differ (for tests)."""
        self._session = self._open(random_defender(path, config), threads, side)
        self.name = self._session.name

    def _open(self, defender: Defender, threads: int, side: int) -> TorchSession | OnnxSession:
        return TorchSession(defender, 8, threads)

    def encode(self, image: np.ndarray) -> None:
        """Float, with a batch."""
        self._session.feed(np.divide(image[None], np.float32(255), dtype=np.float32))

    def infer(self) -> None:
        """The forward pass."""
        self._session.infer()

    def decode(self) -> np.ndarray:
        """The unit perturbation."""
        unit: np.ndarray = self._session.fetch("delta")[0]
        return unit.clip(-1, 1)


class RandomOnnx(RandomNetwork):
    """The same in ONNX Runtime, exported while it is opened: minutes, gigabytes at full size."""

    package = "onnxruntime"

    def _open(self, defender: Defender, threads: int, side: int) -> OnnxSession:
        import torch

        from rid_core.output import suppress_output
        from rid_export.graph import ExportGraph

        graph = ExportGraph(defender, 8, "nhwc", outputs=("delta",))
        with tempfile.TemporaryDirectory() as folder, suppress_output():
            file = Path(folder) / "model.onnx"
            program = torch.onnx.export(
                graph,
                (graph.example(side),),
                dynamo=True,
                input_names=["image"],
                output_names=["delta"],
                verbose=False,
            )
            assert program is not None
            program.save(str(file), external_data=True)
            del program, graph
            return OnnxSession(file, threads=threads)


def random_defender(preset: str, config: dict[str, Any]) -> Defender:
    """A preset whose zero layers are random as well, in evaluation mode."""
    import torch

    from rid_core.defenders import create_defender

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        defender = create_defender(preset, **config)
        with torch.no_grad():
            for parameter in defender.parameters():
                if not bool(parameter.any()):
                    parameter.normal_(std=0.02)
    return defender.eval().requires_grad_(False)


class Pgd:
    """Some steps of projected gradient descent on an encoder: what a defender replaces."""

    package = "torch"
    on_cpu = True

    def __init__(self, path: str, threads: int, steps: int) -> None:
        """Open the encoder of a tiny autoencoder, or one of TAESD's shape if ``path`` is empty.

        ``steps`` are made in one repetition.
        """
        import torch

        from rid_core.surrogates.tiny_autoencoder import load_tiny_autoencoder

        self._torch, self._threads, self._steps = torch, threads, steps
        encoder = load_tiny_autoencoder(path) if path else random_encoder()
        self._encoder = encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.name = f"torch {torch.__version__}"

    def encode(self, image: np.ndarray) -> None:
        """Also encodes the clean photo, once for all steps."""
        value = np.divide(image, np.float32(255), dtype=np.float32)
        self._batch = self._torch.from_numpy(value).permute(2, 0, 1)[None]
        with self._torch.no_grad(), torch_threads(self._threads):
            self._latent = self._encoder.encode(self._batch)

    def infer(self) -> None:
        """The steps."""
        from rid_core.attacks.pgd import pgd
        from rid_core.budget import Budget
        from rid_core.objectives import log_shift

        encode, clean = self._encoder.encode, self._latent
        with torch_threads(self._threads):
            self._unit = pgd(
                self._batch,
                lambda protected: log_shift(clean, encode(protected)),
                Budget(),
                steps=self._steps,
            )

    def decode(self) -> np.ndarray:
        """The unit perturbation."""
        unit: np.ndarray = self._unit[0].permute(1, 2, 0).contiguous().numpy()
        return unit.clip(-1, 1)


def random_encoder(width: int = 64, latent: int = 4) -> TinyAutoencoder:
    """An encoder of the shape of TAESD's (width 64, latent of 4 channels), with random weights."""
    import torch

    from rid_core.surrogates.tiny_autoencoder import TinyAutoencoder, _build_encoder

    # The builder reads the width, the latent's channels and the kinds of blocks off a state.
    state = {"0.weight": torch.zeros(width, 3, 3, 3)}
    last = 2 + 3 * 4
    state[f"{last}.weight"] = torch.zeros(latent, width, 3, 3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TinyAutoencoder("random encoder of TAESD's shape", _build_encoder(state))


class TorchMatmul:
    """The float32 matrix product of torch: often faster than numpy's, so the better limit."""

    package = "torch"
    on_cpu = True

    def __init__(self, path: str, threads: int) -> None:
        import torch

        self._torch, self._threads = torch, threads
        self._left, self._right, self._product = torch.ones(3, MATMUL_SIDE, MATMUL_SIDE)
        self.name = f"torch {torch.__version__}, float32 product of side {MATMUL_SIDE}"

    def encode(self, image: np.ndarray) -> None:
        """Nothing to prepare."""

    def infer(self) -> None:
        """One product."""
        with torch_threads(self._threads):
            self._torch.mm(self._left, self._right, out=self._product)

    def decode(self) -> np.ndarray:
        """The product, which nobody looks at."""
        product: np.ndarray = self._product.numpy()
        return product
