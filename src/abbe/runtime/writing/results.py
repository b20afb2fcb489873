"""The files that a prediction is written to."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from abbe.imaging import Image, class_colour
from abbe.runtime.job import DICOM, OUTLINES, SUFFIXES, Job, Result
from abbe.runtime.package import PackageDescription
from abbe.runtime.tiling.grid import Grid
from abbe.runtime.tiling.timing import Timings

if TYPE_CHECKING:
    from abbe.runtime.tiling.field import Labels, Maps
    from abbe.runtime.tiling.tissue import Tissue
    from abbe.runtime.writing.geojson import FeatureProperties


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
        types: Names of the types that objects may be of; none where they have no types.
    """

    image: Image
    labels: Labels
    maps: Maps | None
    channels: tuple[str, ...]
    limits: np.ndarray
    grid: Grid
    timings: Timings
    tissue: Tissue | None = None
    types: tuple[str, ...] = ()

    def type_of(self, number: int) -> FeatureProperties | None:
        """The class of an object and its colour; None where objects have no types."""
        if not self.types or self._most_probable is None:
            return None
        from abbe.runtime.writing.geojson import FeatureProperties

        kind = int(self._most_probable[number])
        return FeatureProperties(self.types[kind], class_colour(kind))

    @cached_property
    def _most_probable(self) -> np.ndarray | None:
        shares = self.labels.numbering.types
        return None if shares is None else shares.argmax(1)


def write_results(
    prediction: Prediction,
    stem: Path,
    job: Job,
    pool: Executor,
    most: int,
    description: PackageDescription,
) -> tuple[str, ...]:
    """Write the files that are asked for, each whole or not at all.

    Args:
        prediction: What was found.
        stem: Folder and name of the files, without suffix.
        job: Which files.
        pool: Threads.
        most: How many pieces to have in hand at a time.
        description: Of the package; its class, if it has but one, is that of all objects.

    Returns:
        What the files could not say, in sentences for people.
    """
    only = description.classes[0] if len(description.classes) == 1 else None
    named = job.outlining.class_name or only
    writer = _Writer(prediction, job, pool, most, named, description)
    for result in job.results:
        path = stem.with_name(stem.name + SUFFIXES[result])
        with prediction.timings.measure("write"):
            writer.write(result, path)
    return tuple(writer.notes)


@dataclass(frozen=True)
class _Writer:
    """Writes each file; what writes it is imported when it is asked for."""

    prediction: Prediction
    job: Job
    pool: Executor
    most: int
    classification: str | None
    description: PackageDescription
    notes: list[str] = field(default_factory=list)

    @cached_property
    def table(self) -> dict[str, np.ndarray]:
        """The objects' measurements, taken once for all files."""
        from abbe.runtime.writing.table import measure

        shown = self.prediction
        return measure(shown.labels, shown.image, self.pool, self.most, shown.types)

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
        elif result in DICOM:
            self._dicom(result, path)
        elif result in OUTLINES:
            self._outline(result, path)
        elif result == "table":
            from abbe.runtime.writing.table import write_table

            write_table(path, self.table)
        else:
            from abbe.runtime.writing.overview import write_overview

            shown = prediction.channels, prediction.limits
            numbering = labels.numbering
            kinds = None if numbering.types is None else numbering.types.argmax(1)
            write_overview(
                path, labels, prediction.image, *shown, pool, most,
                tissue=prediction.tissue, types=prediction.types, type_of=kinds,
            )  # fmt: skip

    def _class_of(self, number: int) -> str | None:
        """The class of an object, if it has any."""
        told = self.prediction.type_of(number)
        return self.classification if told is None else told.classification

    def _outline(self, result: Result, path: Path) -> None:
        from abbe.runtime.writing.outlines import outlines

        labels, simplify = self.prediction.labels, self.job.outlining.simplify
        size = self.prediction.image.pixel_size
        rings = outlines(labels, self.pool, self.most)
        if result == "geoparquet":
            from abbe.runtime.writing.geoparquet import write_geoparquet

            confidence = labels.numbering.confidence
            write_geoparquet(
                path, rings, pixel_size=size, confidence=confidence, simplify=simplify,
                class_of=self._class_of,
            )  # fmt: skip
        else:
            from abbe.runtime.writing.geojson import write_geojson

            typed = bool(self.prediction.types)
            write_geojson(
                path, rings, pixel_size=size, classification=self.classification,
                properties_of=self.prediction.type_of if typed else None,
                table=self.table, simplify=simplify,
            )  # fmt: skip

    def _dicom(self, result: Result, path: Path) -> None:
        from abbe.imaging.formats.dicom.series import source_of
        from abbe.runtime.writing.dicom.told import Classes

        labels, types = self.prediction.labels, self.prediction.types
        names = types or (self.classification or "Object",)
        classes = Classes(names, [class_colour(kind) for kind in range(len(names))])
        shares = labels.numbering.types if types else None
        kinds = np.zeros(labels.count + 1, int) if shares is None else shares.argmax(1)
        source = source_of(self.prediction.image.source)
        if result == "dicom-ann":
            from abbe.runtime.writing.dicom.annotations import write_annotations
            from abbe.runtime.writing.outlines import outlines

            holes = write_annotations(
                path, source, outlines(labels, self.pool, self.most), classes,
                lambda number: int(kinds[number]),
                table=self.table, description=self.description,
                simplify=self.job.outlining.simplify,
            )  # fmt: skip
            if holes:
                self.notes.append(
                    f"{holes:,} hole{'s' * (holes > 1)} in its objects cannot be told by dicom-ann,"
                    " as DICOM's outlines have none: dicom-seg and geojson have them."
                )
            return
        from abbe.runtime.writing.dicom.segmentation import MOST_OBJECTS, write_segmentation

        segments = np.where(np.arange(labels.count + 1) > 0, kinds + 1, 0)
        if not source.slide and 0 < labels.count <= MOST_OBJECTS:
            segments = np.arange(labels.count + 1)
            classes = Classes(
                [f"{names[kinds[number]]} {number}" for number in segments[1:]],
                [class_colour(number - 1) for number in segments[1:]],
            )
        write_segmentation(
            path, source, lambda region: segments[labels.read(region)], classes, self.pool,
            self.most, seen=labels.grid.shape, description=self.description,
        )  # fmt: skip
