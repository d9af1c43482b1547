"""The slow peers: protections that optimise every photo by itself, for comparison and for pairs."""

from rid_core.attacks import aspl as aspl  # registers itself
from rid_core.attacks import methods as methods  # register themselves
from rid_core.attacks.registry import get_method, list_methods, protect

__all__ = ["get_method", "list_methods", "protect"]
