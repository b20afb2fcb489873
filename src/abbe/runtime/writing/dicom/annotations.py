"""Objects as DICOM bulk annotations: a group a class, an outline each, and their measurements.

Coordinates are px of the slide at full resolution, from the corner of its first pixel. An
annotation is one outline: holes are left out, and an object in several parts has one for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from abbe.files import atomic_path
from abbe.imaging.formats.dicom.series import Source
from abbe.runtime.writing.contours import Rings
from abbe.runtime.writing.dicom.told import (
    Classes,
    algorithm,
    category_and_type,
    colour,
    instance,
    measurement,
    text,
)
from abbe.runtime.writing.simplified import simplified

if TYPE_CHECKING:
    from abbe.runtime.package import PackageDescription

_LEFT_OUT = ("x", "y", "x_um", "y_um", "parts")
"""Columns of the table that the outlines tell themselves."""


def write_annotations(
    path: Path,
    source: Source,
    outlines: Iterable[Rings],
    classes: Classes,
    class_of: Callable[[int], int],
    *,
    table: Mapping[str, np.ndarray],
    description: PackageDescription,
    simplify: float = 0.0,
) -> int:
    """Write bulk annotations, atomically.

    DICOM has no empty list of annotations: where there is no object, no file is left at ``path``.

    Args:
        path: The file.
        source: The slide that they refer to.
        outlines: Rings of whole objects.
        classes: What objects may be; those of which there is none have no group.
        class_of: The number of an object's class, from 0.
        table: Columns of measurements; "label" holds the numbers of objects.
        description: Of the package.
        simplify: px; see `simplified`. 0 keeps the pixels' edges.

    Returns:
        How many holes were left out.

    Raises:
        MissingExtraError: shapely is not installed, and outlines are to be simplified.
    """
    from highdicom.ann import MicroscopyBulkSimpleAnnotations

    found: list[list[np.ndarray]] = [[] for _ in classes.names]
    owners: list[list[int]] = [[] for _ in classes.names]
    holes = 0
    for rings in outlines:
        drawn = rings if simplify == 0 else simplified(rings, simplify)
        holes += int(np.count_nonzero(rings.area < 0))
        for ring in np.flatnonzero(rings.area > 0).tolist():
            number = int(rings.number[ring])
            kind = class_of(number)
            # The last point, which is the first one again, is not repeated in DICOM.
            points = drawn.points[drawn.first[ring] : drawn.first[ring + 1] - 1]
            found[kind].append(points.astype(np.float32))
            owners[kind].append(number)
    groups: list[Any] = []
    for kind, name in enumerate(classes.names):
        if found[kind]:
            shown = classes.colours[kind]
            groups.append(
                _group(len(groups) + 1, name, shown, found[kind], owners[kind], table, description)
            )
    if not groups:
        path.unlink(missing_ok=True)  # of an earlier run
        return 0
    written = MicroscopyBulkSimpleAnnotations(
        source_images=[source.levels[0]],
        annotation_coordinate_type="2D",
        annotation_groups=groups,
        **instance(description, f"Objects by {description.title}"),
    )
    with atomic_path(path) as temporary:
        written.save_as(temporary)
    return holes


def _group(
    number: int,
    name: str,
    shown: tuple[int, int, int],
    outlines: list[np.ndarray],
    owners: list[int],
    table: Mapping[str, np.ndarray],
    description: PackageDescription,
) -> Any:
    from highdicom import UID
    from highdicom.ann import AnnotationGroup, Measurements

    labels = table["label"]
    row_of = np.zeros(int(labels.max(initial=0)) + 1, np.int64)
    row_of[labels] = np.arange(len(labels))
    rows = row_of[np.asarray(owners)]
    measured = []
    for column, values in table.items():
        if values.dtype.kind != "U" and column not in _LEFT_OUT:
            concept, unit = measurement(column)
            measured.append(Measurements(concept, values[rows].astype(np.float32), unit))
    category, kind = category_and_type(name)
    return AnnotationGroup(
        number, UID(), text(name), category, kind, "POLYGON", outlines, "AUTOMATIC",
        algorithm(description), measured, display_color=colour(shown),
    )  # fmt: skip
