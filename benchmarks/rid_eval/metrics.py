"""Metrics of protection as the field defines them, each with its source.

Of what an attacker gets: FDFR and ISM, the Frechet and the kernel distance of features. Of a
protected photo: JOD, latent shift, rise of the training loss, gradient norm. LPIPS has a
module of its own (:mod:`rid_eval.lpips`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rid_core.data import to_batch
from rid_core.errors import RidError
from rid_core.surrogates import DiffusionSurrogate, Surrogate, relative_shift
from rid_core.visibility import JOD
from rid_eval.results import Number

FEW = 2048
"""Samples below which a Frechet distance is mostly bias: the authors of FID ask for more."""


@dataclass(frozen=True)
class IdentityScore:
    """How much of a person is in samples; the two rules for samples without a face as a pair.

    Detection failure rate and identity score matching are those of Anti-DreamBooth (Van Le et al.,
    arXiv 2303.15433), there with RetinaFace and ArcFace. Published tables count found faces only,
    and a protection that ruins all samples but one is then judged by that one; the other rule
    counts a sample without a face as similarity 0. Neither is right alone.

    Attributes:
        samples: how many were judged.
        fdfr: share of samples without a face, 0 to 1.
        ism_found: mean cosine to the person over samples with a face; NaN if there are none.
        ism_zero: the same over all samples, 0 for those without a face.
        recognised: share of all samples that are above the judge's threshold.
    """

    samples: int
    fdfr: float
    ism_found: Number
    ism_zero: float
    recognised: float


def identity_score(
    embeddings: Sequence[np.ndarray | None], person: np.ndarray, threshold: float
) -> IdentityScore:
    """FDFR and ISM of samples.

    Args:
        embeddings: unit vectors [D] of the samples' faces, None where none was found.
        person: the mean direction of the person's clean reference photos, unit vector [D]
            (:func:`rid_eval.judges.template`).
        threshold: the judge's, of comparisons with a mean.

    Raises:
        RidError: no samples.
    """
    if not embeddings:
        raise RidError("no samples to judge; draw at least one")
    cosines = np.array([float(e @ person) for e in embeddings if e is not None])
    count = len(embeddings)
    return IdentityScore(
        samples=count,
        fdfr=1 - len(cosines) / count,
        ism_found=float(cosines.mean()) if len(cosines) else float("nan"),
        ism_zero=float(cosines.sum()) / count,
        recognised=float((cosines > threshold).sum()) / count,
    )


def jod(original: np.ndarray, changed: np.ndarray) -> float:
    """How visible a change is: :class:`rid_core.visibility.JOD` at 38 pixels per degree.

    Args:
        original: uint8 RGB [N, H, W, 3], sides of 32 pixels or more.
        changed: same shape.

    Returns:
        The mean over the images; 10 for no visible difference.

    Raises:
        MissingExtraError: ``cvvdp`` is not installed.
        RidError: images of different sizes.
    """
    with torch.inference_mode():
        return float(JOD()(to_batch(original), to_batch(changed)).mean())


def frechet_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Frechet distance of two Gaussians fitted to features (FID: Heusel et al., arXiv 1706.08500).

    FID is this on Inception-v3's pooled features; on those of another network it is no FID, and a
    report has to name the network. Few samples raise it: see :func:`few_samples`.

    Args:
        one: features [N, D], N of 2 or more.
        other: features [M, D].

    Raises:
        RidError: fewer than two samples on a side, or features of different lengths.
    """
    _check_features(one, other)
    means = [x.mean(axis=0) for x in (one, other)]
    spreads = [np.cov(x, rowvar=False).reshape(x.shape[1], x.shape[1]) for x in (one, other)]
    root = _square_root(spreads[0])
    # The trace of (S1 S2)^(1/2) is that of (S1^(1/2) S2 S1^(1/2))^(1/2), which is symmetric.
    mixed = np.linalg.eigvalsh(root @ spreads[1] @ root).clip(min=0)
    total = np.square(means[0] - means[1]).sum() + np.trace(spreads[0]) + np.trace(spreads[1])
    return float(total - 2 * np.sqrt(mixed).sum())


