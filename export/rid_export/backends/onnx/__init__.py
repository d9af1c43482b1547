"""ONNX, for ONNX Runtime on servers, phones and in browsers."""
