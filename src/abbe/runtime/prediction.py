"""Run a package on one image: from a file or an array to its objects."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike

from abbe.errors import ConfigError, InputError
from abbe.foreign_text import shown
from abbe.imaging import Image, open_image
from abbe.runtime.cutting import check_tile, grid_of
from abbe.runtime.engine import EngineName, Precision
from abbe.runtime.executors import Inline
from abbe.runtime.grid import Grid
from abbe.runtime.job import SUFFIXES, Job, Ready, Result, Tools, Written
from abbe.runtime.package import Package, read_package
from abbe.runtime.results import Prediction, write_results
from abbe.runtime.running import Opened, Running, open_for
from abbe.runtime.timing import Timings
from abbe.runtime.work import Work
from abbe.runtime.workers import shape_of, useful_workers


class Predictor(Opened):
    """A package that finds objects, ready to run."""

    @property
    def results(self) -> tuple[Result, ...]:
        """What it can write; the usual one first."""
        return tuple(SUFFIXES)

    @property
    def counts(self) -> str:
        """What it counts."""
        return "objects"

    def grid(self, image: Image) -> Grid:
        """How an image is cut: see `grid_of`."""
        return grid_of(image, self.package.description, self.tile)

    def tiles(self, image: Image) -> int:
        """How many tiles an image has; see `abbe.runtime.job.Ready`."""
        self.channels_of(image)
        return len(self.grid(image).tiles)

    def write(self, image: Image, stem: Path, job: Job, tools: Tools) -> Written:
        """One image, from its pixels to its files; how many objects it has."""
        prediction = self.run(
            image,
            tools.pool,
            tools.work,
            keep_maps="probability" in job.results,
            advance=tools.advance,
            timings=tools.timings,
        )
        write_results(prediction, stem, job, tools.pool, 2 * self.workers, self.package.description)
        return Written(prediction.labels.count)

    def files(self, image: Image, results: tuple[Result, ...]) -> tuple[str, ...]:
        """Suffixes of the files that ``write`` leaves."""
        return tuple(SUFFIXES[result] for result in results)

    def conclude(self, out: Path, answers: Mapping[str, Any]) -> None:
        """Each image's files tell all there is."""

    def answer(self, image: Image, tools: Tools) -> np.ndarray:
        """The objects of an image, (H, W) int32."""
        return self.run(image, tools.pool, tools.work).labels.read()

    def run(
        self,
        image: Image,
        pool: Executor,
        work: Work,
        *,
        keep_maps: bool = False,
        advance: Any = None,
        timings: Timings | None = None,
    ) -> Prediction:
        """Find the objects of one image.

        Args:
            image: Any size; with the package's channels, or a single one where it sees one.
            pool: Threads for the image's tiles.
            work: Where tiles are kept until the results are written.
            keep_maps: Whether probability maps are wanted too.
            advance: Told the share of the work that is newly done.
            timings: Where to add the time of each part.

        Raises:
            InputError: The image lacks a channel or its pixel size, or cannot be read.
            PackageError: The network fails.
        """
        from abbe.runtime.field import Labels, Maps
        from abbe.runtime.one_part import numbering_of_parts
        from abbe.runtime.tiles import Rule, find_objects, network_maps

        description = self.package.description
        timings = timings or Timings()
        channels = self.channels_of(image)
        grid = self.grid(image)
        with timings.measure("read"):
            limits = description.normalisation.scaling.image_limits(image, channels)
        numbering = find_objects(
            grid,
            network_maps(self.engine, image, channels, limits, grid, timings),
            Rule(description.outputs, description.thresholds, description.instances),
            work,
            pool,
            workers=self.workers,
            keep_maps=keep_maps,
            timings=timings,
            advance=advance,
        )
        labels = Labels(grid, numbering, work)
        if grid.coarser_image:
            with timings.measure("instances"):
                least = description.instances.minimum_area
                parts = numbering_of_parts(labels, pool, 2 * self.workers, minimum_area=least)
            labels = labels.of_parts(parts)
        maps = Maps(grid, description.outputs, work) if keep_maps else None
        return Prediction(image, labels, maps, channels, limits, grid, timings)


