"""The files that a prediction is written to."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from abbe.imaging import Image
from abbe.runtime.job import OUTLINES, SUFFIXES, Job, Result
from abbe.runtime.package import PackageDescription
from abbe.runtime.tiling.grid import Grid
from abbe.runtime.tiling.timing import Timings

if TYPE_CHECKING:
    from abbe.runtime.tiling.field import Labels, Maps
    from abbe.runtime.tiling.tissue import Tissue


@dataclass(frozen=True)
class Prediction:
    """What a package finds in an image.

    Attributes:
        image: The image.
        labels: Its objects, read by region.
        maps: Its probability maps, read by region; None where they were not to be kept.
        channels: Channels of the image that the network saw, in its order.
        limits: (C, 2) what becomes 0 and 1 of these.
        grid: How it was cut.
        timings: How long each part took.
        tissue: Where on a slide was looked; None for everywhere.
    """

    image: Image
    labels: Labels
    maps: Maps | None
    channels: tuple[str, ...]
    limits: np.ndarray
    grid: Grid
    timings: Timings
    tissue: Tissue | None = None


def notes_on(prediction: Prediction) -> tuple[str, ...]:
    """What was done, in sentences for people."""
    return () if prediction.tissue is None else (prediction.tissue.words(),)


def write_results(
    prediction: Prediction,
    stem: Path,
    job: Job,
    pool: Executor,
    most: int,
    description: PackageDescription,
) -> None:
    """Write the files that are asked for, each whole or not at all.

    Args:
        prediction: What was found.
        stem: Folder and name of the files, without suffix.
        job: Which files.
        pool: Threads.
        most: How many pieces to have in hand at a time.
        description: Of the package; its class, if it has but one, is that of all objects.
    """
    only = description.classes[0] if len(description.classes) == 1 else None
    writer = _Writer(prediction, job, pool, most, job.outlining.class_name or only)
    for result in job.results:
        path = stem.with_name(stem.name + SUFFIXES[result])
        with prediction.timings.measure("write"):
            writer.write(result, path)


@dataclass(frozen=True)
class _Writer:
    """Writes each file; what writes it is imported when it is asked for."""

    prediction: Prediction
    job: Job
    pool: Executor
    most: int
    classification: str | None

    @cached_property
    def table(self) -> dict[str, np.ndarray]:
        """The objects' measurements, taken once for all files."""
        from abbe.runtime.writing.table import measure

        return measure(self.prediction.labels, self.prediction.image, self.pool, self.most)

    def write(self, result: Result, path: Path) -> None:
        prediction, pool, most = self.prediction, self.pool, self.most
        labels, size = prediction.labels, prediction.image.pixel_size
        if result == "labels":
            from abbe.runtime.writing.label_files import write_label_tiff

            write_label_tiff(path, labels, pool, most, size)
        elif result == "zarr":
            from abbe.runtime.writing.label_files import write_label_zarr

            write_label_zarr(path, labels, pool, most, size, self.job.zarr_version)
        elif result == "probability":
            from abbe.runtime.writing.label_files import write_map_tiff

            assert prediction.maps is not None  # kept, because they were asked for
            write_map_tiff(path, prediction.maps, pool, most, size)
        elif result in OUTLINES:
            self._outline(result, path)
        elif result == "table":
            from abbe.runtime.writing.table import write_table

            write_table(path, self.table)
        else:
            from abbe.runtime.writing.overview import write_overview

            shown = prediction.channels, prediction.limits
            write_overview(
                path, labels, prediction.image, *shown, pool, most, tissue=prediction.tissue
            )

    def _outline(self, result: Result, path: Path) -> None:
        from abbe.runtime.writing.outlines import outlines

        labels, simplify = self.prediction.labels, self.job.outlining.simplify
        size = self.prediction.image.pixel_size
        rings = outlines(labels, self.pool, self.most)
        if result == "geoparquet":
            from abbe.runtime.writing.geoparquet import write_geoparquet

            confidence = labels.numbering.confidence
            write_geoparquet(path, rings, pixel_size=size, confidence=confidence, simplify=simplify)
        else:
            from abbe.runtime.writing.geojson import write_geojson

            write_geojson(
                path, rings, pixel_size=size, classification=self.classification,
                table=self.table, simplify=simplify,
            )  # fmt: skip
