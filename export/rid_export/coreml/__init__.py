"""What the Core ML target is made of: its graph, compressed weights, quantized activations.

Importing this package imports neither torch nor coremltools.
"""
