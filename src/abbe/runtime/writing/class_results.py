"""The files that the classes of images and tiles are written to."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from abbe.files import atomic_path
from abbe.foreign_text import cells
from abbe.imaging import Region, class_colour, image_limits
from abbe.runtime.job import SUFFIXES, Job, Tools
from abbe.runtime.package import PackageDescription
from abbe.runtime.tiling.whole_tiles import ClassPrediction
from abbe.runtime.writing.contours import Rings

IMAGES = "classes.csv"
"""The table of all images, in the folder of the results."""


def describe(prediction: ClassPrediction) -> dict[str, Any]:
    """What the table of images says of one."""
    return {"tiles": int(prediction.taken.sum()), "probabilities": prediction.whole.tolist()}


def write_images(path: Path, answers: Mapping[str, Any], names: Sequence[str]) -> None:
    """Write a CSV file, atomically, a row an image: its class, tiles, and probabilities.

    Args:
        path: The file.
        answers: By the image's path below its folder, what `describe` says.
        names: Of the classes.
    """
    rows = (
        [image, names[int(np.argmax(each["probabilities"]))], each["tiles"],
         *_written(each["probabilities"])]
        for image, each in answers.items()
    )  # fmt: skip
    _write_csv(path, ["image", "class", "tiles", *_columns(names)], rows)


def write_class_results(
    prediction: ClassPrediction,
    stem: Path,
    job: Job,
    tools: Tools,
    most: int,
    *,
    description: PackageDescription,
) -> None:
    """Write the files that are asked for, each whole or not at all.

    An image of one tile has no table of tiles: its row in the table of images says it all.

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
            if result == "table":
                if len(prediction.tiles) > 1:
                    write_tiles(path, prediction)
            elif result == "overview":
                _write_overview(path, prediction, tools, most)
            elif result == "dicom-ann":
                _write_dicom(path, prediction, description)
            else:
                _write_geojson(path, prediction)


def write_tiles(path: Path, prediction: ClassPrediction) -> None:
    """Write a CSV file, atomically, a row a tile: where it lies, its class, and probabilities.

    x, y, width and height are those of what the tile answers for, in px of the image, and with a
    pixel size in µm too.
    """
    size = prediction.image.pixel_size
    places = ["x", "y", "width", "height"]
    in_um = [f"{name}_um" for name in places] if size is not None else []

    def rows() -> Iterator[list[Any]]:
        for number, region, probabilities in _tiles(prediction):
            top, left, bottom, right = region
            place = [left, top, right - left, bottom - top]
            um = [f"{each * size:.8g}" for each in place] if size is not None else []
            name = prediction.names[int(probabilities.argmax())]
            yield [number, *place, *um, name, *_written(probabilities.tolist())]

    _write_csv(path, ["tile", *places, *in_um, "class", *_columns(prediction.names)], rows())


def _tiles(prediction: ClassPrediction) -> Iterator[tuple[int, Region, np.ndarray]]:
    """Of each tile looked at its number, row by row from 1, its place and its probabilities."""
    across = prediction.probabilities.shape[1]
    for row, column in np.argwhere(prediction.taken).tolist():
        number = row * across + column + 1
        yield number, prediction.tiles.core(row, column), prediction.probabilities[row, column]


def _write_overview(path: Path, prediction: ClassPrediction, tools: Tools, most: int) -> None:
    from abbe.runtime.writing.class_overview import write_class_overview

    down, across = (
        np.repeat(np.arange(len(side)), [span.core_stop - span.core_start for span in side])
        for side in (prediction.tiles.rows, prediction.tiles.columns)
    )
    classes = prediction.classes

    def classes_in(region: Region, step: int) -> np.ndarray:
        rows = down[region.top : region.bottom : step]
        return classes[rows[:, None], across[region.left : region.right : step]]

    image, channels = prediction.image, prediction.channels
    limits = image_limits(image, channels)
    write_class_overview(
        path, image, channels, limits, classes_in, prediction.names, pool=tools.pool, most=most,
        plain=-1, tissue=prediction.tissue,
    )  # fmt: skip


def _write_geojson(path: Path, prediction: ClassPrediction) -> None:
    from abbe.runtime.writing.geojson import FeatureProperties, write_geojson

    flat = prediction.probabilities.reshape(-1, len(prediction.names))

    def properties_of(tile: int) -> FeatureProperties:
        own = flat[tile - 1]
        number = int(own.argmax())
        measured = dict(zip(_columns(prediction.names), own.tolist(), strict=True))
        return FeatureProperties(prediction.names[number], class_colour(number), measured)

    size = prediction.image.pixel_size
    write_geojson(
        path, _squares(prediction), pixel_size=size, kind="tile", properties_of=properties_of
    )


def _write_dicom(path: Path, prediction: ClassPrediction, description: PackageDescription) -> None:
    from abbe.imaging.formats.dicom.series import source_of
    from abbe.runtime.writing.dicom.annotations import write_annotations
    from abbe.runtime.writing.dicom.told import Classes

    names, flat = prediction.names, prediction.probabilities.reshape(-1, len(prediction.names))
    taken = np.flatnonzero(prediction.taken)
    table = {"label": taken + 1} | {
        column: flat[taken, number] for number, column in enumerate(_columns(names))
    }
    classes = Classes(names, [class_colour(number) for number in range(len(names))])
    write_annotations(
        path, source_of(prediction.image.source), _squares(prediction), classes,
        lambda tile: int(flat[tile - 1].argmax()), table=table, description=description,
    )  # fmt: skip


def _squares(prediction: ClassPrediction) -> Iterator[Rings]:
    """The outlines of the tiles looked at, row by row."""
    across = len(prediction.tiles.columns)
    for row, taken in enumerate(prediction.taken):
        columns = np.flatnonzero(taken)
        if not len(columns):
            continue
        cores = np.array([prediction.tiles.core(row, column) for column in columns.tolist()])
        top, left, bottom, right = cores.T
        x = np.stack([left, right, right, left, left], axis=1)
        y = np.stack([top, top, bottom, bottom, top], axis=1)
        yield Rings(
            row * across + columns + 1,
            5 * np.arange(len(columns) + 1),
            np.stack([x, y], axis=-1).reshape(-1, 2).astype(np.int32),
            (bottom - top) * (right - left),
        )


def _columns(names: Sequence[str]) -> list[str]:
    return [f"probability_{name}" for name in names]


def _written(probabilities: Sequence[float]) -> list[str]:
    return [f"{each:.6g}" for each in probabilities]


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(cells(header))
        writer.writerows(map(cells, rows))
