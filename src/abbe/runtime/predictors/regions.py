"""Run a package whose network says of each pixel which class it is."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from abbe.imaging import Image
from abbe.runtime.job import SUFFIXES, Block, Blocks, Job, Result, Tools, Written
from abbe.runtime.package import Package
from abbe.runtime.predictors.opening import OpenPackage, RunOptions, limits_of, open_for
from abbe.runtime.tiling.blocks import blocks_of, tiles_of
from abbe.runtime.tiling.cutting import check_tile, grid_of
from abbe.runtime.tiling.executors import in_order
from abbe.runtime.tiling.field import ClassMap, Maps
from abbe.runtime.tiling.grid import Grid, Tile
from abbe.runtime.tiling.seams import crop
from abbe.runtime.tiling.tiles import classes_name, maps_name, network_maps
from abbe.runtime.writing.region_results import RegionPrediction, write_region_results

if TYPE_CHECKING:
    from abbe.runtime.tiling.tissue import Tissue


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
        description, grid = self.package.description, self.grid(image)
        tissue, limits = self._compute(image, tools, grid.tiles, keep_maps=keep_maps)
        names, work = description.classes, tools.work
        background = names.index("background") if "background" in names else None
        classes = ClassMap(grid, names, work)
        told = description.temperature
        maps = Maps(grid, names, work, told, exclusive=True) if keep_maps else None
        channels = self.channels_of(image)
        return RegionPrediction(image, classes, maps, channels, limits, grid, background, tissue)

    def blocks(self, image: Image, job: Job) -> Blocks:
        """Blocks of a large image; see `abbe.runtime.job.Predictor`."""
        return dict.fromkeys(blocks_of(self.grid(image)), frozenset())

    def compute(self, image: Image, job: Job, tools: Tools, block: Block) -> None:
        """Classes of a block; see `abbe.runtime.job.Predictor`."""
        self._compute(image, tools, tiles_of(block), keep_maps="probability" in job.results)

    def _compute(
        self, image: Image, tools: Tools, tiles: Sequence[Tile], *, keep_maps: bool
    ) -> tuple[Tissue | None, np.ndarray]:
        """Classes of tiles, into the work; with where tissue is, and what became 0 and 1."""
        description = self.package.description
        channels = self.channels_of(image)
        grid = self.grid(image)
        with tools.timings.measure("read"):
            seen = self.seen(image, tools.work)
            limits = limits_of(seen, channels, description, tools.work)
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

        step = 1 / len(tiles)
        tools.advance(0.0)  # it has begun
        for _ in in_order(tools.pool, compute, tiles, 2 * self.workers):
            tools.advance(step)
        return tissue, limits

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
