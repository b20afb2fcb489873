"""The networks of a package: torch to ONNX, OpenVINO and int8."""
