"""The slices of layers as images for a package, and where results lie in the viewer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from abbe.errors import InputError
from abbe.imaging import Image, Region
from abbe.imaging.image import Contents, Levels, positive_size
from abbe.imaging.units import SQUARE_TOLERANCE, length
from abbe.napari.channels import Channel

if TYPE_CHECKING:
    from napari.components import Dims

Position = tuple[int, ...]
"""Which slice of a stack: an index for each axis before rows and columns; () of a plain image."""


@dataclass(frozen=True)
class LayerPixels:
    """One slice of some channels, read from their layers by region, at a level of the pyramid."""

    channels: tuple[Channel, ...]
    position: Position
    level: int = 0

    def read(self, region: Region, channels: Sequence[int]) -> np.ndarray:
        """Pixels of ``region``, (len(channels), height, width)."""
        rows, columns = slice(region.top, region.bottom), slice(region.left, region.right)
        chosen = [self.channels[index] for index in channels]
        return np.stack([each.read(self.position, rows, columns, self.level) for each in chosen])

    def coarser(self) -> Levels:
        """Those levels of the layers' pyramids that all have, and with the same slices."""
        found: Levels = []
        for level in range(1, min(len(channel.levels) for channel in self.channels)):
            shapes = {channel.shape_at(level) for channel in self.channels}
            (*stack, height, width), *others = shapes
            if others or tuple(stack) != self.channels[0].shape[:-2]:
                break
            load = partial(LayerPixels, self.channels, self.position, level)
            found.append(((height, width), load))
        return found


def slice_image(
    names: Sequence[str],
    channels: Sequence[Channel],
    position: Position,
    pixel_size: float | None,
) -> Image:
    """One slice as an image whose channels have the package's names; nothing is read yet.

    Raises:
        InputError: The pixel size is not above 0, or the pixels are no numbers.
    """
    layer = channels[0].layer
    height, width = channels[0].shape[-2:]
    pixels = LayerPixels(tuple(channels), position)
    dtype = np.result_type(*(channel.dtype for channel in channels))
    contents = Contents(
        (height, width), len(channels), dtype, lambda: pixels, coarser=pixels.coarser
    )
    return Image(layer.name, names, contents, pixel_size=positive_size(pixel_size, layer.name))


def all_positions(channel: Channel) -> list[Position]:
    """Every slice of a stack, in order."""
    return list(np.ndindex(channel.shape[:-2]))


def shown_position(channel: Channel, dims: Dims) -> Position:
    """The slice that the viewer shows.

    Raises:
        InputError: It shows three dimensions, other axes than rows and columns, or a place outside
            the layer.
    """
    layer, axes = channel.layer, channel.axes
    if len(axes) == 2:
        return ()
    shown = {axis + layer.ndim - dims.ndim for axis in dims.displayed}
    if shown != set(axes[-2:]):
        raise InputError(
            f"{layer.name}: Abbe finds objects in two dimensions, the last two of a layer, and the "
            "viewer shows others. Show these two, or choose all slices"
        )
    point = np.round(layer.world_to_data(dims.point)).astype(int)
    position = tuple(int(point[axis]) for axis in axes[:-2])
    if not all(0 <= at < size for at, size in zip(position, channel.shape, strict=False)):
        raise InputError(
            f"{layer.name}: the viewer shows no slice of this layer. Move its sliders, or choose "
            "all slices"
        )
    return position


def pixel_size_of(channel: Channel) -> float | None:
    """Side of a pixel in µm; None where the layer has no unit of length.

    Raises:
        InputError: Pixels are not square.
    """
    layer = channel.layer
    sides = [length(abs(float(layer.scale[at])), str(layer.units[at])) for at in channel.axes[-2:]]
    high, wide = sides
    if high is None or wide is None:
        return None
    if abs(high - wide) > SQUARE_TOLERANCE * (high + wide) / 2:
        raise InputError(
            f"{layer.name}: pixels are {wide:g} µm wide and {high:g} µm high, but Abbe needs "
            "square ones. Resample the image, or enter one pixel size"
        )
    return (high + wide) / 2


def placement(channel: Channel, first: Position) -> dict[str, Any]:
    """Where a result lies that begins at the slice ``first``: arguments for its layer.

    A single slice keeps the axes of its stack, so that it is shown at its place alone.
    """
    from napari.utils.transforms import CompositeAffine

    layer, axes = channel.layer, list(channel.axes)
    whole = CompositeAffine(
        scale=layer.scale, translate=layer.translate, rotate=layer.rotate, shear=layer.shear
    )
    corner = np.zeros(layer.ndim)
    corner[axes[:-2]] = first
    kept = whole.set_slice(axes)
    return {
        "scale": kept.scale,
        "translate": np.asarray(whole(corner))[axes],
        "rotate": kept.rotate,
        "shear": kept.shear,
        "affine": layer.affine.set_slice(axes),
        "units": tuple(layer.units[axis] for axis in axes),
        "axis_labels": tuple(layer.axis_labels[axis] for axis in axes),
    }
