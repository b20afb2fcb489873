"""ONNX files half as large: weights stored in 16 bits, everything computed in 32."""

from pathlib import Path

import numpy as np

from abbe.files import atomic_path

LEAST = 256
"""Smaller tensors are left as they are: sizes, slopes, biases."""


def halve_weights(path: Path) -> None:
    """Store the large weights of an ONNX file as float16, each followed by a cast to float32.

    Engines undo the casts when they compile. A weight is rounded to 11 significant bits, a
    relative error of 5e-4 at most. Tensors that float16 cannot hold (above 65504) stay as they are.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(path)
    graph, casts = model.graph, []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            halved = values.astype(np.float16)
        if values.size < LEAST or not np.isfinite(halved).all():
            continue
        name, stored = tensor.name, f"{tensor.name}.float16"
        tensor.CopyFrom(numpy_helper.from_array(halved, stored))
        casts.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
    for cast in reversed(casts):
        graph.node.insert(0, cast)
    onnx.checker.check_model(model)
    with atomic_path(path) as temporary:
        temporary.write_bytes(model.SerializeToString())
