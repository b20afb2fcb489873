"""Brings whole images to the pixel size of a network, and its maps back."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import PIL.Image

from abbe.imaging import Image, Region
from abbe.imaging.image import Contents
from abbe.imaging.slide import Reduced
from abbe.runtime.tiling.cutting import scale_to
from abbe.runtime.tiling.grid import Grid
from abbe.runtime.tiling.sampling import level_to_read, read_window


def seen_at(image: Image, pixel_size: float | None) -> Grid:
    """The image as one tile at a network's pixel size in µm; as it is where that is None.

    Raises:
        InputError: The image has no pixel size, or another by far.
    """
    return whole(image.shape, scale_to(image, pixel_size))


def whole(shape: tuple[int, int], scale: float) -> Grid:
    """An image as one tile; ``scale``: px of the network for each px of the image."""
    longest = max(3, *(round(side * scale) for side in shape))
    return Grid.of(shape, scale, 1, longest, 1)


def reader(
    image: Image, channels: Sequence[str], limits: np.ndarray, grid: Grid
) -> Callable[[Region], np.ndarray]:
    """What reads regions, in px of the network: (C, h, w) float32, normalised and resampled.

    Args:
        image: The image.
        channels: Channels to read, in order.
        limits: (C, 2) what becomes 0 and 1 of these.
        grid: As `seen_at` gives it.
    """
    source = level_to_read(image, grid)
    return partial(read_window, source, tuple(channels), limits, grid)


def resampled(image: Image, pixel_size: float | None) -> Image:
    """The image at a pixel size in µm, its values as stored; itself where they are alike.

    Raises:
        InputError: The image has no pixel size, or another by far.
    """
    grid = seen_at(image, pixel_size)
    if not grid.scaled:
        return image
    step = image.shape[0] / grid.shape[0] if image.shape[0] > 1 else image.shape[1] / grid.shape[1]
    load = partial(Reduced, image, step)
    contents = Contents(grid.shape, len(image.channels), image.dtype, load)
    return Image(image.name, image.channels, contents, pixel_size=pixel_size, source=image.source)


def to_shape(maps: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Maps (K, h, w) float32 at another size, (K, H, W): linear, averaged where reduced."""
    if maps.shape[1:] == shape:
        return maps
    size = shape[1], shape[0]
    method = PIL.Image.Resampling.BILINEAR
    planes = [
        PIL.Image.fromarray(np.asarray(each, np.float32)).resize(size, method) for each in maps
    ]
    return np.stack([np.asarray(plane) for plane in planes])
