"""ONNX files as OpenVINO networks."""

from pathlib import Path
from typing import Any


def convert(onnx: Path) -> Any:
    """An ONNX file as an ``openvino.Model``.

    Read by the runtime's own reader: OpenVINO's converter does the same and reports its use over
    the network.
    """
    import openvino

    return openvino.Core().read_model(onnx)


def save(model: Any, xml: Path) -> None:
    """Write an ``openvino.Model`` as .xml and .bin, its weights unrounded."""
    import openvino

    openvino.save_model(model, xml, compress_to_fp16=False)
