"""One row of measurements for each object, summed up tile by tile."""

import csv
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np

from abbe.files import atomic_path
from abbe.foreign_text import cells
from abbe.imaging import Image
from abbe.runtime.tiling.executors import in_order
from abbe.runtime.tiling.field import Labels
from abbe.runtime.tiling.grid import Tile
from abbe.runtime.writing.outlines import outlines

_FORMATS = {"i": "%d", "U": "%s"}
_ROWS = 20_000
_MOMENTS = ("area", "y", "x", "yy", "xx", "yx")

Sums = tuple[np.ndarray, np.ndarray]
"""Objects of a tile, and (sums, objects): the moments and the sum of each channel."""


def measure(
    labels: Labels, image: Image, pool: Executor, most: int, types: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Measure every object.

    Args:
        labels: The objects.
        image: The image at full resolution; all its channels are measured.
        pool, most: Threads, and how many tiles to have in hand.
        types: Names of the types that the objects may be of.

    Returns:
        Columns of one value an object: label; x, y (centroid, px; the centre of the first pixel is
        0, 0); area_px; parts, of how many it is that touch by no side, nearly always 1;
        major_axis_px, minor_axis_px and eccentricity of the ellipse with the same second moments;
        with a pixel size also x_um, y_um, area_um2; confidence, where known: the mean probability
        of the foreground, from 0 to 1; mean_CHANNEL for each channel. Where types are told apart,
        class, and probability_TYPE for each type.
    """
    grid = labels.grid
    down, across = (full / small for full, small in zip(labels.shape, grid.shape, strict=True))
    # Moments are taken around the first pixel: about the image's corner they would lose digits.
    origin = (labels.numbering.first * (down, across)).astype(np.int64)

    def of_tile(tile: Tile) -> Sums:
        region = grid.image_core(tile)
        core = labels.core(tile)
        pixels = np.flatnonzero(core)
        if not len(pixels):
            return np.zeros(0, np.int64), np.zeros((len(_MOMENTS) + len(image.channels), 0))
        present, index = np.unique(core.ravel()[pixels], return_inverse=True)
        row, column = np.divmod(pixels, core.shape[1])
        y = (row + region.top - origin[present, 0][index]).astype(float)
        x = (column + region.left - origin[present, 1][index]).astype(float)
        values = [None, y, x, y * y, x * x, y * x]
        values += [plane.ravel()[pixels] for plane in image.read(region)]
        return present, np.stack([np.bincount(index, each, len(present)) for each in values])

    sums = np.zeros((len(_MOMENTS) + len(image.channels), labels.count + 1))
    for present, part in in_order(pool, of_tile, _filled(labels), most):
        sums[:, present] += part
    parts = _parts(labels, pool, most)
    columns = _columns(sums, parts, origin, image, labels.numbering.confidence)
    shares = labels.numbering.types
    if shares is None or not types:
        return columns
    own = shares[columns["label"]]
    told = {f"probability_{name}": own[:, k] for k, name in enumerate(types)}
    return columns | {"class": np.array(types)[own.argmax(1)]} | told


def write_table(path: Path, columns: dict[str, np.ndarray]) -> None:
    """Write a CSV file, atomically."""
    formats = [_FORMATS.get(values.dtype.kind, "%.8g") for values in columns.values()]
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow(cells(list(columns)))
        line = ",".join(formats)
        for start in range(0, len(next(iter(columns.values()))), _ROWS):
            part = [_values(each[start : start + _ROWS]) for each in columns.values()]
            file.writelines(line % row + "\n" for row in zip(*part, strict=True))


def _values(column: np.ndarray) -> list[Any]:
    """Numbers as they are; texts as a CSV file holds them."""
    if column.dtype.kind != "U":
        return column.tolist()
    written = {text: _cell(text) for text in np.unique(column).tolist()}
    return [written[text] for text in column.tolist()]


def _cell(text: str) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(cells([text]))
    return buffer.getvalue()


def _parts(labels: Labels, pool: Executor, most: int) -> np.ndarray:
    """(n + 1,) outer rings of each object's outline: one for each part."""
    parts = np.zeros(labels.count + 1, np.int64)
    for rings in outlines(labels, pool, most):
        np.add.at(parts, rings.number[rings.area > 0], 1)
    return parts


def _filled(labels: Labels) -> Iterator[Tile]:
    """Tiles with pixels; a tile may have none where the image is coarser than the network."""
    for tile in labels.grid.tiles:
        top, left, bottom, right = labels.grid.image_core(tile)
        if top < bottom and left < right:
            yield tile


def _columns(
    sums: np.ndarray,
    parts: np.ndarray,
    origin: np.ndarray,
    image: Image,
    confidence: np.ndarray | None,
) -> dict[str, np.ndarray]:
    # An object may have no pixel in an image that is coarser than the network.
    number = np.flatnonzero(sums[0])
    sums, origin = sums[:, number], origin[number]
    area, y, x, yy, xx, yx = sums[: len(_MOMENTS)]
    y, x = y / area, x / area
    large, small = _axes(yy / area - y * y, xx / area - x * x, yx / area - y * x)
    y, x = y + origin[:, 0], x + origin[:, 1]
    shares = np.divide(small, large, out=np.ones_like(large), where=large > 0)
    columns: dict[str, np.ndarray] = {
        "label": number,
        "x": x,
        "y": y,
        "area_px": area.astype(np.int64),
        "parts": parts[number],
        "major_axis_px": 4 * np.sqrt(large),
        "minor_axis_px": 4 * np.sqrt(small),
        "eccentricity": np.sqrt(1 - shares),
    }
    if size := image.pixel_size:
        columns |= {"x_um": x * size, "y_um": y * size, "area_um2": area * size**2}
    if confidence is not None:
        columns["confidence"] = confidence[number]
    return columns | _means(image.channels, sums[len(_MOMENTS) :] / area)


def _axes(yy: np.ndarray, xx: np.ndarray, yx: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The larger and the smaller eigenvalue of the matrices of second central moments."""
    mean, spread = (yy + xx) / 2, np.sqrt(((yy - xx) / 2) ** 2 + yx**2)
    return mean + spread, np.maximum(mean - spread, 0)


def _means(channels: Sequence[str], means: np.ndarray) -> dict[str, np.ndarray]:
    return {f"mean_{name}": values for name, values in zip(channels, means, strict=True)}
