"""A promptable package made by hand: it answers a box with that box, and a point with a disc."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from abbe.runtime.package import DESCRIPTION, describe_file

SIDE = 64
RADIUS = 8.0
"""Of the disc around a point, px of the square."""
_LOW = SIDE // 4


def make_prompt_package(
    make_package: Callable[..., Path], folder: Path, channels: tuple[str, ...] = ("nucleus",)
) -> Path:
    """A promptable package that sees one channel, as grey, or three colours."""
    make_package(folder, channels=channels)
    (folder / "model.onnx").unlink()
    onnx.save(_encoder(), folder / "encoder.onnx")
    onnx.save(_decoder(), folder / "decoder.onnx")
    roles = {"encoder_onnx": "encoder.onnx", "decoder_onnx": "decoder.onnx"}
    path = folder / DESCRIPTION
    values = json.loads(path.read_text()) | {
        "task": "promptable", "outputs": [], "image_size": [SIDE, SIDE], "tile": SIDE, "halo": 0,
        "three_channels": "grey" if len(channels) == 1 else "colour",
        "files": {role: describe_file(folder, name).model_dump() for role, name in roles.items()},
    }  # fmt: skip
    path.write_text(json.dumps(values))
    return folder


def _encoder() -> onnx.ModelProto:
    """The picture's mean in every one of 256 channels, at a sixteenth of its size."""
    weight = np.full((256, 3, 16, 16), 1 / 768, np.float32)
    node = helper.make_node("Conv", ["image", "weight"], ["image_embeddings"], strides=[16, 16])
    return _model(
        [node], {"image": ["B", 3, SIDE, SIDE]},
        {"image_embeddings": ["B", 256, SIDE // 16, SIDE // 16]}, {"weight": weight},
    )  # fmt: skip


def _decoder() -> onnx.ModelProto:
    """Logits: px to the nearest side of the box, or what is left of the radius around a point."""
    centres = (np.arange(_LOW, dtype=np.float32) + 0.5) * 4
    constants = {
        "x": np.tile(centres, _LOW)[None, None],
        "y": np.repeat(centres, _LOW)[None, None],
        "inside": np.float32(1), "first": np.float32(2), "last": np.float32(3),
        "square": np.float32(RADIUS**2), "one": np.int64(1), "zero": np.int64(0),
        "along": np.array([1], np.int64), "wide": np.array([2], np.int64),
        "picture": np.array([1, 1, _LOW, _LOW], np.int64),
        "four": np.array([1, 4, 1, 1], np.int64), "scores": np.ones((1, 4), np.float32),
    }  # fmt: skip
    nodes: list[onnx.NodeProto] = []

    def add(kind: str, inputs: list[str], output: str, **options: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **options))
        return output

    for name, axis in (("xs", "zero"), ("ys", "one")):
        add("Gather", ["point_coords", axis], name, axis=2)
    for name in ("inside", "first", "last"):
        add("Equal", ["point_labels", name], f"is_{name}")
        add("Cast", [f"is_{name}"], f"{name}_weights", to=TensorProto.FLOAT)
    sides = []
    for axis in ("x", "y"):
        for corner in ("first", "last"):
            add("Mul", [f"{axis}s", f"{corner}_weights"], f"{corner}_{axis}_part")
            add("ReduceSum", [f"{corner}_{axis}_part", "along"], f"{corner}_{axis}_sum", keepdims=1)
            add("Unsqueeze", [f"{corner}_{axis}_sum", "wide"], f"{corner}_{axis}")
        sides.append(add("Sub", [axis, f"first_{axis}"], f"from_{axis}"))
        sides.append(add("Sub", [f"last_{axis}", axis], f"to_{axis}"))
        add("Unsqueeze", [f"{axis}s", "wide"], f"{axis}_points")
        add("Sub", [axis, f"{axis}_points"], f"d{axis}")
        add("Mul", [f"d{axis}", f"d{axis}"], f"d{axis}2")
    add("Min", sides, "in_box")
    add("ReduceSum", ["last_weights", "along"], "boxes", keepdims=1)
    add("Unsqueeze", ["boxes", "wide"], "has_box")
    add("Mul", ["in_box", "has_box"], "if_box")
    add("Sub", ["has_box", "inside"], "minus_no_box")
    add("Mul", ["minus_no_box", "square"], "else_box")
    add("Add", ["if_box", "else_box"], "box_logits")
    add("Add", ["dx2", "dy2"], "distance")
    add("Sub", ["square", "distance"], "near")
    add("Unsqueeze", ["inside_weights", "wide"], "point_weights")
    add("Mul", ["near", "point_weights"], "if_point")
    add("Sub", ["point_weights", "inside"], "minus_no_point")
    add("Mul", ["minus_no_point", "square"], "else_point")
    add("Add", ["if_point", "else_point"], "near_points")
    add("ReduceMax", ["near_points"], "point_logits", axes=[1], keepdims=1)
    add("Max", ["box_logits", "point_logits"], "single")
    add("Reshape", ["single", "picture"], "mask")
    add("Expand", ["mask", "four"], "low_res_masks")
    # What is not looked at must be an input all the same, so it is added as nothing.
    for name in ("image_embeddings", "mask_input", "has_mask_input"):
        add("ReduceMax", [name], f"most_{name}", keepdims=0)
    add("Sum", [f"most_{n}" for n in ("image_embeddings", "mask_input", "has_mask_input")], "any")
    add("Sub", ["any", "any"], "nothing")
    add("Add", ["scores", "nothing"], "iou_predictions")
    inputs = {
        "image_embeddings": [1, 256, SIDE // 16, SIDE // 16], "point_coords": [1, "P", 2],
        "point_labels": [1, "P"], "mask_input": [1, 1, _LOW, _LOW], "has_mask_input": [1],
    }  # fmt: skip
    outputs = {"low_res_masks": [1, 4, _LOW, _LOW], "iou_predictions": [1, 4]}
    return _model(nodes, inputs, outputs, constants)


Shapes = Mapping[str, Sequence[int | str]]


def _model(
    nodes: list[onnx.NodeProto], inputs: Shapes, outputs: Shapes, constants: Mapping[str, Any]
) -> onnx.ModelProto:
    def ports(shapes: Shapes) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in shapes.items()
        ]

    graph = helper.make_graph(
        nodes, "by hand", ports(inputs), ports(outputs),
        [numpy_helper.from_array(np.array(v, order="C"), name) for name, v in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model
