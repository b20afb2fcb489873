"""Cuts an image into tiles as a package needs it, and decides whether it is resampled."""

from abbe.imaging import Image
from abbe.runtime.package import PackageDescription
from abbe.runtime.tiling.grid import Grid, scale_between


def grid_of(image: Image, description: PackageDescription, tile: int) -> Grid:
    """How an image is cut; its pixels are resampled where the package says which size.

    Raises:
        InputError: The package needs a pixel size and the image has none, or another by far.
    """
    return _cut(image.shape, scale_for(image, description), description, tile)


def scale_for(image: Image, description: PackageDescription) -> float:
    """px of the network for each px of the image.

    Raises:
        InputError: The package needs a pixel size and the image has none, or another by far.
    """
    return scale_to(image, description.pixel_size)


def scale_to(image: Image, pixel_size: float | None) -> float:
    """px at a network's pixel size for each px of the image; 1 where that is not known (None).

    Raises:
        InputError: The image has no pixel size, or another by far.
    """
    if pixel_size is None:
        return 1.0
    return scale_between(image.require_pixel_size(), pixel_size, image.source)


def check_tile(description: PackageDescription, tile: int) -> None:
    """Refuse tiles that do not fit a package that answers for pixels.

    Raises:
        ConfigError: The tile does not fit the package.
    """
    _cut((1, 1), 1.0, description, tile)


def _cut(shape: tuple[int, int], scale: float, description: PackageDescription, tile: int) -> Grid:
    halo = description.halo or description.divisor
    return Grid.of(shape, scale, description.divisor, tile, halo, description.margin)
