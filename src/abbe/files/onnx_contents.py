"""What an ONNX file is made of, read from its protobuf without any library.

Enough of https://protobuf.dev/programming-guides/encoding and onnx.proto to find every tensor, in
graphs, the graphs inside their operations, functions and training, however the numbers in front of
it are written: the same number can be written with more bytes than it needs.
"""

import math
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DEEPEST = 64
"""Graphs within graphs; libraries stop at 100 levels of messages."""

# The fields of onnx.proto that lead to a tensor or an operation, by message and number.
_INSIDE: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse",
    },
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external"},
}  # fmt: skip
_OPERATION = 4  # of a node
_DIMENSIONS = 1  # of a tensor, in one field each or packed
_DATA_LOCATION = 14  # of a tensor: 0, or 1 for data elsewhere
_KEY, _VALUE = 1, 2  # of an entry that says where


@dataclass
class OnnxContents:
    """What an ONNX file holds.

    Attributes:
        operations: Names of the operations, in whatever graph.
        functions: How many functions of its own it defines.
        numbers: How many numbers its tensors hold, those of training apart.
        outside: Names of the files that tensors lie in; "" where a tensor lies elsewhere and no
            file is named.
    """

    operations: set[str] = field(default_factory=set)
    functions: int = 0
    numbers: int = 0
    outside: set[str] = field(default_factory=set)


def onnx_contents(model: Path | bytes) -> OnnxContents:
    """Read a file, or its contents.

    Raises:
        ValueError: It is no protobuf, or cut off.
        OSError: It cannot be read.
    """
    found = OnnxContents()
    if isinstance(model, bytes):
        _walk(memoryview(model), "model", found, 0)
        return found
    with open(model, "rb") as file:
        if not file.read(1):
            raise ValueError("the file is empty")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    # Not closed, which views forbid, but let go of: the profiler of dask's workers holds frames,
    # and so views, a moment longer than they last.
    _walk(memoryview(mapped), "model", found, 0)
    return found


def _walk(data: memoryview, message: str, found: OnnxContents, depth: int) -> None:
    if depth > _DEEPEST:
        raise ValueError("its graphs are nested too deeply")
    inside = _INSIDE[message]
    elsewhere = False
    elements = 1
    for number, kind, value in _fields(data):
        if message == "node" and number == _OPERATION and isinstance(value, memoryview):
            found.operations.add(_text(value))
        elif message == "tensor" and number == _DATA_LOCATION and kind == _VARINT:
            elsewhere = elsewhere or value != 0  # any but 0: readers keep the lower bits alone
        elif message == "tensor" and number == _DIMENSIONS:
            elements *= math.prod(_numbers(value))
        if number not in inside or not isinstance(value, memoryview):
            continue
        with value:
            if inside[number] == "external":
                elsewhere = True
                found.outside.update(_named(value))
            else:
                found.functions += inside[number] == "function"
                before = found.numbers
                _walk(value, inside[number], found, depth + 1)
                if inside[number] == "training":
                    found.numbers = before
    if message == "tensor":
        found.numbers += elements
    if elsewhere and not found.outside:
        found.outside.add("")


def _named(entry: memoryview) -> Iterator[str]:
    """The file that an entry names; others say where in it."""
    entries = list(_fields(entry))
    keys = [_text(value) for number, _, value in entries
            if number == _KEY and isinstance(value, memoryview)]  # fmt: skip
    if "location" in keys:
        for number, _, value in entries:
            if number == _VALUE and isinstance(value, memoryview):
                yield _text(value)


def _text(value: memoryview) -> str:
    return bytes(value[:4096]).decode("utf-8", "replace")


def _numbers(value: int | memoryview) -> Iterator[int]:
    """Of a field of whole numbers: the one that stands in it, or those packed into it."""
    if isinstance(value, int):
        yield value
        return
    place = 0
    while place < len(value):
        number, place = _varint(value, place, 10)
        yield number


def _fields(data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Number, kind and value of each field; values of fixed length are passed over as 0."""
    place, end = 0, len(data)
    while place < end:
        tag, place = _varint(data, place, 5)
        number, kind = (tag & 0xFFFFFFFF) >> 3, tag & 7
        value: int | memoryview = 0
        if kind == _VARINT:
            value, place = _varint(data, place, 10)
        elif kind == _BYTES:
            length, place = _varint(data, place, 5)
            value, place = data[place : place + length], place + length
        elif kind in (_FIXED64, _FIXED32):
            place += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"a field of kind {kind} is in it")
        if number == 0 or place > end:
            raise ValueError("it is cut off or damaged")
        yield number, kind, value


def _varint(data: memoryview, place: int, most: int) -> tuple[int, int]:
    """A number of at most so many bytes, low bits first, and the place behind it."""
    value = 0
    for count in range(most):
        if place + count >= len(data):
            raise ValueError("it is cut off")
        byte = data[place + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, place + count + 1
    raise ValueError("a number in it is too long")
