"""Facts that are needed before numpy or a runtime is known to be there."""

from __future__ import annotations

PIP = {"tflite": "pip install ai-edge-litert", "onnx": "pip install onnxruntime"}
"""How to get the runtime of a format."""

MODULES = {
    "tflite": "ai_edge_litert.interpreter",
    "onnx": "onnxruntime",
    "matmul": "numpy",
    "copy": "numpy",
}
"""What an opener imports; before memory is measured, so that it does not count."""

MATMUL_SIDE = 1024
COPY_BYTES = 64 << 20
AMOUNT = {"matmul": MATMUL_SIDE**3, "copy": 2 * COPY_BYTES}
"""Of one repetition: multiply-adds, or bytes read and written."""
