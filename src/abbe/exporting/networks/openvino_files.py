"""ONNX files as OpenVINO networks."""

import re
from pathlib import Path
from typing import Any

from abbe.runtime.package.openvino_core import load_openvino


def convert(onnx: Path) -> Any:
    """An ONNX file as an ``openvino.Model``.

    Read by the runtime's own reader: OpenVINO's converter does the same and reports its use over
    the network.
    """
    return load_openvino().Core().read_model(onnx)


def save(model: Any, xml: Path) -> None:
    """Write an ``openvino.Model`` as .xml and .bin, its weights unrounded.

    Operations without a name are numbered by their place: OpenVINO numbers them through all that
    the process has loaded, so that no two files of a network would be alike.
    """
    for place, operation in enumerate(model.get_ordered_ops()):
        kind = operation.get_type_name()
        if re.fullmatch(rf"{kind}_\d+", operation.get_friendly_name()):
            operation.set_friendly_name(f"{kind}.{place}")
    load_openvino().save_model(model, xml, compress_to_fp16=False)
