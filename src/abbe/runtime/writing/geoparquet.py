"""Objects as GeoParquet 1.1: polygons as WKB, one row an object."""

import json
import struct
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from abbe.errors import MissingExtraError
from abbe.files import atomic_path
from abbe.runtime.writing.contours import Rings
from abbe.runtime.writing.polygons import Polygon, objects_of
from abbe.runtime.writing.simplified import simplified

_ROWS = 20_000
"""Rows of a row group; more are never held."""


def write_geoparquet(
    path: Path,
    outlines: Iterable[Rings],
    *,
    pixel_size: float | None = None,
    confidence: np.ndarray | None = None,
    simplify: float = 0.0,
    class_of: Callable[[int], str | None] = lambda number: None,
) -> int:
    """Write one row an object: label, class, area_px, area_um2, confidence and geometry.

    Coordinates are x, y in px of the image along pixel edges, without a reference system. Without
    a pixel size, area_um2 is null, and confidence where it is not known.

    Args:
        path: The file.
        outlines: Rings of whole objects.
        pixel_size: In µm.
        confidence: (n + 1,) that of each object, from 0 to 1, by its number.
        simplify: px; see `simplified`. 0 keeps the pixels' edges.
        class_of: The class of an object by its number; null where None.

    Returns:
        How many objects were written.

    Raises:
        MissingExtraError: pyarrow is not installed; or shapely, and outlines are to be simplified.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise MissingExtraError("pyarrow", "geo", "GeoParquet") from error
    geo = {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {
            "geometry": {
                "encoding": "WKB",
                "geometry_types": ["Polygon", "MultiPolygon"],
                "crs": None,
                "orientation": "counterclockwise",
            }
        },
    }
    schema = pyarrow.schema(
        [
            ("label", pyarrow.int32()),
            ("class", pyarrow.string()),
            ("area_px", pyarrow.int64()),
            ("area_um2", pyarrow.float64()),
            ("confidence", pyarrow.float64()),
            ("geometry", pyarrow.binary()),
        ],
        metadata={"geo": json.dumps(geo)},
    )
    count = 0
    with atomic_path(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        for rows in _batches(outlines, simplify):
            numbers, areas, shapes = zip(*rows, strict=True)
            squares = [None if pixel_size is None else area * pixel_size**2 for area in areas]
            sure = [None if confidence is None else float(confidence[each]) for each in numbers]
            kinds = [class_of(number) for number in numbers]
            columns = [numbers, kinds, [int(area) for area in areas], squares, sure, shapes]
            arrays = [
                pyarrow.array(list(column), field.type)
                for column, field in zip(columns, schema, strict=True)
            ]
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
            count += len(rows)
    return count


def _batches(
    outlines: Iterable[Rings], simplify: float
) -> Iterator[list[tuple[int, float, bytes]]]:
    rows: list[tuple[int, float, bytes]] = []
    for rings in outlines:
        drawn = rings if simplify == 0 else simplified(rings, simplify)
        points = [
            drawn.points[begin:end].astype("<f8").tobytes()
            for begin, end in pairwise(drawn.first.tolist())
        ]
        for number, polygons, area in objects_of(rings):
            rows.append((number, area, _wkb(polygons, points)))
        if len(rows) >= _ROWS:
            yield rows
            rows = []
    if rows:
        yield rows


def _wkb(polygons: list[Polygon], points: list[bytes]) -> bytes:
    """Well-known binary, little-endian: 3 is a polygon, 6 several."""
    parts = []
    for polygon in polygons:
        head = struct.pack("<BII", 1, 3, len(polygon))
        rings = [struct.pack("<I", len(points[ring]) // 16) + points[ring] for ring in polygon]
        parts.append(head + b"".join(rings))
    if len(parts) == 1:
        return parts[0]
    return struct.pack("<BII", 1, 6, len(parts)) + b"".join(parts)