def kernel_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Squared maximum mean discrepancy, unbiased (KID: Binkowski et al., arXiv 1801.01401).

    The kernel is KID's, ``(x . y / D + 1)^3``; over all pairs rather than over random blocks of
    them. It has no bias at few samples, and may come out a little below zero.

    Args and errors are those of :func:`frechet_distance`.
    """
    _check_features(one, other)

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        products: np.ndarray = (x @ y.T / x.shape[1] + 1) ** 3
        return products

    def within(x: np.ndarray) -> float:
        products = kernel(x, x)
        return float((products.sum() - np.trace(products)) / (len(x) * (len(x) - 1)))

    return within(one) + within(other) - 2 * float(kernel(one, other).mean())


def few_samples(one: int, other: int) -> str | None:
    """What to say beside a Frechet distance of so many samples, or None."""
    least = min(one, other)
    if least >= FEW:
        return None
    return (
        f"{least} samples are few for a Frechet distance ({FEW} are asked for): it is biased "
        "upwards and compares only with others of the same numbers; the kernel distance is unbiased"
    )


def latent_shift(surrogate: Surrogate, clean: Tensor, protected: Tensor) -> float:
    """Relative latent shift, :func:`rid_core.surrogates.relative_shift`, mean over photos.

    Args:
        surrogate: whose encoder.
        clean: [B, 3, H, W] in [0, 1].
        protected: same shape.
    """
    with torch.no_grad():
        shift = relative_shift(surrogate.encode(clean), surrogate.encode(protected))
    return float(shift.mean())


def training_loss(
    surrogate: DiffusionSurrogate, photos: Tensor, draws: int = 8, seed: int = 0
) -> float:
    """The model's training loss on photos, mean over timesteps that are spread evenly.

    Args:
        surrogate: a whole diffusion model under its prompt.
        photos: [B, 3, H, W] in [0, 1].
        draws: timesteps per photo.
        seed: of the noise, which photos of one size and seed share.
    """
    with torch.no_grad():
        latent = surrogate.encode(photos)
        losses = [surrogate.denoising_loss(latent, noise, t).mean()
                  for noise, t in _draws(surrogate, latent, draws, seed)]  # fmt: skip
    return float(torch.stack(losses).mean())


def denoising_rise(
    surrogate: DiffusionSurrogate, clean: Tensor, protected: Tensor, seed: int = 0
) -> float:
    """How many times its clean value the model's training loss is on protected photos.

    The loss that AdvDM (Liang et al., arXiv 2302.04578) and Anti-DreamBooth raise, with the same
    noise and timesteps for both; see :func:`training_loss`. 1 is no effect.
    """
    protected_loss = training_loss(surrogate, protected, seed=seed)
    return protected_loss / training_loss(surrogate, clean, seed=seed)


def gradient_norm(
    surrogate: DiffusionSurrogate, photos: Tensor, draws: int = 8, seed: int = 0
) -> float:
    """Norm of the training loss' gradient with respect to a photo, mean over photos and draws.

    How steep the loss is where the photo lies: what AdvDM and ASPL climb, and what Xue et al.
    (arXiv 2311.12832) find to be weak through the denoiser and strong through the encoder.

    Args:
        surrogate: a whole diffusion model under its prompt.
        photos: [B, 3, H, W] in [0, 1].
        draws: timesteps per photo.
        seed: of the noise.

    Returns:
        In loss per unit of the [0, 1] range, L2 over all values of a photo.
    """
    leaf = photos.detach().clone().requires_grad_(True)
    latent = surrogate.encode(leaf)  # once: its activations serve all draws
    norms = []
    for noise, t in _draws(surrogate, latent.detach(), draws, seed):
        loss = surrogate.denoising_loss(latent, noise, t)
        (gradient,) = torch.autograd.grad(loss.sum(), leaf, retain_graph=True)
        norms.append(gradient.flatten(1).norm(dim=1).mean())
    return float(torch.stack(norms).mean())


def _draws(
    surrogate: DiffusionSurrogate, like: Tensor, draws: int, seed: int
) -> list[tuple[Tensor, Tensor]]:
    """Noise like the latent, and one timestep for all photos, from the middle of equal parts."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for number in range(draws):
        noise = torch.randn(like.shape, generator=generator).to(like)
        t = int(surrogate.timesteps * (number + 0.5) / draws)
        found.append((noise, torch.full((len(like),), t)))
    return found


def _check_features(one: np.ndarray, other: np.ndarray) -> None:
    if min(len(one), len(other)) < 2:
        raise RidError("a distance of distributions needs two samples or more on each side")
    if one.shape[1] != other.shape[1]:
        raise RidError(
            f"features of different networks: {one.shape[1]} and {other.shape[1]} values"
        )


def _square_root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    root: np.ndarray = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    return root
