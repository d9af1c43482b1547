"""Export a defender to ONNX, TFLite and Core ML, and prove the file."""

from rid_export.api import Results, export

__all__ = ["Results", "export"]
