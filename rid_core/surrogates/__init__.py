"""Surrogates: the frozen diffusion models whose encoders a defender is trained to disturb."""

from rid_core.surrogates.base import Surrogate, relative_shift
from rid_core.surrogates.registry import list_surrogates, load_surrogate

__all__ = ["Surrogate", "list_surrogates", "load_surrogate", "relative_shift"]
