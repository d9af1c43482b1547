"""Export a defender to ONNX, TFLite and Core ML, and prove the file."""
