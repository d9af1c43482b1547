"""RID: a network that protects a portrait from diffusion-model personalization in one pass.

``import rid_core`` is cheap: torch is imported by the modules that compute.
"""

from rid_core._version import __version__

__all__ = ["__version__"]
