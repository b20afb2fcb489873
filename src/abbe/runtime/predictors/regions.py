"""Run a package whose network says of each pixel which class it is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from abbe.imaging import Image
from abbe.runtime.job import SUFFIXES, Job, Result, Tools, Written
from abbe.runtime.package import Package
from abbe.runtime.predictors.opening import OpenPackage, RunOptions, open_for
from abbe.runtime.tiling.cutting import check_tile, grid_of
from abbe.runtime.tiling.executors import in_order
from abbe.runtime.tiling.field import ClassMap, Maps
from abbe.runtime.tiling.grid import Grid, Tile
from abbe.runtime.tiling.seams import crop
from abbe.runtime.tiling.tiles import classes_name, maps_name, network_maps
from abbe.runtime.writing.region_results import RegionPrediction, write_region_results


class RegionPredictor(OpenPackage):
    """A regions package that is ready to run."""

    @property
    def results(self) -> tuple[Result, ...]:
        """What it can write; the usual one first."""
        return ("labels", "zarr", "probability", "geojson", "geojson.gz", "table", "overview",
                "dicom-seg")  # fmt: skip

    @property
    def counts(self) -> str:
        """What it counts."""
        return "tiles"

    def grid(self, image: Image) -> Grid:
        """How an image is cut; see `abbe.runtime.tiling.cutting.grid_of`."""
        return grid_of(image, self.package.description, self.tile)

    def tiles(self, image: Image) -> int:
        """How many tiles an image has; see `abbe.runtime.job.Predictor`."""
        self.channels_of(image)
        return len(self.grid(image).tiles)

    def run(self, image: Image, tools: Tools, *, keep_maps: bool = False) -> RegionPrediction:
        """Find the class of each pixel: the one with the highest probability.

        Args:
            image: Any size; with the package's channels, or a single one where it sees one.
            tools: Threads, and where tiles are kept.
            keep_maps: Whether probabilities are wanted too.

        Raises:
            InputError: The image lacks a channel or its pixel size, or cannot be read.
            PackageError: The network fails.
        """
        description = self.package.description
        channels = self.channels_of(image)
        grid = self.grid(image)
        with tools.timings.measure("read"):
            seen = self.seen(image)
            limits = description.normalisation.scaling.image_limits(seen, channels)
        maps_of = network_maps(self.engine, seen, channels, limits, grid, tools.timings)
        names, work = description.classes, tools.work
        background = names.index("background") if "background" in names else None
        # Without such a class there is nothing that glass could be said to be.
        tissue = None if background is None else self.squares(image, tools)
        if tissue is not None:
            from abbe.runtime.tiling.tissue import within

            outside = (np.arange(len(names)) == background).astype(np.float32)
            maps_of = within(maps_of, grid, tissue, outside)

        def compute(tile: Tile) -> None:
            if work.has(classes_name(tile), compressed=True):  # of a run that was interrupted
                return
            maps = crop(maps_of(tile), grid.window(tile), grid.core(tile))
            if keep_maps:  # first, so that a tile whose classes are kept has them
                work.put(maps_name(tile), np.ascontiguousarray(maps), compress=False)
            work.put(classes_name(tile), maps.argmax(0).astype(np.uint8), compress=True)

        step = 1 / len(grid.tiles)
        tools.advance(0.0)  # it has begun
        for _ in in_order(tools.pool, compute, grid.tiles, 2 * self.workers):
            tools.advance(step)
        classes = ClassMap(grid, names, work)
        told = description.temperature
        maps = Maps(grid, names, work, told, exclusive=True) if keep_maps else None
        return RegionPrediction(image, classes, maps, channels, limits, grid, background, tissue)

    def write(self, image: Image, stem: Path, job: Job, tools: Tools) -> Written:
        """One image, from its pixels to its files; of how many tiles it is."""
        prediction = self.run(image, tools, keep_maps="probability" in job.results)
        write_region_results(
            prediction, stem, job, tools, 2 * self.workers,
            description=self.package.description,
        )  # fmt: skip
        notes = () if prediction.tissue is None else (prediction.tissue.words(),)
        return Written(len(prediction.grid.tiles), notes=notes)

    def files(self, image: Image, results: tuple[Result, ...]) -> tuple[str, ...]:
        """Suffixes of the files that ``write`` leaves."""
        return tuple(SUFFIXES[result] for result in results)

    def predict(self, image: Image, tools: Tools) -> np.ndarray:
        """The number of each pixel's class, (H, W) int32."""
        return self.run(image, tools).classes.read().astype(np.int32)

    def conclude(self, out: Path, answers: Mapping[str, Any]) -> None:
        """Each image's files tell all there is."""


def region_predictor(
    package: Package | str | os.PathLike[str], **options: Unpack[RunOptions]
) -> RegionPredictor:
    """Make a regions package ready to run; arguments and errors are those of `predictor`."""
    purpose = "tells the classes of pixels apart"
    return RegionPredictor(*open_for("regions", purpose, package, check_tile, **options))
