"""Run a package that tells classes of images apart: an image whole, a large one tile by tile."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import PIL.Image

from abbe.errors import ConfigError
from abbe.files import remove_stale_parts
from abbe.imaging import (
    Image,
    Region,
    normalise,
    slide_of,
)
from abbe.imaging.windows import pad_to
from abbe.runtime.job import SUFFIXES, Job, Result, Tools, Written
from abbe.runtime.package import Package, PackageDescription
from abbe.runtime.postprocess.calibration import calibrated
from abbe.runtime.predictors.opening import OpenPackage, RunOptions, limits_of, open_for
from abbe.runtime.tiling.cutting import may_be_slide, scale_for
from abbe.runtime.tiling.executors import in_order
from abbe.runtime.tiling.whole_tiles import ClassPrediction, Tiles
from abbe.runtime.writing.class_results import IMAGES, describe, write_class_results, write_images

if TYPE_CHECKING:
    from abbe.runtime.tiling.tissue import Tissue


class ClassPredictor(OpenPackage):
    """A classification package that is ready to run; images larger than a tile are cut."""

    @property
    def results(self) -> tuple[Result, ...]:
        """What it can write; the usual one first."""
        return ("table", "geojson", "geojson.gz", "overview", "dicom-ann")

    @property
    def counts(self) -> str:
        """What it counts."""
        return "tiles"

    def cut(self, image: Image) -> Tiles:
        """How an image is cut.

        Raises:
            InputError: The package needs a pixel size and the image has none, or another by far.
        """
        side = max(1, round(self.tile / scale_for(image, self.package.description)))
        return Tiles.of(image.shape, side)

    def tiles(self, image: Image) -> int:
        """How many tiles an image has; see `abbe.runtime.job.Predictor`."""
        self.channels_of(image)
        return len(self.cut(image))

    def run(self, image: Image, tools: Tools) -> ClassPrediction:
        """Classify the tiles of an image.

        Args:
            image: Any size; with the package's channels, or a single one where it sees one.
            tools: Threads, and where rows of tiles are kept.

        Raises:
            InputError: The image lacks a channel or its pixel size, or cannot be read.
            PackageError: The network fails.
        """
        description = self.package.description
        channels = self.channels_of(image)
        tiles, scale = self.cut(image), scale_for(image, description)
        limits, work = None, tools.work
        with tools.timings.measure("read"):
            seen = self.seen(image, work)
            if description.normalisation.kind != "tile_percentile":
                limits = limits_of(seen, channels, description, work)

        small = round(image.shape[0] * scale), round(image.shape[1] * scale)
        source = slide_of(seen).level_for(small) if scale < 1 else seen

        tissue = self._tissue(image, tiles, tools)
        unknown = np.full(len(description.classes), np.nan, np.float32)

        def classify(place: tuple[int, int]) -> np.ndarray:
            if tissue is not None and not tissue.taken[place]:
                return unknown
            with tools.timings.measure("read"):
                window = tiles.window(*place)
                pixels = source.read(in_level(window, image.shape, source.shape), channels)
                shown = network_input(pixels, limits, size_of(window, scale), description)
            with tools.timings.measure("network"):
                answer = self.engine.probabilities(shown[None])[0]
            return calibrated(answer, description.temperature, exclusive=True)

        rows = range(len(tiles.rows))
        step = 1 / len(rows)
        waiting = [row for row in rows if not work.has(_row_name(row), compressed=True)]
        tools.advance(step * (len(rows) - len(waiting)))
        places = ((row, column) for row in waiting for column in range(len(tiles.columns)))
        answers = in_order(tools.pool, classify, places, 2 * self.workers)
        for row in waiting:
            work.put(_row_name(row), _take(answers, len(tiles.columns)), compress=True)
            tools.advance(step)
        found = np.stack([work.get(_row_name(row), compressed=True) for row in rows])
        return ClassPrediction(image, tiles, found, description.classes, channels, tissue)

    def _tissue(self, image: Image, tiles: Tiles, tools: Tools) -> Tissue | None:
        """Which tiles of a slide to look at; None for all."""
        if tools.all_tiles or len(tiles) == 1 or not may_be_slide(image):
            return None
        from abbe.runtime.tiling.tissue import kept, tiles_of  # most images need none of it

        rows, columns = (
            [*(span.core_start for span in side), side[-1].core_stop]
            for side in (tiles.rows, tiles.columns)
        )
        with tools.timings.measure("read"):
            return kept(
                tools.work, lambda: tiles_of(image, rows, columns, tools.pool, 2 * self.workers)
            )

    def write(self, image: Image, stem: Path, job: Job, tools: Tools) -> Written:
        """One image, from its pixels to its files; its tiles, and what the table of images says."""
        prediction = self.run(image, tools)
        described = self.package.description
        write_class_results(prediction, stem, job, tools, 2 * self.workers, description=described)
        notes = () if prediction.tissue is None else (prediction.tissue.words(),)
        return Written(int(prediction.taken.sum()), describe(prediction), notes=notes)

    def files(self, image: Image, results: tuple[Result, ...]) -> tuple[str, ...]:
        """Suffixes of the files that ``write`` leaves; an image of one tile has no table."""
        whole = len(self.cut(image)) == 1
        return tuple(SUFFIXES[result] for result in results if result != "table" or not whole)

    def predict(self, image: Image, tools: Tools) -> np.ndarray:
        """The probability of each class, (K,) float32."""
        return self.run(image, tools).whole

    def conclude(self, out: Path, answers: Mapping[str, Any]) -> None:
        """Write classes.csv, a row an image."""
        remove_stale_parts(out / IMAGES)
        write_images(out / IMAGES, answers, self.package.description.classes)


def class_predictor(
    package: Package | str | os.PathLike[str], **options: Unpack[RunOptions]
) -> ClassPredictor:
    """Make a classification package ready to run; arguments and errors are those of `predictor`."""

    def check_tile(description: PackageDescription, tile: int) -> None:
        if tile % description.divisor or tile < 1:
            raise ConfigError(f"tile {tile} px: must be a multiple of {description.divisor} px")

    purpose = "tells images apart"
    return ClassPredictor(*open_for("classification", purpose, package, check_tile, **options))


def in_level(window: Region, shape: tuple[int, int], level: tuple[int, int]) -> Region:
    """Where a window of an image of ``shape`` lies in a level of its pyramid, in whole px."""
    if shape == level:
        return window
    down, across = level[0] / shape[0], level[1] / shape[1]
    top, left = (
        min(int(window.top * down), level[0] - 1),
        min(int(window.left * across), level[1] - 1),
    )
    bottom, right = round(window.bottom * down), round(window.right * across)
    return Region(
        top, left, min(max(bottom, top + 1), level[0]), min(max(right, left + 1), level[1])
    )


def size_of(window: Region, scale: float) -> tuple[int, int]:
    """(H, W) of a window in px of the network."""
    sides = window.bottom - window.top, window.right - window.left
    return max(1, round(sides[0] * scale)), max(1, round(sides[1] * scale))


def network_input(
    pixels: np.ndarray,
    limits: np.ndarray | None,
    size: tuple[int, int],
    description: PackageDescription,
) -> np.ndarray:
    """What the network sees of a tile: normalised, resized, mirrored to whole divisors.

    Args:
        pixels: (C, h, w) as stored.
        limits: (C, 2) what becomes 0 and 1 in the whole image; None: in the tile itself.
        size: (H, W) of the tile in px of the network; the package's ``image_size`` goes before it.
        description: Of the package.

    Returns:
        (C, h', w') float32 in [0, 1].
    """
    if limits is None:
        limits = description.normalisation.scaling.limits(pixels)
    values = normalise(pixels, limits)
    height, width = description.image_size or size
    if (height, width) != values.shape[1:]:
        bilinear = PIL.Image.Resampling.BILINEAR
        planes = [PIL.Image.fromarray(plane).resize((width, height), bilinear) for plane in values]
        values = np.clip(np.stack([np.asarray(plane) for plane in planes]), 0, 1)
    return pad_to(values, description.divisor)


def _take(answers: Iterator[np.ndarray], count: int) -> np.ndarray:
    """The next so many, (count, K)."""
    return np.stack([next(answers) for _ in range(count)])


def _row_name(row: int) -> str:
    return f"row-{row}"