def predictor(package: Package | str | os.PathLike[str], **running: Unpack[Running]) -> Predictor:
    """Make a segmentation package ready to run.

    Args:
        package: The package or its folder.
        running: engine, precision, threads, tile, workers: see `Running`.

    Raises:
        ConfigError: The package is none for segmentation; tile, engine or precision do not fit it.
        PackageError: It is damaged.
    """
    # What finds objects takes as long to import as the network to compile: both at once.
    importing = Thread(target=import_module, args=("abbe.runtime.field",))
    importing.start()
    opened = open_for("segmentation", "finds objects", package, check_tile, **running)
    importing.join()
    return Predictor(*opened)


def predict(
    package: Package | Ready | str | os.PathLike[str],
    image: Image | ArrayLike | str | os.PathLike[str],
    *,
    channels: Sequence[str] | None = None,
    pixel_size: float | None = None,
    override_pixel_size: float | None = None,
    engine: EngineName | None = None,
    precision: Precision | None = None,
    tile: int | None = None,
    workers: int | None = None,
) -> np.ndarray:
    """What a package says of one image.

    Args:
        package: A package, its folder, or one made ready by `predictor` or
            `abbe.runtime.tasks.ready_for` (quicker for many images).
        image: A path, an `abbe.imaging.Image`, or an array (H, W) or (C, H, W), or what NumPy makes
            one of.
        channels: Names of all the image's channels, where it has none or others than the package;
            an array with as many channels as the package sees has the package's.
        pixel_size: µm per px, where the image does not say; where a file says otherwise, the
            file's is taken and a warning says so.
        override_pixel_size: µm per px, whatever a file says.
        engine, precision, tile, workers: See `predictor`.

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
    from abbe.runtime.tasks import ready_for

    asked = {"engine": engine, "precision": precision, "tile": tile, "workers": workers}
    if isinstance(package, str | os.PathLike):
        package = read_package(package)
    elif not isinstance(package, Package):
        for option, value in asked.items():
            if value is not None:
                raise ConfigError(
                    f"{option}: this package is ready to run as it was opened. Give the option to "
                    "what made it ready, or give the package's folder here"
                )
    described = package if isinstance(package, Package) else package.package
    if described.description.task == "promptable":
        raise ConfigError(
            f"{described.folder}: this is a promptable package, which must be shown each object: "
            "use abbe.PromptablePredictor, or abbe predict --prompts"
        )
    opened = _opened(
        image, described.description.channels, channels, pixel_size, override_pixel_size
    )
    if isinstance(package, Package):
        if workers is None:
            shape = shape_of(opened, package.description)
            workers = useful_workers([shape], tile or package.description.tile)
        package = ready_for(package, engine=engine, precision=precision, tile=tile, workers=workers)
    with threads_for(package, opened) as pool, tempfile.TemporaryDirectory() as folder:
        work = Work(None if isinstance(pool, Inline) else Path(folder) / "work")
        return package.answer(opened, Tools(pool, work, Timings(), lambda share: None))


@contextmanager
def threads_for(ready: Ready, image: Image) -> Iterator[Executor]:
    """Threads for the tiles of an image; none where it has only one tile."""
    if ready.tiles(image) == 1:
        yield Inline()
        return
    with ThreadPoolExecutor(ready.workers) as pool:
        yield pool


def _opened(
    image: Image | ArrayLike | str | os.PathLike[str],
    sees: tuple[str, ...],
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
                    warnings.warn(shown(f"{opened.source}: {note}"), stacklevel=3)
        return opened
    pixels = np.asarray(image)  # of dask, Pillow, torch, lists
    if pixels.ndim == 3 and len(pixels) != len(sees) and pixels.shape[2] == len(sees):
        raise InputError(
            f"the array has the shape {pixels.shape}, with its channels last. They come first: "
            "give np.moveaxis(image, -1, 0)"
        )
    count = 1 if pixels.ndim == 2 else len(pixels)
    names = channels or (sees if count == len(sees) else None)
    return Image.from_array(pixels, names, override_pixel_size or pixel_size)
