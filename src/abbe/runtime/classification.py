"""Run a package that tells classes of images apart: an image whole, a large one tile by tile."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

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
from abbe.runtime.cutting import scale_for
from abbe.runtime.executors import in_order
from abbe.runtime.grid import Span, spans
from abbe.runtime.job import SUFFIXES, Job, Result, Tools, Written
from abbe.runtime.package import Package, PackageDescription
from abbe.runtime.running import Opened, Running, open_for


@dataclass(frozen=True)
class Tiles:
    """How an image is cut into tiles that are classified each by itself, in px of the image.

    Attributes:
        rows, columns: Spans; a tile's core is what it answers for, its window what is looked at.
            Cores cover the image and do not overlap. Windows are the same but for the last row
            and column, which move back to end with the image.
    """

    rows: tuple[Span, ...]
    columns: tuple[Span, ...]

    @staticmethod
    def of(shape: tuple[int, int], side: int) -> Tiles:
        """Cut an image of (H, W) px into tiles of ``side`` px; what is smaller stays whole."""
        height, width = shape
        return Tiles(tuple(spans(height, side, 0)), tuple(spans(width, side, 0)))

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    def window(self, row: int, column: int) -> Region:
        """What the network looks at."""
        down, across = self.rows[row], self.columns[column]
        return Region(down.start, across.start, down.stop, across.stop)

    def core(self, row: int, column: int) -> Region:
        """What the tile answers for."""
        down, across = self.rows[row], self.columns[column]
        return Region(down.core_start, across.core_start, down.core_stop, across.core_stop)

    @property
    def areas(self) -> np.ndarray:
        """(R, C) px that each tile answers for."""
        down, across = (
            np.array([span.core_stop - span.core_start for span in side])
            for side in (self.rows, self.columns)
        )
        return down[:, None] * across


@dataclass(frozen=True)
class ClassPrediction:
    """What a package says of an image.

    Attributes:
        image: The image.
        tiles: How it was cut.
        probabilities: (R, C, K) float32 of each tile, row by row.
        names: Of the K classes.
        channels: Channels of the image that the network saw, in its order.
    """

    image: Image
    tiles: Tiles
    probabilities: np.ndarray
    names: tuple[str, ...]
    channels: tuple[str, ...]

    @property
    def whole(self) -> np.ndarray:
        """(K,) float32: the mean of the tiles, each as much as it answers for."""
        areas = self.tiles.areas[..., None]
        mean = (self.probabilities * areas).sum((0, 1), dtype=np.float64) / areas.sum()
        return mean.astype(np.float32)

    @property
    def classes(self) -> np.ndarray:
        """(R, C) number of each tile's most probable class."""
        return self.probabilities.argmax(-1)


class ClassPredictor(Opened):
    """A classification package that is ready to run; images larger than a tile are cut."""

    @property
    def results(self) -> tuple[Result, ...]:
        """What it can write; the usual one first."""
        return ("table", "geojson", "geojson.gz", "overview")

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
        """How many tiles an image has; see `abbe.runtime.job.Ready`."""
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
        if description.normalisation.kind != "tile_percentile":
            with tools.timings.measure("read"):
                limits = description.normalisation.scaling.image_limits(image, channels)

        small = round(image.shape[0] * scale), round(image.shape[1] * scale)
        source = slide_of(image).level_for(small) if scale < 1 else image

        def classify(place: tuple[int, int]) -> np.ndarray:
            with tools.timings.measure("read"):
                window = tiles.window(*place)
                pixels = source.read(in_level(window, image.shape, source.shape), channels)
                seen = network_input(pixels, limits, size_of(window, scale), description)
            with tools.timings.measure("network"):
                return self.engine.probabilities(seen[None])[0]

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
        return ClassPrediction(image, tiles, found, description.classes, channels)

    def write(self, image: Image, stem: Path, job: Job, tools: Tools) -> Written:
        """One image, from its pixels to its files; its tiles, and what the table of images says."""
        from abbe.runtime.class_results import describe, write_class_results

        prediction = self.run(image, tools)
        write_class_results(prediction, stem, job, tools, 2 * self.workers)
        return Written(len(prediction.tiles), describe(prediction))

    def files(self, image: Image, results: tuple[Result, ...]) -> tuple[str, ...]:
        """Suffixes of the files that ``write`` leaves; an image of one tile has no table."""
        whole = len(self.cut(image)) == 1
        return tuple(SUFFIXES[result] for result in results if result != "table" or not whole)

    def answer(self, image: Image, tools: Tools) -> np.ndarray:
        """The probability of each class, (K,) float32."""
        return self.run(image, tools).whole

    def conclude(self, out: Path, answers: Mapping[str, Any]) -> None:
        """Write classes.csv, a row an image."""
        from abbe.runtime.class_results import IMAGES, write_images

        remove_stale_parts(out / IMAGES)
        write_images(out / IMAGES, answers, self.package.description.classes)


def class_predictor(
    package: Package | str | os.PathLike[str], **running: Unpack[Running]
) -> ClassPredictor:
    """Make a classification package ready to run; arguments and errors are those of `predictor`."""

    def check_tile(description: PackageDescription, tile: int) -> None:
        if tile % description.divisor or tile < 1:
            raise ConfigError(f"tile {tile} px: must be a multiple of {description.divisor} px")

    purpose = "tells images apart"
    return ClassPredictor(*open_for("classification", purpose, package, check_tile, **running))


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
    below, beside = -height % description.divisor, -width % description.divisor
    if below or beside:
        values = np.pad(values, ((0, 0), (0, below), (0, beside)), mode="symmetric")
    return values


def _take(answers: Iterator[np.ndarray], count: int) -> np.ndarray:
    """The next so many, (count, K)."""
    return np.stack([next(answers) for _ in range(count)])


def _row_name(row: int) -> str:
    return f"row-{row}"
