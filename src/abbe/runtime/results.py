"""The files that a prediction is written to."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING

from abbe.runtime.job import SUFFIXES, Result
from abbe.runtime.prediction import Prediction

if TYPE_CHECKING:
    from abbe.runtime.label_files import ZarrVersion


def write_results(
    prediction: Prediction,
    stem: Path,
    results: Iterable[Result],
    pool: Executor,
    most: int,
    *,
    classification: str | None = None,
    zarr_version: ZarrVersion = "0.5",
) -> list[Path]:
    """Write the files that are asked for, each whole or not at all.

    Args:
        prediction: What was found.
        stem: Folder and name of the files, without suffix.
        results: Which files.
        pool: Threads.
        most: How many pieces to have in hand at a time.
        classification: A class for all objects in GeoJSON.
        zarr_version: Version of OME-Zarr.

    Returns:
        Their paths, in the order asked for.
    """
    paths = []
    for result in results:
        path = stem.with_name(stem.name + SUFFIXES[result])
        with prediction.timings.measure("write"):
            _write(prediction, result, path, pool, most, classification, zarr_version)
        paths.append(path)
    return paths


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
    size = image.pixel_size
    if result == "labels":
        from abbe.runtime.label_files import write_label_tiff

        write_label_tiff(path, labels, pool, most, size)
    elif result == "zarr":
        from abbe.runtime.label_files import write_label_zarr

        write_label_zarr(path, labels, pool, most, size, zarr_version)
    elif result == "probability":
        from abbe.runtime.label_files import write_map_tiff

        assert prediction.maps is not None  # kept, because they were asked for
        write_map_tiff(path, prediction.maps, pool, most, size)
    elif result in ("geojson", "geojson.gz"):
        from abbe.runtime.geojson import write_geojson
        from abbe.runtime.outlines import outlines

        rings = outlines(labels, pool, most)
        write_geojson(path, rings, pixel_size=size, classification=classification)
    elif result == "geoparquet":
        from abbe.runtime.geoparquet import write_geoparquet
        from abbe.runtime.outlines import outlines

        write_geoparquet(path, outlines(labels, pool, most), pixel_size=size)
    elif result == "table":
        from abbe.runtime.table import measure, write_table

        write_table(path, measure(labels, image, pool, most))
    else:
        from abbe.runtime.overview import write_overview

        write_overview(path, labels, image, prediction.channels, prediction.limits, pool, most)
