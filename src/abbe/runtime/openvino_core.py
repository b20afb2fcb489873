"""OpenVINO, safe to be called by several threads."""

from threading import Lock
from typing import Any

import numpy as np

_FIRST = Lock()


def openvino_core() -> Any:
    """An ``openvino.Core``, with what its Python side fills at first use filled already.

    The tables of element types in openvino 2026.4 are made when first looked into, by code that
    gives up Python's lock on the way. A second thread that looks then waits for the table, with
    Python's lock in hand, and the first for the lock: both wait for ever.
    """
    import openvino

    with _FIRST:
        tensor = openvino.Tensor(np.zeros(1, np.float32))
        tensor.element_type.to_dtype()
        _ = tensor.data
    return openvino.Core()
