"""The files that a prediction is written to."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from abbe.imaging import Image
from abbe.runtime.job import SUFFIXES, Job, Result
from abbe.runtime.package import PackageDescription
from abbe.runtime.tiling.grid import Grid
from abbe.runtime.tiling.timing import Timings

if TYPE_CHECKING:
    from abbe.runtime.tiling.field import Labels, Maps
    from abbe.runtime.writing.label_files import ZarrVersion


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
    """

    image: Image
    labels: Labels
    maps: Maps | None
    channels: tuple[str, ...]
    limits: np.ndarray
    grid: Grid
    timings: Timings


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
    classification = description.classes[0] if len(description.classes) == 1 else None
    for result in job.results:
        path = stem.with_name(stem.name + SUFFIXES[result])
        with prediction.timings.measure("write"):
            _write(prediction, result, path, pool, most, classification, job.zarr_version)


def _write(
    prediction: Prediction,
    result: Result,
    path: Path,
    pool: Executor,
    most: int,
    classification: str | None,
    zarr_version: ZarrVersion,
) -> None:
    """One file; each writer is imported when it is asked for."""
    labels, image = prediction.labels, prediction.image
    size, confidence = image.pixel_size, labels.numbering.confidence
    if result == "labels":
        from abbe.runtime.writing.label_files import write_label_tiff

        write_label_tiff(path, labels, pool, most, size)
    elif result == "zarr":
        from abbe.runtime.writing.label_files import write_label_zarr

        write_label_zarr(path, labels, pool, most, size, zarr_version)
    elif result == "probability":
        from abbe.runtime.writing.label_files import write_map_tiff

        assert prediction.maps is not None  # kept, because they were asked for
        write_map_tiff(path, prediction.maps, pool, most, size)
    elif result in ("geojson", "geojson.gz"):
        from abbe.runtime.writing.geojson import write_geojson
        from abbe.runtime.writing.outlines import outlines

        rings = outlines(labels, pool, most)
        write_geojson(
            path, rings, pixel_size=size, classification=classification, confidence=confidence
        )
    elif result == "geoparquet":
        from abbe.runtime.writing.geoparquet import write_geoparquet
        from abbe.runtime.writing.outlines import outlines

        rings = outlines(labels, pool, most)
        write_geoparquet(path, rings, pixel_size=size, confidence=confidence)
    elif result == "table":
        from abbe.runtime.writing.table import measure, write_table

        write_table(path, measure(labels, image, pool, most))
    else:
        from abbe.runtime.writing.overview import write_overview

        write_overview(path, labels, image, prediction.channels, prediction.limits, pool, most)
