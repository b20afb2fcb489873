"""Cuts an image into tiles as a package needs it, and decides whether it is resampled."""

import math

from abbe.errors import ConfigError
from abbe.imaging import Diameter, Image, slide_of
from abbe.imaging.channels import RGB
from abbe.imaging.units import possible
from abbe.runtime.package import PackageDescription
from abbe.runtime.tiling.grid import Grid, scale_between, scale_by_diameter

_SLIDE = 1000.0
"""µm; smaller images without a pyramid are cut-outs, whose every place was chosen by someone."""


def grid_of(image: Image, description: PackageDescription, tile: int) -> Grid:
    """How an image is cut; its pixels are resampled where the package says which size.

    Raises:
        InputError: The package needs a pixel size and the image has none, or another by far.
    """
    return _cut(image.shape, scale_for(image, description), description, tile)


def scale_for(image: Image, description: PackageDescription) -> float:
    """px of the network for each px of the image.

    Pixel sizes that are known on both sides go first; then the diameter of the objects in the
    image, as the user says it; one that is still to be estimated counts as the package's.

    Raises:
        InputError: The package needs a pixel size and the image has neither that nor a diameter,
            or one of them is another by far.
    """
    trained = description.object_diameter
    if goes_by_diameter(image, description) and trained is not None:
        measured = trained if image.diameter == "auto" else image.diameter
        assert isinstance(measured, float)
        return scale_by_diameter(measured, trained, image.source)
    return scale_to(image, description.pixel_size)


def goes_by_diameter(image: Image, description: PackageDescription) -> bool:
    """Whether an image's scale is told by its objects, and not by pixel sizes."""
    calibrated = image.pixel_size is not None and description.pixel_size is not None
    return image.diameter is not None and not calibrated


def may_be_slide(image: Image) -> bool:
    """Whether an image is a slide of stained tissue, as far as its tables tell; no pixel is read.

    It is in red, green and blue of 8 bits, its pixel size is known, and it has a pyramid or
    measures 1 mm or more in height and width.
    """
    if image.channels != RGB or image.dtype.name != "uint8" or image.pixel_size is None:
        return False
    return min(image.shape) * image.pixel_size >= _SLIDE or len(slide_of(image).levels) > 1


def check_scale(
    pixel_size: float | None, override_pixel_size: float | None, diameter: Diameter | None
) -> None:
    """Refuse two answers to how large things are, and sizes that nothing has.

    Raises:
        ConfigError: Naming the options.
    """
    if pixel_size is not None and override_pixel_size is not None:
        raise ConfigError(
            "--pixel-size fills in where files do not say, --override-pixel-size goes before what "
            "they say: give one of them"
        )
    for option, size in (
        ("--pixel-size", pixel_size),
        ("--override-pixel-size", override_pixel_size),
    ):
        if size is not None and not possible(size):
            raise ConfigError(f"{option} {size:g}: no pixel is so wide. Give µm, such as 0.5")
    if diameter is None:
        return
    if pixel_size is not None or override_pixel_size is not None:
        raise ConfigError(
            "--diameter is for images whose pixel size nobody knows: give it or a pixel size, not "
            "both"
        )
    if diameter != "auto" and not 0 < diameter < math.inf:
        raise ConfigError(f"--diameter {diameter}: give px across, above 0, or auto")


def check_diameter(description: PackageDescription, given: bool) -> None:
    """Refuse a diameter for a package that cannot do anything with it.

    Raises:
        ConfigError: It does not find objects, or does not say how large those were that it was
            trained on.
    """
    if not given:
        return
    if not description.traits.finds_objects:
        raise ConfigError(
            f"--diameter: is for packages that find objects; this is a {description.task} "
            "package. Give --pixel-size, or leave it out"
        )
    if description.object_diameter is None:
        raise ConfigError(
            "--diameter: the package does not say how large the objects were that it was trained "
            "on (object_diameter). Export its run again with this version, or give --pixel-size"
        )


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
