"""The files that regions are written to."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from abbe.files import atomic_path
from abbe.foreign_text import cells
from abbe.imaging import Image, Region, class_colour
from abbe.runtime.job import SUFFIXES, Job, Outlining, Result, Tools
from abbe.runtime.package import PackageDescription
from abbe.runtime.tiling.executors import in_order
from abbe.runtime.tiling.field import ClassMap, Maps
from abbe.runtime.tiling.grid import Grid, Tile

if TYPE_CHECKING:
    from abbe.runtime.tiling.tissue import Tissue


@dataclass(frozen=True)
class RegionPrediction:
    """What a package finds in an image.

    Attributes:
        image: The image.
        classes: The class of each pixel, read by region.
        maps: The probability of each class, read by region; None where not to be kept.
        channels: Channels of the image that the network saw, in its order.
        limits: (C, 2) what becomes 0 and 1 of these.
        grid: How it was cut.
        background: Number of the class that is called so, which is not outlined; None without one.
        tissue: Where on a slide was looked, the rest being background; None for everywhere.
    """

    image: Image
    classes: ClassMap
    maps: Maps | None
    channels: tuple[str, ...]
    limits: np.ndarray
    grid: Grid
    background: int | None
    tissue: Tissue | None = None


def write_region_results(
    prediction: RegionPrediction,
    stem: Path,
    job: Job,
    tools: Tools,
    most: int,
    *,
    description: PackageDescription,
) -> None:
    """Write the files that are asked for, each whole or not at all.

    Args:
        prediction: What was found.
        stem: Folder and name of the files, without suffix.
        job: Which files.
        tools: Threads.
        most: How many pieces to have in hand at a time.
        description: Of the package.
    """
    for result in job.results:
        path = stem.with_name(stem.name + SUFFIXES[result])
        with tools.timings.measure("write"):
            _write(prediction, result, path, job, tools, most, description)


def _write(
    prediction: RegionPrediction,
    result: Result,
    path: Path,
    job: Job,
    tools: Tools,
    most: int,
    description: PackageDescription,
) -> None:
    """One file; each writer is imported when it is asked for."""
    classes, image, pool = prediction.classes, prediction.image, tools.pool
    size = image.pixel_size
    if result == "labels":
        from abbe.runtime.writing.label_files import write_class_tiff

        write_class_tiff(path, classes, pool, most, size)
    elif result == "zarr":
        from abbe.runtime.writing.label_files import write_label_zarr

        write_label_zarr(path, classes, pool, most, size, job.zarr_version, classes.names)
    elif result == "probability":
        from abbe.runtime.writing.label_files import write_map_tiff

        assert prediction.maps is not None  # kept, because they were asked for
        write_map_tiff(path, prediction.maps, pool, most, size)
    elif result == "table":
        write_areas_by_class(path, class_areas(prediction, tools, most), classes.names, size)
    elif result == "overview":
        from abbe.runtime.writing.class_overview import write_class_overview

        write_class_overview(
            path,
            image,
            prediction.channels,
            prediction.limits,
            lambda region, step: classes.read(region)[::step, ::step],
            classes.names,
            pool=pool,
            most=most,
            plain=prediction.background,
            tissue=prediction.tissue,
        )
    elif result == "dicom-seg":
        _write_dicom(prediction, path, tools, most, description)
    else:
        least = description.instances.minimum_area
        _write_outlines(prediction, path, job.outlining, tools, most, least)


def _write_dicom(
    prediction: RegionPrediction,
    path: Path,
    tools: Tools,
    most: int,
    description: PackageDescription,
) -> None:
    """A segment for each class but the background."""
    from abbe.imaging.formats.dicom.series import source_of
    from abbe.runtime.writing.dicom.segmentation import write_segmentation
    from abbe.runtime.writing.dicom.told import Classes

    names, background = prediction.classes.names, prediction.background
    kept = [number for number in range(len(names)) if number != background]
    segments = np.zeros(len(names), np.uint8)
    segments[kept] = np.arange(1, len(kept) + 1)
    classes = Classes([names[k] for k in kept], [class_colour(k) for k in kept])
    write_segmentation(
        path, source_of(prediction.image.source),
        lambda region: segments[prediction.classes.read(region)], classes, tools.pool, most,
        seen=prediction.grid.shape, description=description,
    )  # fmt: skip


def _write_outlines(
    prediction: RegionPrediction,
    path: Path,
    outlining: Outlining,
    tools: Tools,
    most: int,
    minimum_area: int,
) -> None:
    from abbe.runtime.writing.areas import find_areas
    from abbe.runtime.writing.geojson import FeatureProperties, write_geojson
    from abbe.runtime.writing.outlines import outlines

    if outlining.minimum_area is not None:
        minimum_area = prediction.grid.area_seen(outlining.minimum_area)
    areas = find_areas(
        prediction.classes, tools.pool, most,
        minimum_area=minimum_area, skip=prediction.background,
    )  # fmt: skip

    def properties_of(area: int) -> FeatureProperties:
        number = int(areas.class_of[area])
        return FeatureProperties(prediction.classes.names[number], class_colour(number))

    rings = outlines(areas.labels, tools.pool, most)
    size = prediction.image.pixel_size
    write_geojson(
        path, rings, pixel_size=size, kind="annotation", properties_of=properties_of,
        simplify=outlining.simplify,
    )  # fmt: skip


def class_areas(prediction: RegionPrediction, tools: Tools, most: int) -> np.ndarray:
    """How many px of the image each class has, (K,) int64."""
    classes, count = prediction.classes, len(prediction.classes.names)

    def of_tile(tile: Tile) -> np.ndarray:
        region: Region = classes.grid.image_core(tile)
        if region.top >= region.bottom or region.left >= region.right:
            return np.zeros(count, np.int64)  # the image is coarser than the network
        return np.bincount(classes.core(tile).ravel(), minlength=count)

    total = np.zeros(count, np.int64)
    for part in in_order(tools.pool, of_tile, classes.grid.tiles, most):
        total += part
    return total


def write_areas_by_class(
    path: Path, areas: np.ndarray, names: Sequence[str], pixel_size: float | None
) -> None:
    """Write a CSV file, atomically: number, name, area in px and µm², share of the image."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        in_um = ["area_um2"] if pixel_size is not None else []
        writer.writerow(["number", "class", "area_px", *in_um, "share"])
        for number, (name, area) in enumerate(zip(names, areas.tolist(), strict=True)):
            um = [f"{area * pixel_size**2:.8g}"] if pixel_size is not None else []
            writer.writerow(cells([number, name, area, *um, f"{area / areas.sum():.6g}"]))
