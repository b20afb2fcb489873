"""Nearest upsampling and the 3 x 3 convolution after it as one transposed convolution.

A map that was doubled by repeating its pixels shows each of them up to four times to a 3 x 3
convolution. A transposed convolution of the small map, by a 4 x 4 kernel in which these repetitions
are summed, gives the same in four ninths of the operations. Training computes so, too
(`abbe.students.upsampling`).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class _Doubling(NamedTuple):
    """A convolution of a doubled map, and of what is joined to it where something is."""

    convolution: Any
    small: Any
    joined: Any | None


def join_upsampling(model: Any, shape: Sequence[int]) -> None:
    """Make such pairs of an ``openvino.Model`` one operation, in place.

    Args:
        model: The network; weights are constants.
        shape: (B, C, H, W) of an image that it takes, which tells what is doubled.
    """
    from openvino.utils import replace_node

    sized = model.clone()
    sized.reshape(list(shape))
    doubled = {each.get_friendly_name() for each in sized.get_ordered_ops() if _doubles(each)}
    for node in model.get_ordered_ops():
        found = _doubling(node, doubled)
        if found is not None:
            replace_node(node, _transposed(found))


def _doubles(node: Any) -> bool:
    """Whether it repeats each pixel of a (B, C, H, W) map twice in both directions."""
    if node.get_type_name() != "Interpolate":
        return False
    told = node.get_attributes()
    way = told["mode"], told["coordinate_transformation_mode"], told["nearest_mode"]
    before, after = (list(each.get_shape()) for each in (node.input(0), node.output(0)))
    twice = [*before[:2], *(2 * side for side in before[2:])]
    return way == ("nearest", "asymmetric", "floor") and len(before) == 4 and after == twice


def _doubling(node: Any, doubled: set[str]) -> _Doubling | None:
    """What a convolution sees, if that is a doubled map first."""
    if node.get_type_name() != "Convolution":
        return None
    told = node.get_attributes()
    plain = {"strides": [1, 1], "pads_begin": [1, 1], "pads_end": [1, 1], "dilations": [1, 1]}
    weights = node.input_value(1).get_node()
    if weights.get_type_name() != "Constant" or list(weights.get_output_shape(0)[2:]) != [3, 3]:
        return None
    if any(list(told[key]) != value for key, value in plain.items()):
        return None
    seen, joined = node.input_value(0), None
    if seen.get_node().get_type_name() == "Concat" and seen.get_node().get_input_size() == 2:
        if seen.get_node().get_attributes()["axis"] not in (1, -3):
            return None
        seen, joined = (seen.get_node().input_value(place) for place in (0, 1))
    if seen.get_node().get_friendly_name() not in doubled:
        return None
    return _Doubling(node, seen.get_node().input_value(0), joined)


def _transposed(found: _Doubling) -> Any:
    from openvino import opset13

    weights = found.convolution.input_value(1).get_node().data
    channels = found.small.get_partial_shape()[1].get_length()
    turned = weights[:, :channels, ::-1, ::-1].transpose(1, 0, 2, 3)
    for axis in (2, 3):
        before, after = [(0, 0)] * 4, [(0, 0)] * 4
        before[axis], after[axis] = (1, 0), (0, 1)
        turned = np.pad(turned, before) + np.pad(turned, after)
    name = found.convolution.get_friendly_name()
    whole = opset13.convolution_backprop_data(
        found.small, opset13.constant(turned), [2, 2], pads_begin=[1, 1], pads_end=[1, 1]
    )
    whole.set_friendly_name(f"{name}/doubled")
    if found.joined is None:
        return whole
    rest = opset13.constant(np.ascontiguousarray(weights[:, channels:]))
    beside = opset13.convolution(found.joined, rest, [1, 1], [1, 1], [1, 1], [1, 1])
    beside.set_friendly_name(f"{name}/joined")
    both = opset13.add(whole, beside)
    both.set_friendly_name(name)
    return both
