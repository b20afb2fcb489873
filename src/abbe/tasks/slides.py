"""From tiles to slides: a slide has one class, so its tiles' answers are joined before scoring.

A slide's probability of a class is the mean over its tiles, all of which have tissue. As a second
view, `write_slides` tells the mean over the tiles that are surest of the class.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from abbe.datasets import Dataset, Record
from abbe.datasets.slides.tiles import SlideTile
from abbe.datasets.training.prepare import Prepared
from abbe.files import atomic_path
from abbe.foreign_text import cells

TOP = 10
"""Tiles that the second view looks at; all of a slide that has fewer."""
_OF_TILES = ("x", "y", "tissue", "sharpness")
"""Columns that differ from tile to tile."""

Members = list[NDArray[np.intp]]
"""Of each slide the places of its tiles among the images."""


def members_of(images: Sequence[Prepared], dataset: Dataset) -> Members:
    """The tiles of each slide, in the order of slides; empty where images are no tiles."""
    by_slide: dict[str, list[int]] = {}
    for place, image in enumerate(images):
        record = dataset[image.id]
        if not isinstance(record.image, SlideTile):
            return []
        by_slide.setdefault(str(record.image.path), []).append(place)
    return [np.array(places) for places in by_slide.values()]


def one_each(records: Iterable[Record]) -> tuple[Record, ...]:
    """The first tile of each slide; images that are no tiles as they are."""
    first: dict[str, Record] = {}
    for record in records:
        source = record.image
        first.setdefault(str(source.path) if isinstance(source, SlideTile) else record.id, record)
    return tuple(first.values())


def mean_over_tiles(table: NDArray[Any], members: Members) -> NDArray[np.float64]:
    """(S, K) of (N, K): a slide's mean over its tiles."""
    return np.stack([table[places].mean(0) for places in members])


def top_tiles(table: NDArray[Any], members: Members, count: int = TOP) -> NDArray[np.float64]:
    """(S, K) of (N, K): for each class the mean of its highest ``count`` tiles, to a sum of 1."""
    highest = [np.sort(table[places], axis=0)[-count:].mean(0) for places in members]
    return np.stack([each / each.sum() for each in highest])


def rows_of(
    tables: Mapping[str, NDArray[Any]],
    members: Members,
    images: Sequence[Prepared],
    dataset: Dataset,
) -> list[dict[str, Any]]:
    """A row a slide and model, with the columns that the user's table has of it.

    Args:
        tables: by model (N, K) probabilities of tiles.
        members: of `members_of`.
        images: the tiles.
        dataset: says classes and columns.
    """
    classes, rows = dataset.classes, []
    for model, table in tables.items():
        views = mean_over_tiles(table, members), top_tiles(table, members)
        for places, mean, top in zip(members, *views, strict=True):
            record = dataset[images[places[0]].id]
            own = {
                key: value
                for key, value in record.columns.items()
                if key not in (*_OF_TILES, "slide", "class")
            }
            rows.append(
                {
                    "slide": record.columns["slide"],
                    "group": record.unit,
                    "model": model,
                    "class": record.columns["class"],
                    "tiles": len(places),
                    "predicted": classes[int(mean.argmax())],
                    "predicted_top_tiles": classes[int(top.argmax())],
                    **{
                        f"probability_{name}": f"{value:.6g}"
                        for name, value in zip(classes, mean.tolist(), strict=True)
                    },
                    **{
                        f"top_tiles_{name}": f"{value:.6g}"
                        for name, value in zip(classes, top.tolist(), strict=True)
                    },
                    **own,
                }
            )
    return rows


def write_slides(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write slides.csv, atomically: rows of `rows_of`."""
    header = list(dict.fromkeys(key for row in rows for key in row))
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(cells(header))
        writer.writerows(cells([row.get(key, "") for key in header]) for row in rows)
