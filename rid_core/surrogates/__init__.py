"""Surrogates: the frozen diffusion models whose encoders a defender is trained to disturb."""

from rid_core.surrogates.base import (
    DiffusionSurrogate,
    FeatureSurrogate,
    Surrogate,
    has_denoiser,
    moved,
    relative_shift,
)
from rid_core.surrogates.ensemble import Ensemble
from rid_core.surrogates.registry import (
    list_surrogates,
    load_surrogate,
    open_encoder,
    open_surrogate,
)
from rid_core.surrogates.tiny_autoencoder import distils

__all__ = [
    "DiffusionSurrogate",
    "Ensemble",
    "FeatureSurrogate",
    "Surrogate",
    "distils",
    "has_denoiser",
    "list_surrogates",
    "load_surrogate",
    "moved",
    "open_encoder",
    "open_surrogate",
    "relative_shift",
]
