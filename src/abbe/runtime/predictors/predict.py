"""Run a package of any task on one image, from a file or an array."""

import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from abbe.errors import AbbeWarning, ConfigError, InputError
from abbe.foreign_text import shown
from abbe.imaging import Diameter, Image, open_image
from abbe.runtime.job import Predictor, Tools
from abbe.runtime.package import Package, read_package
from abbe.runtime.package.engine import Device, EngineName, Precision
from abbe.runtime.predictors.stain_like import stain_of
from abbe.runtime.predictors.tasks import open_predictor
from abbe.runtime.tiling.cutting import check_diameter, check_scale
from abbe.runtime.tiling.executors import Inline
from abbe.runtime.tiling.timing import Timings
from abbe.runtime.tiling.work import Work
from abbe.runtime.tiling.workers import shape_of, useful_workers


def predict(
    package: Package | Predictor | str | os.PathLike[str],
    image: Image | ArrayLike | str | os.PathLike[str],
    *,
    channels: Sequence[str] | None = None,
    pixel_size: float | None = None,
    override_pixel_size: float | None = None,
    diameter: Diameter | None = None,
    all_tiles: bool = False,
    stain_like: str | os.PathLike[str] | None = None,
    engine: EngineName | None = None,
    precision: Precision | None = None,
    tile: int | None = None,
    workers: int | None = None,
    device: Device | None = None,
) -> np.ndarray:
    """What a package says of one image.

    Args:
        package: A package, its folder, or an open one, of `abbe.runtime.predictor` or
            `abbe.runtime.predictors.tasks.open_predictor` (quicker for many images).
        image: A path, an `abbe.imaging.Image`, or an array (H, W) or (C, H, W), or what NumPy makes
            one of.
        channels: Names of all the image's channels, where it has none or others than the package;
            an array with as many channels as the package sees has the package's.
        pixel_size: µm per px, where the image does not say; where a file says otherwise, the
            file's is taken and a warning says so.
        override_pixel_size: µm per px, whatever a file says.
        diameter: px across of the image's objects, or "auto" to have it estimated; tells the scale
            of an image where pixel sizes do not.
        all_tiles: Compute glass, ink and blur of a slide, too; see `abbe.runtime.tiling.tissue`.
        stain_like: "package" or an image in whose stains H&E is shown to the network; see
            `abbe.runtime.predictors.stain_like`.
        engine, precision, tile, workers: See `predictor`.
        device: cpu, cuda or gpu; see `abbe.runtime.package.engine.open_engine`.

    Returns:
        Of a segmentation package (H, W) int32: 0 = background, objects 1…n in reading order of
        their first pixel. Of a regions package (H, W) int32: the number of each pixel's class. Of a
        classification package (K,) float32: the probability of each class, for an image of several
        tiles the mean of theirs.

    Raises:
        InputError: The image cannot be read, or lacks a channel or a pixel size.
        PackageError: The package is damaged.
        ConfigError: The options do not fit the package, or it needs prompts.
    """
    asked = {
        "engine": engine, "precision": precision, "tile": tile, "workers": workers,
        "device": device,
    }  # fmt: skip
    if isinstance(package, Package):  # which is a path, too, and is taken as it was read
        pass
    elif isinstance(package, str | os.PathLike):
        package = read_package(package)
    else:
        for option, value in asked.items():
            if value is not None:
                raise ConfigError(
                    f"{option}: this package runs as it was opened. Give the option to "
                    "what opened it, or give the package's folder here"
                )
    described = package if isinstance(package, Package) else package.package
    if described.description.traits.prompted:
        raise ConfigError(
            f"{described.folder}: this is a promptable package, which must be shown each object: "
            "use abbe.PromptablePredictor, or abbe predict --prompts"
        )
    check_scale(pixel_size, override_pixel_size, diameter)
    check_diameter(described.description, diameter is not None)
    opened = _opened(
        image, described.description.channels, channels, pixel_size, override_pixel_size
    )
    if diameter is not None:
        opened = opened.with_diameter(diameter if diameter == "auto" else float(diameter))
    opened = opened.with_stain(stain_of(described, stain_like))
    if isinstance(package, Package):
        if workers is None:
            shape = shape_of(opened, package.description)
            workers = useful_workers([shape], tile or package.description.tile)
        package = open_predictor(
            package, engine=engine, precision=precision, tile=tile, workers=workers, device=device
        )
    with threads_for(package, opened) as pool, tempfile.TemporaryDirectory() as folder:
        work = Work(None if isinstance(pool, Inline) else Path(folder) / "work")
        tools = Tools(pool, work, Timings(), lambda share: None, all_tiles=all_tiles)
        return package.predict(opened, tools)


@contextmanager
def threads_for(predictor: Predictor, image: Image) -> Iterator[Executor]:
    """Threads for the tiles of an image; none where it has only one tile."""
    if predictor.tiles(image) == 1:
        yield Inline()
        return
    with ThreadPoolExecutor(predictor.workers) as pool:
        yield pool


def _opened(
    image: Image | ArrayLike | str | os.PathLike[str],
    input_channels: tuple[str, ...],
    channels: Sequence[str] | None,
    pixel_size: float | None,
    override_pixel_size: float | None,
) -> Image:
    if isinstance(image, Image):
        return image
    if isinstance(image, str | os.PathLike):
        opened = open_image(
            image,
            channels=channels,
            pixel_size=pixel_size,
            override_pixel_size=override_pixel_size,
        )
        if pixel_size is not None:  # overriding is what the user asked for
            for note in opened.notes:
                if "you said" in note:
                    warnings.warn(shown(f"{opened.source}: {note}"), AbbeWarning, stacklevel=3)
        return opened
    pixels = np.asarray(image)  # of dask, Pillow, torch, lists
    if (
        pixels.ndim == 3
        and len(pixels) != len(input_channels)
        and pixels.shape[2] == len(input_channels)
    ):
        raise InputError(
            f"the array has the shape {pixels.shape}, with its channels last. They come first: "
            "give np.moveaxis(image, -1, 0)"
        )
    count = 1 if pixels.ndim == 2 else len(pixels)
    names = channels or (input_channels if count == len(input_channels) else None)
    return Image.from_array(pixels, names, override_pixel_size or pixel_size)
