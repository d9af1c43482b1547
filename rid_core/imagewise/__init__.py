"""The slow peers: protections that optimise every photo by itself, for comparison and for pairs."""
