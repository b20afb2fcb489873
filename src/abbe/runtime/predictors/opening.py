"""Opens a package of any task: options of a run, and the network with its tile size."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict, Unpack

import numpy as np

from abbe.errors import ConfigError
from abbe.imaging import Image
from abbe.machine.threads import cores
from abbe.runtime.job import Block, Blocks, Job, Tools
from abbe.runtime.package import Package, PackageDescription, read_package
from abbe.runtime.package.engine import (
    Device,
    Engine,
    EngineName,
    Precision,
    check_options,
    open_engine,
)
from abbe.runtime.predictors.channels import channels_for
from abbe.runtime.tiling.cutting import may_be_slide
from abbe.runtime.tiling.work import Work

if TYPE_CHECKING:
    from abbe.runtime.tiling.tissue import Tissue


class RunOptions(TypedDict, total=False):
    """How a package is to be run; what is left out, or None, is as the package says or usual.

    Attributes:
        engine, precision, threads, device: See `open_engine`.
        tile: Side of the network's windows, px.
        workers: Tiles or small images in hand at a time; usually as many as there are cores.
    """

    engine: EngineName | None
    device: Device | None
    precision: Precision | None
    threads: int | None
    tile: int | None
    workers: int | None


@dataclass(frozen=True)
class OpenPackage:
    """A package that is ready to run.

    Attributes:
        engine: The network.
        tile: Side of the network's windows, px; a multiple of the package's divisor.
        workers: How many tiles or small images are in hand at a time.
    """

    engine: Engine
    tile: int
    workers: int

    @property
    def package(self) -> Package:
        """The package that the engine runs."""
        return self.engine.package

    def channels_of(self, image: Image) -> tuple[str, ...]:
        """The channels of an image that the package sees; see `channels_for`."""
        return channels_for(image, self.package.description.channels)

    def squares(self, image: Image, tools: Tools) -> "Tissue | None":
        """Where tissue is, of a slide that is not to be computed whole; see `squares_of`.

        Raises:
            InputError: There is none, or pixels cannot be read.
        """
        if tools.all_tiles or not may_be_slide(image):
            return None
        from abbe.runtime.tiling.tissue import kept, squares_of  # most images need none of it

        with tools.timings.measure("read"):
            return kept(tools.work, lambda: squares_of(image, tools.pool, 2 * self.workers))

    def seen(self, image: Image, work: Work) -> Image:
        """The image as the network is to see it: in other stains, where these are asked for.

        Its own are kept in the work, for they take looking all over it.

        Raises:
            InputError: It is no H&E, or cannot be read.
        """
        if image.stain is None:
            return image
        from abbe.imaging.stain import Stains, as_asked, stains_of_image  # most need none of it

        if not work.has("stains", compressed=True):
            found = stains_of_image(image)
            rows = np.column_stack([found.colours, found.most])
            work.put("stains", np.ascontiguousarray(rows), compress=True)
        first, second = work.get("stains", compressed=True).tolist()
        own = Stains((tuple(first[:3]), tuple(second[:3])), (first[3], second[3]))
        return as_asked(image, own)

    def blocks(self, image: Image, job: Job) -> Blocks:
        """None: images are computed whole."""
        return {}

    def compute(self, image: Image, job: Job, tools: Tools, block: Block) -> None:
        """Nothing is ever asked for: there are no blocks."""
        raise NotImplementedError(f"{self} has no blocks")

    def __str__(self) -> str:
        return f"{self.engine}, tile {self.tile} px"


def limits_of(
    image: Image, channels: tuple[str, ...], description: PackageDescription, work: Work
) -> np.ndarray:
    """(C, 2): what becomes 0 and 1 of an image's channels; kept, for it takes a whole slide.

    Args:
        image: The image.
        channels: Those that the network sees.
        description: Of the package.
        work: Of the image.
    """
    if not work.has("limits", compressed=True):
        found = description.normalisation.scaling.image_limits(image, channels)
        work.put("limits", np.asarray(found), compress=True)
    return work.get("limits", compressed=True)


def open_for(
    task: str,
    purpose: str,
    package: Package | str | os.PathLike[str],
    check_tile: Callable[[PackageDescription, int], object],
    **options: Unpack[RunOptions],
) -> tuple[Engine, int, int]:
    """The network of a package of this task, the side of its tiles, and how many to work on.

    Args:
        task: What the package must be for.
        purpose: What such packages do, for the message where it is not.
        package: The package or its folder.
        check_tile: Raises ConfigError where a tile does not fit the package.
        options: How to run it.

    Raises:
        ConfigError: The package is of another task; tile, engine or precision do not fit it.
        PackageError: It is damaged.
    """
    if not isinstance(package, Package):
        package = read_package(package)
    description = package.description
    if description.task != task:
        raise ConfigError(
            f"{package.folder}: this is a {description.task} package; {task} packages are what "
            f"{purpose}"
        )
    check_options(None, None, tile=options.get("tile"), workers=options.get("workers"))
    tile = options.get("tile") or description.tile
    check_tile(description, tile)
    workers = options.get("workers") or cores()
    engine = open_engine(
        package,
        engine=options.get("engine"),
        precision=options.get("precision"),
        threads=options.get("threads"),
        streams=workers,
        device=options.get("device"),
    )
    return engine, tile, workers
