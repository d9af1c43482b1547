"""The slow peers: protections that optimise every photo by itself, for comparison and for pairs."""

from rid_core.imagewise.registry import get_method, list_methods, protect

__all__ = ["get_method", "list_methods", "protect"]
