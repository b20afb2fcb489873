"""Networks as teachers: ONNX, bioimage.io, torch modules."""
