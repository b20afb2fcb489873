"""Run a package that finds objects."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import Executor
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from abbe.imaging import Image
from abbe.object_types import types_in
from abbe.runtime.job import SUFFIXES, Block, Blocks, Job, Result, Tools, Written
from abbe.runtime.package import Package
from abbe.runtime.predictors.opening import OpenPackage, RunOptions, limits_of, open_for
from abbe.runtime.tiling.cutting import check_tile, goes_by_diameter, grid_of
from abbe.runtime.tiling.grid import Grid
from abbe.runtime.tiling.timing import Timings
from abbe.runtime.tiling.work import Work
from abbe.runtime.writing.results import Prediction, write_results

if TYPE_CHECKING:
    from abbe.runtime.postprocess.map_rule import MapRule
    from abbe.runtime.tiling.tiles import MapsOf
    from abbe.runtime.tiling.tissue import Tissue


class InstancePredictor(OpenPackage):
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
        """How many tiles an image has; see `abbe.runtime.job.Predictor`."""
        self.channels_of(image)
        return len(self.grid(image).tiles)

    def write(self, image: Image, stem: Path, job: Job, tools: Tools) -> Written:
        """One image, from its pixels to its files; how many objects it has."""
        image = self.measured(image, tools.pool)
        prediction = self.run(
            image,
            tools.pool,
            tools.work,
            keep_maps="probability" in job.results,
            advance=tools.advance,
            timings=tools.timings,
            tissue=self.squares(image, tools),
        )
        untold = write_results(
            prediction, stem, job, tools.pool, 2 * self.workers, self.package.description
        )
        tissue = prediction.tissue
        notes = (*(() if tissue is None else (tissue.words(),)), *untold)
        if self._is_to_be_estimated(image):
            notes += ("No object was found whose diameter could tell its scale: seen as it is.",)
        return Written(prediction.labels.count, diameter=self._diameter_of(image), notes=notes)

    def files(self, image: Image, results: tuple[Result, ...]) -> tuple[str, ...]:
        """Suffixes of the files that ``write`` leaves."""
        return tuple(SUFFIXES[result] for result in results)

    def conclude(self, out: Path, answers: Mapping[str, Any]) -> None:
        """Each image's files tell all there is."""

    def predict(self, image: Image, tools: Tools) -> np.ndarray:
        """The objects of an image, (H, W) int32."""
        tissue = self.squares(image, tools)
        image = self.measured(image, tools.pool)
        return self.run(image, tools.pool, tools.work, tissue=tissue).labels.read()

    def measured(self, image: Image, pool: Executor) -> Image:
        """The image with the diameter of its objects, where that is to be estimated.

        One without objects stays to be estimated, and is seen as it is (`scale_for`).
        """
        if not self._is_to_be_estimated(image):
            return image
        from abbe.runtime.predictors.diameter import estimate

        found = estimate(self, image, pool)
        return image if found is None else image.with_diameter(found)

    def _is_to_be_estimated(self, image: Image) -> bool:
        return image.diameter == "auto" and goes_by_diameter(image, self.package.description)

    def _diameter_of(self, image: Image) -> float | None:
        told = goes_by_diameter(image, self.package.description)
        return image.diameter if told and isinstance(image.diameter, float) else None

    def run(
        self,
        image: Image,
        pool: Executor,
        work: Work,
        *,
        keep_maps: bool = False,
        advance: Any = None,
        timings: Timings | None = None,
        limits: np.ndarray | None = None,
        tissue: Tissue | None = None,
        rule: MapRule | None = None,
    ) -> Prediction:
        """Find the objects of one image.

        Args:
            image: Any size; with the package's channels, or a single one where it sees one.
            pool: Threads for the image's tiles.
            work: Where tiles are kept until the results are written.
            keep_maps: Whether probability maps are wanted too.
            advance: Told the share of the work that is newly done.
            timings: Where to add the time of each part.
            limits: (C, 2) what becomes 0 and 1 of its channels; None for what the package says.
            tissue: Where on a slide to look; None for everywhere.
            rule: How maps become objects; None for what the package says.

        Raises:
            InputError: The image lacks a channel or its pixel size, or cannot be read.
            PackageError: The network fails.
        """
        from abbe.runtime.postprocess.map_rule import MapRule
        from abbe.runtime.tiling.field import Labels, Maps
        from abbe.runtime.tiling.one_part import numbering_of_parts
        from abbe.runtime.tiling.tiles import find_objects

        description = self.package.description
        rule = rule or MapRule.of(description)
        timings = timings or Timings()
        channels, grid = self.channels_of(image), self.grid(image)
        maps_of, limits = self._maps_of(image, work, timings, limits, tissue)
        numbering = find_objects(
            grid,
            maps_of,
            rule,
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
                least = rule.instances.minimum_area
                parts = numbering_of_parts(labels, pool, 2 * self.workers, minimum_area=least)
            labels = labels.of_parts(parts)
        told = description.outputs, work, description.temperature
        maps = Maps(grid, *told) if keep_maps else None
        types = types_in(description.outputs)
        return Prediction(image, labels, maps, channels, limits, grid, timings, tissue, types)

    def blocks(self, image: Image, job: Job) -> Blocks:
        """Blocks of a large image, their seams, and parts of its labels' file; see `Predictor`."""
        from abbe.runtime.tiling.blocks import blocks_of, with_seams
        from abbe.runtime.writing.tiff.parts import parts_of

        if self._is_to_be_estimated(image):
            return {}  # what the grid is, is estimated with the image
        grid = self.grid(image)
        blocks = with_seams(grid, blocks_of(grid))
        if not blocks or grid.coarser_image or "labels" not in job.results:
            return blocks
        *_, numbers = blocks
        return {**blocks, **dict.fromkeys(parts_of(image.shape), frozenset({numbers}))}

    def compute(self, image: Image, job: Job, tools: Tools, block: Block) -> None:
        """A block's share of the work on an image; see `abbe.runtime.job.Predictor`."""
        from abbe.runtime.postprocess.map_rule import MapRule
        from abbe.runtime.tiling.tiles import compute_block

        if block.step == "file":
            with tools.timings.measure("write"):
                self._encode(image, tools.work, block)
            return
        tissue = self.squares(image, tools)
        maps_of, _ = self._maps_of(image, tools.work, tools.timings, None, tissue)
        compute_block(
            self.grid(image),
            maps_of,
            MapRule.of(self.package.description),
            tools.work,
            tools.pool,
            block,
            workers=self.workers,
            keep_maps="probability" in job.results,
            timings=tools.timings,
            advance=tools.advance,
        )

    def _encode(self, image: Image, work: Work, part: Block) -> None:
        """A part of the file of labels, of objects that have their numbers."""
        from abbe.runtime.tiling.field import Labels
        from abbe.runtime.tiling.seams import kept_numbering
        from abbe.runtime.writing.label_files import keep_label_tiff_part

        numbering = kept_numbering(work)
        assert numbering is not None  # its block goes before
        keep_label_tiff_part(part, Labels(self.grid(image), numbering, work))

    def _maps_of(
        self,
        image: Image,
        work: Work,
        timings: Timings,
        limits: np.ndarray | None,
        tissue: Tissue | None,
    ) -> tuple[MapsOf, np.ndarray]:
        """What gives a tile's maps, and what becomes 0 and 1 of the image's channels."""
        from abbe.runtime.tiling.tiles import network_maps

        description, grid = self.package.description, self.grid(image)
        channels = self.channels_of(image)
        with timings.measure("read"):
            seen = self.seen(image, work)
            if limits is None:
                limits = limits_of(seen, channels, description, work)
        maps_of = network_maps(self.engine, seen, channels, limits, grid, timings)
        if tissue is not None:
            from abbe.runtime.tiling.tissue import within

            nothing = np.zeros(len(description.outputs), np.float32)
            maps_of = within(maps_of, grid, tissue, nothing)
        return maps_of, limits


def predictor(
    package: Package | str | os.PathLike[str], **options: Unpack[RunOptions]
) -> InstancePredictor:
    """Make a segmentation package ready to run.

    Args:
        package: The package or its folder.
        options: engine, precision, threads, tile, workers, device: see `RunOptions`.

    Raises:
        ConfigError: The package is none for segmentation; tile, engine or precision do not fit it.
        PackageError: It is damaged.
    """
    # What finds objects takes as long to import as the network to compile: both at once.
    importing = Thread(target=import_module, args=("abbe.runtime.tiling.field",))
    importing.start()
    opened = open_for("segmentation", "finds objects", package, check_tile, **options)
    importing.join()
    return InstancePredictor(*opened)
