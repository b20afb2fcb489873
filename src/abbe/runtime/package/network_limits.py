"""Limits on what a network may ask for, checked before it is compiled or run.

A file of a few hundred bytes can ask for any amount of memory, or loop for years. So networks of
packages have no loops, and the sizes of all that they compute are worked out for the input that
they will be given.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from abbe.errors import PackageError
from abbe.files.onnx_contents import onnx_contents
from abbe.runtime.package.description import PackageDescription

LARGEST = 8 << 30
"""Bytes that a network may hold at a time, its weights left out."""
POINTS = 8
"""Points of a prompt, for which the sizes in a decoder of prompts are worked out."""

# Operations that run other operations again and again, or hold networks of their own.
_ONNX_LOOPS = frozenset(("If", "Loop", "Scan", "SequenceMap"))
_OPENVINO_LOOPS = frozenset(("If", "Loop", "TensorIterator", "LSTMSequence", "GRUSequence",
                             "RNNSequence", "AUGRUSequence"))  # fmt: skip


def refuse_onnx(path: Path) -> None:
    """Refuse an ONNX file with weights in other files, with loops, or with functions of its own.

    Functions that call functions grow by powers when they are put in their places.

    Raises:
        PackageError: It is such a file, or no ONNX file at all.
    """
    try:
        found = onnx_contents(path)
    except ValueError as error:
        raise PackageError(
            f"{path}: cannot be read as a network ({error}). Copy or export the package again"
        ) from error
    if found.outside:
        raise PackageError(
            f"{path}: its weights are stored in another file, which a package does not allow. "
            "Save the network as one file"
        )
    if loops := sorted(found.operations & _ONNX_LOOPS):
        raise PackageError(_LOOPS.format(path=path, names=", ".join(loops)))
    if found.functions:
        raise PackageError(
            f"{path}: it defines functions of its own, which a package does not allow. Save the "
            "network with its functions inlined (onnx.inliner)"
        )


def refuse_excess(model: Any, path: Path, description: PackageDescription) -> None:
    """Refuse a network that loops, or asks for more memory than is good for a machine.

    Args:
        model: An ``openvino.Model``; its inputs are given their sizes.
        path: Its file, for messages.
        description: Of its package.

    Raises:
        PackageError: See above; or its inputs have other shapes than the package says, or the
            sizes within it depend on more than that.
    """
    operations = model.get_ordered_ops()
    kinds = {operation.get_type_name() for operation in operations}
    if loops := sorted(kinds & _OPENVINO_LOOPS):
        raise PackageError(_LOOPS.format(path=path, names=", ".join(loops)))
    shapes = _input_shapes(model, description)
    try:
        model.reshape(shapes)
    except RuntimeError as error:
        raise PackageError(
            f"{path}: the network does not take what package.json promises, "
            f"{', '.join(map(str, shapes.values()))}. Export the run again"
        ) from error
    needed = most_held(model.get_ordered_ops(), path)
    limit = min(LARGEST, _memory_of_machine())
    if needed > limit:
        raise PackageError(
            f"{path}: for tiles of {description.tile} px the network would take "
            f"{needed / 2**30:,.1f} GiB of memory, and at most {limit / 2**30:.1f} GiB are given "
            "to one. Ask who made the package for a smaller network, or for smaller tiles"
        )


def most_held(operations: Sequence[Any], path: Path) -> int:
    """Bytes that are held at once where each array is freed after its last use.

    What does not depend on the input is computed beforehand and kept, so it counts to the end;
    constants of the file do not count.

    Raises:
        PackageError: The size of an array is not known.
    """
    last = {
        (source.get_node().get_instance_id(), source.get_index()): place
        for place, operation in enumerate(operations)
        for source in (port.get_source_output() for port in operation.inputs())
    }
    frees: dict[int, int] = {}
    depends: set[int] = set()
    held = most = 0
    for place, operation in enumerate(operations):
        kind, own = operation.get_type_name(), operation.get_instance_id()
        sources = (port.get_source_output().get_node() for port in operation.inputs())
        if kind == "Parameter" or any(each.get_instance_id() in depends for each in sources):
            depends.add(own)
        if kind == "Constant":
            continue
        for port in operation.outputs():
            size = _bytes(port, path)
            held += size
            end = last.get((own, port.get_index()), len(operations))
            if own in depends:
                frees[end] = frees.get(end, 0) + size
        most = max(most, held)
        held -= frees.pop(place, 0)
    return most


def _bytes(port: Any, path: Path) -> int:
    shape = port.get_partial_shape()
    if shape.is_dynamic:
        raise PackageError(
            f"{path}: the sizes within the network depend on the values of pixels, so nobody knows "
            "what it will take. Export it with fixed operations"
        )
    count = 1
    for side in shape:
        count *= side.get_length()
    return count * max(1, port.get_element_type().bitwidth // 8)


def _input_shapes(model: Any, description: PackageDescription) -> dict[str, list[int]]:
    side = description.image_size or (description.tile, description.tile)
    image = [1, len(description.channels), *side]
    if not description.traits.prompted:
        return {port.get_any_name(): image for port in model.inputs[:1]}
    grid = side[0] // 16
    known = {
        "image": [1, 3, *side],
        "image_embeddings": [1, 256, grid, grid],
        "point_coords": [1, POINTS, 2],
        "point_labels": [1, POINTS],
        "mask_input": [1, 1, 4 * grid, 4 * grid],
        "has_mask_input": [1],
    }
    names = [port.get_any_name() for port in model.inputs]
    return {name: known[name] for name in names if name in known}


def _memory_of_machine() -> int:
    """Bytes; more than any where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 1 << 62


_LOOPS = (
    "{path}: the network has operations that repeat others or choose between them ({names}), which "
    "a package does not allow: nobody knows when they end. Export it without"
)
