"""What a prompt says by itself: answers to boxes and points that no network has a part in.

A box around a roundish object says nearly all of its outline, and points inside it say where its
middle is. What a promptable network is worth is what it adds to that. On some sets (polyps, lesions
in ultrasound) the ellipse that fills a tight box is nearer to the labels than most networks are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from abbe import scoring
from abbe.datasets import Dataset, Record
from abbe.datasets.training.eval_prompts import Asked, objects_of
from abbe.summary import SHAPE
from abbe.tasks.scores import Compared, Measure, gains_over, measured_score

RADII = np.linspace(0.02, 0.3, 29)
"""Of the discs to choose among, as shares of an image's longest side."""


@dataclass(frozen=True)
class ShapeAlone:
    """Answers like `abbe.tasks.promptable.task.PromptedModel`, from the prompt alone.

    Attributes:
        radii: by kind of prompt with points, the radius of the disc around their middle, as a share
            of the image's longest side. Kinds that are not in it get no answer.
    """

    radii: Mapping[str, float]

    @property
    def kinds(self) -> list[str]:
        """Of prompts that get an answer."""
        return [kind for kind in scoring.PROMPT_KINDS if kind == "box" or kind in self.radii]

    @property
    def in_words(self) -> str:
        """What it is, for a reader of its scores."""
        discs = ", ".join(
            f"{radius:.2f} of the longest side ({scoring.PROMPT_KINDS[kind]})"
            for kind, radius in self.radii.items()
        )
        around = f"; around the points a disc, its radius {discs}" if discs else ""
        return f"no network: the ellipse that fills the box{around}"

    def masks(self, record: Record, objects: Sequence[Asked]) -> dict[str, NDArray[np.bool_]]:
        """By kind of prompt, the union of the answers for all objects, (H, W) bool.

        Args:
            record: not looked at.
            objects: what is asked for, at least one.
        """
        del record
        found = {"box": np.zeros(objects[0].label.shape, bool)}
        for each in objects:
            found["box"][each.window] |= ellipse_in_box(each)
        for kind, radius in self.radii.items():
            found[kind] = distances(objects, kind) <= radius
        return found


def chosen_on(dataset: Dataset) -> ShapeAlone:
    """Discs of the sizes that have the best mean Dice on validation images.

    Where none is labelled, on training images; where none of these is, there are no discs.
    """
    for split in ("val", "train"):
        if records := dataset.split(split).labelled.records:
            return ShapeAlone(best_radii(records))
    return ShapeAlone({})


def add(
    compared: Compared, shape: ShapeAlone, metrics: Mapping[str, scoring.Metric], measure: Measure
) -> None:
    """Its scores, and the student minus it, in the metrics of the prompts that it answers."""
    asked = {scoring.prompted_key(m, kind) for m in scoring.MEASURED for kind in shape.kinds}
    answered = {metric: about for metric, about in metrics.items() if metric in asked}
    compared.scores[SHAPE] = {
        metric: measured_score(measure(metric, [SHAPE])[0], about.scale)
        for metric, about in answered.items()
    }
    if "student" in compared.scores:
        compared.gains[SHAPE] = gains_over(SHAPE, answered, measure)


def best_radii(records: Sequence[Record]) -> dict[str, float]:
    """By kind of prompt with points, the one of ``RADII`` with the best mean Dice on images."""
    kinds = [kind for kind in scoring.PROMPT_KINDS if kind != "box"]
    found: dict[str, list[NDArray[np.float64]]] = {kind: [] for kind in kinds}
    for record in records:
        assert record.label is not None  # only labelled ones are given
        label = record.label.read()
        if objects := objects_of(label):
            for kind in kinds:
                found[kind].append(dice_by_radius(distances(objects, kind), label))
    return {
        kind: float(RADII[int(np.mean(each, axis=0).argmax())])
        for kind, each in found.items()
        if each
    }


def dice_by_radius(far: NDArray[np.float64], label: NDArray[np.integer]) -> NDArray[np.float64]:
    """The Dice of the pixels within each of ``RADII`` with the union of the labelled objects.

    Args:
        far: (H, W) as `distances` gives it.
        label: (H, W); below 0 where nobody knows.
    """
    known = label >= 0
    ring = np.searchsorted(RADII, far[known])  # the number of the smallest disc that holds a pixel
    inside = np.bincount(ring, minlength=len(RADII) + 1)[:-1].cumsum()
    right = np.bincount(ring[label[known] > 0], minlength=len(RADII) + 1)[:-1].cumsum()
    return 2 * right / (inside + np.count_nonzero(label > 0))


def distances(objects: Sequence[Asked], kind: str) -> NDArray[np.float64]:
    """How far each pixel is from the nearest object's point, or the middle of its points.

    Args:
        objects: at least one.
        kind: of prompt, one with points.

    Returns:
        (H, W) in shares of the longest side.
    """
    height, width = objects[0].label.shape
    y, x = np.ogrid[:height, :width]
    nearest = np.full((height, width), np.inf)
    for each in objects:
        middle_x, middle_y = each.points(int(kind[0])).mean(axis=0)
        squared = (x + 0.5 - middle_x) ** 2 + (y + 0.5 - middle_y) ** 2
        np.minimum(nearest, squared, out=nearest)
    return np.sqrt(nearest) / max(height, width)


def ellipse_in_box(asked: Asked) -> NDArray[np.bool_]:
    """The ellipse that fills the tight box around an object: pixels whose middles lie within.

    Returns:
        (h, w) bool, of the object's window.
    """
    left, top, right, bottom = asked.box.astype(int)
    y, x = np.ogrid[top:bottom, left:right]
    across = (2 * x + 1 - left - right) / (right - left)
    down = (2 * y + 1 - top - bottom) / (bottom - top)
    return across**2 + down**2 <= 1
