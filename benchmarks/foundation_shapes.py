"""What a prompt says by itself: answers to boxes and points that no network has a part in.

A box around a roundish object says nearly all of its outline, and a point says where the middle is.
What a promptable network is worth is what it adds to that.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from abbe import datasets
from abbe.datasets import Record
from abbe.datasets.training.eval_prompts import inner_points, tight_box
from abbe.scoring import pixel_scores
from abbe.tasks.promptable import objects_of
from abbe.tasks.scores import Row

SHAPE = "shape alone, no network"
"""The ellipse that fills the tight box; around the one point, a disc of a chosen size."""
BOX = "the box itself"
RADII = np.linspace(0.02, 0.3, 29)
"""Of the discs that validation pictures choose among, as shares of the longest side."""


def scored(folder: Path, tested: Sequence[Row]) -> list[Row]:
    """Rows of the shapes for the pictures that a run tested.

    Args:
        folder: of the run's pictures and labels. Pictures of its column split's ``val`` choose the
            disc; without such there is none.
        tested: a row for each picture, from which all but model, seed, metric and value is taken.
    """
    records = {record.id: record for record in datasets.folder(folder)}
    radius = chosen_radius([record for record in records.values() if record.split == "val"])
    rows: list[Row] = []
    for row in tested:
        for (model, metric), value in scores_of(records[row["image"]], radius).items():
            told = {"model": model, "seed": None, "metric": metric, "value": value}
            rows.append({**row, **told})
    return rows


def chosen_radius(records: Sequence[Record]) -> float | None:
    """The share of the longest side whose disc has the best mean Dice; None without pictures."""
    if not records:
        return None
    found = [
        [scores_of(record, radius)[SHAPE, "dice_1_point"] for record in records] for radius in RADII
    ]
    return float(RADII[int(np.mean(found, axis=1).argmax())])


def scores_of(record: Record, radius: float | None) -> dict[tuple[str, str], float]:
    """Dice by model and metric."""
    assert record.label is not None
    label = record.label.read()
    objects = objects_of(label)

    def dice(masks: Iterable[NDArray[np.bool_]]) -> float:
        answer = np.logical_or.reduce(list(masks))
        return pixel_scores(answer, label > 0, label >= 0)["dice"]

    found = {
        (BOX, "dice"): dice(map(box_of, objects)),
        (SHAPE, "dice"): dice(map(ellipse_in_box, objects)),
    }
    if radius is not None:
        found[SHAPE, "dice_1_point"] = dice(disc_at_point(each, radius) for each in objects)
    return found


def box_of(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    left, top, right, bottom = tight_box(mask).astype(int)
    filled = np.zeros_like(mask)
    filled[top:bottom, left:right] = True
    return filled


def ellipse_in_box(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    left, top, right, bottom = tight_box(mask)
    return ellipse(mask.shape, ((left + right) / 2, (top + bottom) / 2),
                   ((right - left) / 2, (bottom - top) / 2))  # fmt: skip


def disc_at_point(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """A disc, ``radius`` in shares of the longest side."""
    ((x, y),) = inner_points(mask, 1)
    size = radius * max(mask.shape)
    return ellipse(mask.shape, (x, y), (size, size))


def ellipse(
    shape: tuple[int, ...], middle: tuple[float, float], radii: tuple[float, float]
) -> NDArray[np.bool_]:
    """Pixels whose middles lie within; x before y."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    far = ((x + 0.5 - middle[0]) / radii[0]) ** 2 + ((y + 0.5 - middle[1]) / radii[1]) ** 2
    return far <= 1
