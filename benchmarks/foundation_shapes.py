"""What a prompt says by itself, for runs from before Abbe scored it; and the filled box."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from abbe import datasets
from abbe.datasets import Record
from abbe.datasets.training.eval_prompts import objects_of
from abbe.scoring import pixel_scores, prompted_key
from abbe.summary import SHAPE
from abbe.tasks.promptable.shapes import ShapeAlone, best_radii
from abbe.tasks.scores import Row

BOX = "the box itself"


def scored(folder: Path, tested: Sequence[Row]) -> list[Row]:
    """Rows of the shapes for the pictures that a run tested.

    Args:
        folder: of the run's pictures and labels. Pictures of its column split's ``val`` choose the
            disc; without such there is none.
        tested: a row for each picture, from which all but model, seed, metric and value is taken.
    """
    records = {record.id: record for record in datasets.folder(folder)}
    choosing = [record for record in records.values() if record.split == "val"]
    shape = ShapeAlone(best_radii(choosing))
    rows: list[Row] = []
    for row in tested:
        for (model, metric), value in scores_of(records[row["image"]], shape).items():
            told = {"model": model, "seed": None, "metric": metric, "value": value}
            rows.append({**row, **told})
    return rows


def scores_of(record: Record, shape: ShapeAlone) -> dict[tuple[str, str], float]:
    """Dice by model and metric."""
    assert record.label is not None
    label = record.label.read()
    objects = objects_of(label)
    boxes = np.zeros(label.shape, bool)
    for each in objects:
        boxes[each.window] = True
    masks = {(BOX, "dice"): boxes} | {
        (SHAPE, prompted_key("dice", kind)): mask
        for kind, mask in shape.masks(record, objects).items()
    }
    return {key: pixel_scores(mask, label > 0, label >= 0)["dice"] for key, mask in masks.items()}
