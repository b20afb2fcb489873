"""A package made by hand, so that running can be tested without training.

Its network is no student: a 5 × 5 mean of the first channel, cut at half brightness, and where
that mean changes fast for the boundary. It looks 3 px far, so tiles must give what the whole image
gives.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from abbe.runtime.package import (
    InstanceRule,
    Lineage,
    Normalisation,
    PackageDescription,
    describe_file,
    write_description,
)

LINEAGE = Lineage(
    teacher="none",
    weights_licence="none needed",
    training_data_licence="none needed",
    dataset="none",
    dataset_licence="none needed",
    recipe="made by hand",
    run="none",
    stand_in=True,
)


def brightness_network(channels: int = 1, outputs: int = 2) -> onnx.ModelProto:
    """(B, C, H, W) → logits (B, K, H, W): bright and, with two outputs, where that changes."""
    mean = np.zeros((1, channels, 5, 5), np.float32)
    mean[0, 0] = 1 / 25
    sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float32) / 8
    weights = {
        "mean": mean,
        "slopes": np.stack([sobel, sobel.T])[:, None],
        "gain": np.float32(20),
        "half": np.float32(0.5),
        "steep": np.float32(0.12),
        "axis": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("Conv", ["image", "mean"], ["smooth"], pads=[2, 2, 2, 2]),
        helper.make_node("Sub", ["smooth", "half"], ["above"]),
        helper.make_node("Mul", ["above", "gain"], ["bright" if outputs == 2 else "logits"]),
    ]
    if outputs == 2:
        nodes += [
            helper.make_node("Conv", ["smooth", "slopes"], ["gradient"], pads=[1, 1, 1, 1]),
            helper.make_node("Abs", ["gradient"], ["steepness"]),
            helper.make_node("ReduceSum", ["steepness", "axis"], ["slope"], keepdims=1),
            helper.make_node("Sub", ["slope", "steep"], ["edge"]),
            helper.make_node("Mul", ["edge", "gain"], ["boundary"]),
            helper.make_node("Concat", ["bright", "boundary"], ["logits"], axis=1),
        ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["B", channels, "H", "W"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", outputs, "H", "W"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def one_convolution(weight: np.ndarray, bias: np.ndarray, pool: bool) -> onnx.ModelProto:
    """(B, C, H, W) → logits (B, K, H, W) by a convolution, or (B, K): their mean."""
    weights = {"weight": weight.astype(np.float32), "bias": bias.astype(np.float32)}
    pad, (count, channels) = weight.shape[-1] // 2, weight.shape[:2]
    maps = "maps" if pool else "logits"
    nodes = [helper.make_node("Conv", ["image", "weight", "bias"], [maps], pads=[pad] * 4)]
    if pool:
        nodes += [
            helper.make_node("GlobalAveragePool", ["maps"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["logits"]),
        ]
    sizes = ["B", count] if pool else ["B", count, "H", "W"]
    graph = helper.make_graph(
        nodes,
        "by hand",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["B", channels, "H", "W"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, sizes)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


REGIONS = ("background", "grey", "bright")
LEVELS = np.array([0.0, 0.45, 1.0])


def region_network(channels: int = 1) -> onnx.ModelProto:
    """The class of each pixel is the level that its 5 × 5 mean is nearest to."""
    weight = (
        np.full((3, channels, 5, 5), 1 / 25 / channels) * (60 * 2 * LEVELS)[:, None, None, None]
    )
    return one_convolution(weight, -60 * LEVELS**2, pool=False)


def make_region_package(folder: Path, **changes: Any) -> Path:
    """A package of three classes by brightness."""
    network = region_network(len(changes.get("channels", "1")))
    values: dict[str, Any] = {
        "network": network, "format": 2, "task": "regions", "outputs": (),
        "classes": REGIONS, "instances": InstanceRule(rule="components", minimum_area=1),
    }  # fmt: skip
    return make_package(folder, **(values | changes))


CLASSES = ("mostly dark", "mostly bright")


def make_class_package(folder: Path, **changes: Any) -> Path:
    """A package that tells dark tiles from bright ones."""
    channels = len(changes.get("channels", "1"))
    weight = np.array([-30.0, 30.0])[:, None, None, None].repeat(channels, 1) / channels
    network = one_convolution(weight, np.array([12.0, -12.0]), pool=True)
    values: dict[str, Any] = {
        "network": network, "format": 2, "task": "classification", "outputs": (),
        "classes": CLASSES, "halo": 0, "tile": 64, "divisor": 1,
        "normalisation": Normalisation(kind="tile_percentile"),
    }  # fmt: skip
    return make_package(folder, **(values | changes))


def make_package(
    folder: Path,
    *,
    channels: tuple[str, ...] = ("nucleus",),
    outputs: tuple[str, ...] = ("foreground", "boundary"),
    pixel_size: float | None = None,
    tile: int = 128,
    halo: int = 32,
    network: onnx.ModelProto | None = None,
    **changes: object,
) -> Path:
    """Write a package and give its folder."""
    folder.mkdir(parents=True)
    onnx.save(network or brightness_network(len(channels), len(outputs)), folder / "model.onnx")
    description = PackageDescription(
        abbe="0.1.0",
        name="brightness",
        title="Bright blobs",
        task="segmentation",
        architecture="by hand",
        channels=channels,
        pixel_size=pixel_size,
        divisor=16,
        tile=128,
        halo=32,
        outputs=("foreground",),
        instances=InstanceRule(minimum_area=10),
        files={"onnx": describe_file(folder, "model.onnx")},
        lineage=LINEAGE,
    )
    values = {"outputs": outputs, "tile": tile, "halo": halo} | changes
    write_description(folder, description.model_copy(update=values))
    return folder


def blobs(height: int, width: int, seed: int = 0, radius: int = 9) -> np.ndarray:
    """(H, W) uint16: about one bright disc for each 40 × 40 px, some of them touching."""
    random = np.random.default_rng(seed)
    image = random.integers(500, 1500, (height, width)).astype(np.uint16)
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    for _ in range(max(1, height * width // 1600)):
        y, x = random.integers(0, height), random.integers(0, width)
        disc = np.hypot(rows, columns) <= random.uniform(0.5, 1) * radius
        inside_y, inside_x = rows[disc] + y, columns[disc] + x
        kept = (inside_y >= 0) & (inside_y < height) & (inside_x >= 0) & (inside_x < width)
        image[inside_y[kept], inside_x[kept]] = random.integers(20000, 30000)
    return image


def slide_types(folder: Path, types: tuple[str, ...], *, bias: float = 0.0, **changes: Any) -> Path:
    """A package for `made_dicom.nuclei_slide`: dark in green is a nucleus, red tells its type."""
    weight = np.zeros((3, 3, 1, 1))
    weight[:, :, 0, 0] = [[0, -40, 0], [40, 0, 0], [-40, 0, 0]]
    network = one_convolution(weight, np.array([16.0 + bias, -20, 20]), pool=False)
    values: dict[str, Any] = {
        "network": network, "outputs": ("foreground", *(f"type:{name}" for name in types)),
        "classes": types, "channels": ("red", "green", "blue"),
        "normalisation": Normalisation(kind="range"),
    }  # fmt: skip
    return make_package(folder, **(values | changes))
