"""Boxes and points that were drawn over an image, as prompts, and the objects that they ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from abbe.errors import InputError
from abbe.napari.channels import Channel
from abbe.napari.slices import Position
from abbe.runtime.package import Package
from abbe.runtime.package.engine import Precision
from abbe.runtime.predictors.prompt_files import ObjectPrompt
from abbe.runtime.tiling.field import Labels

if TYPE_CHECKING:
    from napari.layers import Points, Shapes

    from abbe.imaging import Image

OBJECT, POSITIVE = "object", "positive"
"""Columns of a points layer's features: points of one object share a value; 0 is outside it."""


def prompts_in(
    layer: Points | Shapes, channel: Channel, position: Position
) -> tuple[ObjectPrompt, ...]:
    """The prompts on one slice of an image: a box around each shape, or points.

    Every point asks for an object of its own, unless the features have a column ``object``; a
    column ``positive`` says of each point whether it lies inside.

    Args:
        layer: Where they were drawn; it may be moved or scaled against the image.
        channel: The image.
        position: Its slice. A layer without the stack's axes is meant for all slices.

    Raises:
        InputError: A shape lies outside the image, or a value of ``positive`` is not 0 or 1.
    """
    from napari.layers import Shapes

    if isinstance(layer, Shapes):
        places = [_on_slice(layer, corners, channel, position) for corners in layer.data]
        shown = [(number, place) for number, place in enumerate(places) if place is not None]
        return tuple(_box(f"{layer.name}, shape {n}", place, channel) for n, place in shown)
    placed = [_on_slice(layer, point[None], channel, position) for point in np.asarray(layer.data)]
    return _objects(
        layer, [(n, each[0]) for n, each in enumerate(placed) if each is not None], channel
    )


def outline(
    package: Package,
    image: Image,
    prompts: Sequence[ObjectPrompt],
    advance: Callable[[float], None],
    *,
    precision: Precision | None = None,
    threads: int | None = None,
) -> Labels:
    """The objects of an image that prompts ask for, numbered in the order of these.

    Args:
        package: A promptable package.
        image: One slice, with the package's channels.
        prompts: What to ask for.
        advance: Told the share of the work that is newly done.
        precision, threads: See `abbe.runtime.predictors.promptable.PromptablePredictor`.

    Raises:
        AbbeError: All that the predictor raises.
    """
    from abbe.runtime.predictors.promptable import PromptablePredictor
    from abbe.runtime.predictors.prompted import as_field, prompted_labels

    ready = PromptablePredictor(package, precision=precision, threads=threads)
    return as_field(prompted_labels(ready, image, prompts, advance), len(prompts))


def _on_slice(
    layer: Any, places: np.ndarray, channel: Channel, position: Position
) -> np.ndarray | None:
    """Places (N, axes of the layer) as rows and columns (N, 2) of the image; None: other slice."""
    image = channel.layer
    world = np.array([layer.data_to_world(place) for place in places])
    inside = np.zeros(image.ndim)
    inside[list(channel.axes[:-2])] = position
    complete = np.tile(np.asarray(image.data_to_world(inside), float), (len(world), 1))
    shared = min(image.ndim, world.shape[1])
    complete[:, -shared:] = world[:, -shared:]
    pixels = np.array([image.world_to_data(place) for place in complete])
    if (np.round(pixels[:, list(channel.axes[:-2])]) != position).any():
        return None
    return pixels[:, list(channel.axes[-2:])]


def _box(name: str, corners: np.ndarray, channel: Channel) -> ObjectPrompt:
    """The part of a shape's box that lies on the image."""
    height, width = channel.shape[-2:]
    top, left = np.maximum(corners.min(axis=0), 0).tolist()
    bottom, right = np.minimum(corners.max(axis=0), (height, width)).tolist()
    if not (left < right and top < bottom):
        raise InputError(f"{name}: lies outside the image, or has no area. Move or remove it")
    return ObjectPrompt(name, box=(left, top, right, bottom))


def _objects(
    layer: Points, points: Sequence[tuple[int, np.ndarray]], channel: Channel
) -> tuple[ObjectPrompt, ...]:
    height, width = channel.shape[-2:]
    features = layer.features
    found: dict[Any, ObjectPrompt] = {}
    for number, (row, column) in points:
        name = f"{layer.name}, point {number}"
        key = features[OBJECT].iloc[number] if OBJECT in features else number
        inside = features[POSITIVE].iloc[number] if POSITIVE in features else 1
        if inside not in (0, 1):
            raise InputError(f"{name}: '{POSITIVE}' is {inside}; 1 (inside) or 0 is needed")
        prompt = found.setdefault(key, ObjectPrompt(name))
        prompt.points.append((_inside(column, width), _inside(row, height)))
        prompt.labels.append(int(inside))
    return tuple(found.values())


def _inside(place: float, size: int) -> float:
    """napari's pixels reach half a pixel beyond their centres, where the image still is."""
    return float(np.clip(place, 0, size - 1) if -0.5 <= place <= size - 0.5 else place)
