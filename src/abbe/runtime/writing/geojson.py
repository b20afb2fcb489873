"""Objects as GeoJSON that QuPath opens: written as they come, never held as a whole."""

import gzip
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np

from abbe.files import atomic_path
from abbe.runtime.writing.contours import Rings
from abbe.runtime.writing.polygons import objects_of
from abbe.runtime.writing.simplified import simplified


class FeatureProperties(NamedTuple):
    """What is said of one object.

    Attributes:
        classification: Name of its class.
        colour: Of the class: red, green, blue, 0 to 255.
        measurements: By name.
    """

    classification: str
    colour: tuple[int, int, int]
    measurements: Mapping[str, float] = {}


def write_geojson(
    path: Path,
    outlines: Iterable[Rings],
    *,
    pixel_size: float | None = None,
    kind: str = "detection",
    classification: str | None = None,
    properties_of: Callable[[int], FeatureProperties | None] | None = None,
    table: Mapping[str, np.ndarray] | None = None,
    simplify: float = 0.0,
) -> int:
    """Write a FeatureCollection, atomically.

    Coordinates are x, y in px of the image at full resolution, along pixel edges: the area of a
    polygon is the object's number of pixels. Outer rings run counter-clockwise and holes clockwise
    in the sense of RFC 7946. Ids are UUIDs made of the file's name and the object's number.

    Args:
        path: .geojson, or .geojson.gz to have it compressed.
        outlines: Rings of whole objects.
        pixel_size: In µm; adds areas in µm².
        kind: QuPath's objectType: "detection", "annotation" or "tile".
        classification: A class for all objects.
        properties_of: What else is said of an object, by its number.
        table: Columns of `abbe.runtime.writing.table.measure`, which become measurements.
        simplify: px; see `simplified`. 0 keeps the pixels' edges.

    Returns:
        How many objects were written.

    Raises:
        MissingExtraError: shapely is not installed, and outlines are to be simplified.
    """
    prefix = hashlib.sha256(path.name.encode()).hexdigest()
    prefix = f"{prefix[:8]}-{prefix[8:12]}-4{prefix[13:16]}-8{prefix[17:20]}-"
    properties = f'"objectType":"{kind}"'
    if classification is not None:
        properties += f',"classification":{{"name":{_quoted(classification)}}}'
    measure = '"Area px^2":%d' if pixel_size is None else '"Area px^2":%d,"Area µm^2":%.3f'
    measured = _measurements(table)
    count = 0
    with ExitStack() as stack:
        temporary = stack.enter_context(atomic_path(path))
        file = _opened(stack, temporary, compressed=path.suffix == ".gz")
        file.write('{"type":"FeatureCollection","features":[')
        for rings in outlines:
            features = []
            texts = _ring_texts(rings if simplify == 0 else simplified(rings, simplify))
            for number, polygons, area in objects_of(rings):
                geometry = _geometry([[texts[ring] for ring in polygon] for polygon in polygons])
                values = area if pixel_size is None else (area, area * pixel_size**2)
                own, more = (
                    _properties(properties_of(number)) if properties_of is not None else ("", "")
                )
                if measured is not None:
                    more += measured(number)
                features.append(
                    f'{{"type":"Feature","id":"{prefix}{number:012d}","geometry":{geometry},'
                    f'"properties":{{{properties}{own},"name":"{number}",'
                    f'"measurements":{{{measure % values}{more}}}}}}}'
                )
            if features:
                file.write(",\n" if count else "\n")
                file.write(",\n".join(features))
            count += len(features)
        file.write("\n]}\n")
    return count


def _properties(properties: FeatureProperties | None) -> tuple[str, str]:
    """What is added to an object's properties, and to its measurements."""
    if properties is None:
        return "", ""
    red, green, blue = properties.colour
    name = _quoted(properties.classification)
    own = f',"classification":{{"name":{name},"color":[{red},{green},{blue}]}}'
    more = [f",{_quoted(key)}:{value:.6g}" for key, value in properties.measurements.items()]
    return own, "".join(more)


_TOLD_ANYWAY = ("label", "area_px", "area_um2")


def _measurements(table: Mapping[str, np.ndarray] | None) -> Callable[[int], str] | None:
    """From an object's number to its measurements, named as the table's columns are."""
    if table is None:
        return None
    columns = {
        name: values
        for name, values in table.items()
        if name not in _TOLD_ANYWAY and values.dtype.kind != "U"
    }
    names = ["Confidence" if name == "confidence" else name for name in columns]
    line = "".join(f",{_quoted(name).replace('%', '%%')}:%.6g" for name in names)
    row_of = np.zeros(int(table["label"].max(initial=0)) + 1, np.int64)
    row_of[table["label"]] = np.arange(len(table["label"]))
    values = list(columns.values())

    def told(number: int) -> str:
        row = row_of[number]
        return line % tuple(column[row] for column in values)

    return told


def _ring_texts(rings: Rings) -> list[str]:
    """Each ring as ``[[x,y],…]``; the texts of whole px are made once and looked up."""
    if not len(rings.points):
        return []
    bounds = list(pairwise(rings.first.tolist()))
    if rings.points.dtype.kind == "f":
        pairs = [f"[{x:.10g},{y:.10g}]" for x, y in rings.points.tolist()]
        return [f"[{','.join(pairs[begin:end])}]" for begin, end in bounds]
    (left, top), (right, bottom) = rings.points.min(axis=0), rings.points.max(axis=0)
    columns = np.array([f"[{x}," for x in range(left, right + 1)], object)
    rows = np.array([f"{y}]" for y in range(top, bottom + 1)], object)
    points = (columns[rings.points[:, 0] - left] + rows[rings.points[:, 1] - top]).tolist()
    return [f"[{','.join(points[begin:end])}]" for begin, end in bounds]


def _geometry(polygons: list[list[str]]) -> str:
    parts = [f"[{','.join(rings)}]" for rings in polygons]
    if len(parts) == 1:
        return f'{{"type":"Polygon","coordinates":{parts[0]}}}'
    return f'{{"type":"MultiPolygon","coordinates":[{",".join(parts)}]}}'


def _opened(stack: ExitStack, path: Path, *, compressed: bool) -> TextIO:
    if compressed:
        return stack.enter_context(gzip.open(path, "wt", compresslevel=4, encoding="utf-8"))
    return stack.enter_context(open(path, "w", encoding="utf-8"))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
