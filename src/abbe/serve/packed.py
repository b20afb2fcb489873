"""Arrays in an answer: JSON with places for them, then their bytes, as the page reads them."""

import json
import struct
from typing import Any

import numpy as np

KINDS = {
    "uint8": "Uint8", "uint16": "Uint16", "uint32": "Uint32", "int8": "Int8", "int16": "Int16",
    "int32": "Int32", "float32": "Float32", "float64": "Float64",
}  # fmt: skip
"""JavaScript's typed arrays by NumPy's names."""
_EVEN = 8


def packed(value: Any) -> bytes:
    """The bytes of a value of dicts, lists, texts, numbers and arrays.

    Four bytes with the length of the JSON text, the text, and the arrays, each from a place
    divisible by eight: {"kind", "start", "length"} stands for one in the text, ``start`` counted
    from the first such place behind the text. Little-endian throughout.
    """
    arrays: list[bytes] = []
    size = 0

    def placed(array: np.ndarray) -> dict[str, Any]:
        nonlocal size
        array = plain(array)
        data = array.astype(array.dtype.newbyteorder("<")).tobytes()
        place = {"kind": KINDS[array.dtype.name], "start": size, "length": array.size}
        arrays.append(data + bytes(-len(data) % _EVEN))
        size += len(arrays[-1])
        return place

    def walked(each: Any) -> Any:
        if isinstance(each, np.ndarray):
            return placed(each)
        if isinstance(each, dict):
            return {key: walked(part) for key, part in each.items()}
        if isinstance(each, list | tuple):
            return [walked(part) for part in each]
        return each

    text = json.dumps(walked(value)).encode()
    head = struct.pack("<I", len(text)) + text
    return b"".join([head + bytes(-len(head) % _EVEN), *arrays])


def plain(array: np.ndarray) -> np.ndarray:
    """The same in a type that JavaScript has: of 64-bit numbers and half floats floats."""
    if array.dtype.name in KINDS:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8)
    return array.astype(np.float32 if array.dtype == np.float16 else np.float64)
